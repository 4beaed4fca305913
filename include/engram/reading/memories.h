#pragma once

#include <cstdint>
#include <vector>

#include "engram/model/model.h"
#include "engram/neuron.h"
#include "engram/reading/corpus.h"
#include "engram/statistics/bootstrap.h"
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
struct MemoryKey {
  NeuronId neuron;
  std::vector<MemoryTrigger> triggers;  ///< at most 25, most active first; one of a window
  std::vector<int64_t> pattern;         ///< the rare n-gram that most triggers share; may be empty
  int64_t shared = 0;                   ///< triggers that share it
  bool has_pattern = false;             ///< at least 3 do
  bool direction_pattern = false;       ///< the same of a random direction in the key's place
  bool shuffled_pattern = false;        ///< the same of triggers dealt from all keys of the layer
  int64_t top_token = 0;                ///< that the value raises most
  double top_p = 0;
  // Of a key with a trigger:
  bool agrees = false;      ///< the value's top token is the top trigger's next one
  int64_t rank = 0;         ///< of that next token in the value's distribution, from 1
  double chance = 0;        ///< share of the layer's other values whose top token it is
  int64_t chance_rank = 0;  ///< its rank in the value of another key, by a seeded shuffle
};

/// Means over keys. No interval with fewer than two keys; NaN where no key counts.
struct MemoryMeans {
  int64_t layer = -1;  ///< -1: all layers
  int64_t keys = 0;
  int64_t triggered = 0;                                  ///< keys with a trigger
  Interval pattern, direction_pattern, shuffled_pattern;  ///< shares of keys
  Interval above_direction;                               ///< pattern minus direction_pattern
  Interval agreement, chance;                             ///< shares of the triggered keys
  Interval above_chance;                                  ///< agreement minus chance
  Interval rank, chance_rank;                             ///< means over the triggered keys
};

/// Triggered keys of all layers whose value's largest P lies in a range.
struct MemoryBin {
  double low = 0;  ///< least and largest of them
  double high = 0;
  int64_t keys = 0;
  Interval agreement, chance;
};

struct Memories {
  std::vector<MemoryKey> keys;  ///< by layer and neuron
  std::vector<MemoryMeans> layers;
  MemoryMeans all;
  std::vector<MemoryBin> bins;  ///< at most 10, about equally many keys in each
  CorpusCounts counts;
  int64_t places = 0;  ///< prefixes or masked tokens that could have been triggers
  int64_t random = 0;  ///< random ones by which n-grams are rare
};

/// The measures of Geva et al. 2021 (arXiv 2012.14913, sections 3 to 5) for a seeded sample of keys
/// of every layer, as docs/method.md defines them ("Memories"). Of a causal model one forward of a
/// window gives all of its prefixes; of a masked one each masked token takes one. Memory does not
/// grow with the file; the result depends neither on threads nor on memory. Throws InputError (a
/// file without a place that counts), FileError, UsageError (keys < 2, masks < 1), Interrupted.
Memories measure_memories(const Model& model, const Tokenizer& tokenizer,
                          const MemoriesOptions& options, const CorpusProgress& progress = {});

}  // namespace engram
