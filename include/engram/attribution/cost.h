#pragma once

#include <cstdint>
#include <span>

#include "engram/attribution/attribution.h"

namespace engram {

/// Floating-point operations (a multiplication and an addition are two) that integrated gradients
/// by the default rule need for one prompt with the nodes that its reports name: the closed form of
/// docs/performance.md. Counts matrix products and attention; norms and activations are not
/// counted. Of a causal model the targets stand last, as encode_cloze() makes them. `reports` has
/// one entry per layer.
double attribution_flops(const ModelConfig& config, int64_t tokens, int64_t targets,
                         std::span<const LayerReport> reports);

/// The same for one plain run of the prompt.
double plain_flops(const ModelConfig& config, int64_t tokens, int64_t targets);

/// The same for the LM head at the targets.
double head_flops(const ModelConfig& config, int64_t targets);

/// The same for exact ablation of every neuron of one prompt.
double ablation_flops(const ModelConfig& config, int64_t tokens, int64_t targets);

}  // namespace engram
