#pragma once

#include <cstdint>
#include <vector>

#include "engram/attribution/attribution.h"

namespace engram::cli {

/// One neuron of an attribution.
struct RankedNeuron {
  int64_t layer = 0;
  int64_t neuron = 0;
  float score = 0;
  float activation = 0;
};

/// Whether `top` counts the largest scores or the largest |scores|.
enum class RankBy { kScore, kMagnitude };

/// The `top` (at most) first neurons, largest first, equals by layer and neuron.
std::vector<RankedNeuron> rank_neurons(const Attribution& attribution, int64_t top, RankBy by);

}  // namespace engram::cli
