#pragma once

#include <cstdint>
#include <vector>

#include "engram/model/model.h"
#include "engram/reading/memories.h"
#include "engram/text/tokenizer.h"
#include "reading/patterns.h"

namespace engram {

constexpr size_t kTriggers = 25;  // Geva et al. 2021, section 3

/// A place of the corpus that triggers a key.
struct FoundTrigger {
  float activation = 0;
  int64_t line = 0;
  uint64_t text = 0;  ///< hash of all that the model saw of the text: equal texts count once
  Context context;
  int64_t next = 0;
};

/// What streaming through the corpus leaves.
struct FoundTriggers {
  std::vector<std::vector<FoundTrigger>> keys;        ///< [all sampled keys], most active first
  std::vector<std::vector<FoundTrigger>> directions;  ///< [the same]
  GramCounts random;                                  ///< n-grams of random places
  CorpusCounts counts;
  int64_t places = 0;
};

/// `keys` [layers]: the sampled keys of each, ascending.
FoundTriggers find_triggers(const Model& model, const Tokenizer& tokenizer,
                            const std::vector<std::vector<int64_t>>& keys,
                            const MemoriesOptions& options, const CorpusProgress& progress);

}  // namespace engram
