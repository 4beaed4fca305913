#pragma once

#include <cstdint>
#include <vector>

#include "engram/attribution/attribution.h"
#include "engram/model/model.h"
#include "engram/text/cloze.h"

namespace engram::testing {

/// A BERT of few and odd sizes: d_model 36 in 3 heads, 100 neurons a layer, 97 tokens.
ModelConfig small_config(Activation activation, int64_t layers = 4);
/// With random weights.
Model random_model(const ModelConfig& config, uint64_t seed, at::Device device = at::kCPU);
/// Of 5 to 8 tokens (or more, where there are more masks), with `masks` neighbouring ones.
std::vector<Cloze> random_clozes(const ModelConfig& config, size_t count, uint64_t seed,
                                 int64_t masks = 1);

/// attribute() with its results in the order of the clozes; each comes once.
std::vector<Attribution> attributions(const Model& model, const std::vector<Cloze>& clozes,
                                      const AttributionOptions& options);

}  // namespace engram::testing
