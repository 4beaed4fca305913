#pragma once

#include <cstdint>
#include <vector>

#include "engram/model/model.h"
#include "engram/neuron.h"
#include "engram/reading/corpus.h"
#include "engram/statistics/distribution.h"
#include "engram/text/tokenizer.h"

namespace engram {

/// A text on which a neuron is very active, or very little: a window of a masked model, of a causal
/// one the prefix that ends with the extreme token. Without special tokens.
struct Trigger {
  float activation = 0;       ///< the extreme one
  int64_t line = 0;           ///< of the file, from 1
  std::vector<int64_t> ids;   ///< [tokens]
  std::vector<float> values;  ///< [tokens] the activation on each
  int64_t at = 0;             ///< index of the extreme token
};

/// What a neuron does on a corpus.
struct Activity {
  std::vector<Trigger> most;   ///< most active first; equals in the order of the file
  std::vector<Trigger> least;  ///< least active first
  Distribution distribution;   ///< of the activation on every token
  CorpusCounts counts;
};

/// Reads a corpus through the model and keeps the `top` windows whose largest activation is
/// largest, and those whose smallest is smallest. Nothing is masked. Special tokens count nowhere.
/// A text that comes again counts once as long as it is among those kept. Memory does not grow with
/// the file, the result depends neither on threads nor on memory. Throws InputError (a neuron that
/// does not exist, a file without a text), FileError, UsageError (top < 1), Interrupted.
Activity neuron_activity(const Model& model, const Tokenizer& tokenizer, NeuronId neuron,
                         int64_t top, const CorpusOptions& options,
                         const CorpusProgress& progress = {});

/// Throws InputError, which names the model's sizes, where there is no such neuron.
void check_neuron(const ModelConfig& config, NeuronId neuron);

}  // namespace engram
