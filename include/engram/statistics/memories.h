#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engram/statistics/bootstrap.h"

namespace engram {

/// What is measured of one key and its value (Geva et al. 2021, arXiv 2012.14913; docs/method.md,
/// "Memories").
struct MemoryOutcome {
  bool has_pattern = false;        ///< enough triggers share a rare n-gram
  bool direction_pattern = false;  ///< the same of a random direction in the key's place
  bool shuffled_pattern = false;   ///< the same of triggers dealt from all keys of the layer
  double top_p = 0;                ///< the value's largest P
  bool triggered = false;          ///< the key has a trigger, and the rest counts
  bool agrees = false;             ///< the value's top token is the top trigger's next one
  int64_t rank = 0;                ///< of that next token in the value's distribution, from 1
  double chance = 0;               ///< share of the layer's other values whose top token it is
  int64_t chance_rank = 0;         ///< its rank in the value of another key, by a seeded shuffle
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

/// Triggered keys whose value's largest P lies in a range.
struct MemoryBin {
  double low = 0;  ///< least and largest of them
  double high = 0;
  int64_t keys = 0;
  Interval agreement, chance;
};

/// Means over `keys`, each resampled by itself.
MemoryMeans memory_means(std::span<const MemoryOutcome> keys, int64_t layer,
                         const BootstrapOptions& options);

/// The triggered keys in ranges of their value's largest P: at most 10, about equally many in each.
std::vector<MemoryBin> memory_bins(std::span<const MemoryOutcome> keys,
                                   const BootstrapOptions& options);

}  // namespace engram
