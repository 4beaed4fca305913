#pragma once

#include <cstdint>
#include <vector>

#include "engram/model/model.h"
#include "engram/neuron.h"
#include "engram/reading/corpus.h"
#include "engram/statistics/memories.h"
#include "engram/text/tokenizer.h"

namespace engram {

struct MemoriesOptions {
  CorpusOptions corpus;
  int64_t keys = 100;  ///< sampled in every layer, 2 or more; all where a layer has fewer
  /// Of a masked model: tokens of each window that are masked, one at a time.
  int64_t masks = 4;
  uint64_t seed = 0;           ///< of keys, directions, masked tokens, shuffles
  BootstrapOptions bootstrap;  ///< over keys
};

/// A place of the corpus at which a key is active: the end of a prefix, or a masked token.
struct MemoryTrigger {
  float activation = 0;
  int64_t line = 0;                     ///< of the file, from 1
  std::vector<int64_t> before, behind;  ///< the tokens next to it, at most 5 on a side
  int64_t next = 0;                     ///< the token that follows the prefix, or that was masked
};

/// A key with its value.
struct MemoryKey : MemoryOutcome {
  NeuronId neuron;
  std::vector<MemoryTrigger> triggers;  ///< at most 25, most active first; one of a window
  std::vector<int64_t> pattern;         ///< the rare n-gram that most triggers share; may be empty
  int64_t shared = 0;                   ///< triggers that share it; at least 3 make a pattern
  int64_t top_token = 0;                ///< that the value raises most
};

struct Memories {
  std::vector<MemoryKey> keys;  ///< by layer and neuron
  std::vector<MemoryMeans> layers;
  MemoryMeans all;
  std::vector<MemoryBin> bins;
  CorpusCounts counts;
  int64_t places = 0;  ///< prefixes or masked tokens that could have been triggers
  int64_t random = 0;  ///< random ones by which n-grams are rare
};

/// CorpusOptions::window by default: 256 tokens, of a masked model, which takes a forward for every
/// mask, 64.
int64_t memories_window(const ModelConfig& config);

/// The measures of Geva et al. 2021 (arXiv 2012.14913, sections 3 to 5) for a seeded sample of keys
/// of every layer, as docs/method.md defines them ("Memories"). Of a causal model one forward of a
/// window gives all of its prefixes; of a masked one each masked token takes one. Memory does not
/// grow with the file; the result depends neither on threads nor on memory. Throws InputError (a
/// file without a place that counts), FileError, UsageError (keys < 2, masks < 1), Interrupted.
Memories measure_memories(const Model& model, const Tokenizer& tokenizer,
                          const MemoriesOptions& options, const CorpusProgress& progress = {});

}  // namespace engram
