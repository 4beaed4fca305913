#pragma once

#include <functional>
#include <span>
#include <vector>

#include "engram/attribution/attribution.h"
#include "passes/passes.h"

// What all scores share.
namespace engram {

/// The rows of the chunk's activations, averaged over the masks: one Attribution per prompt with
/// activations, p and f set, scores allocated.
std::vector<Attribution> begin_attributions(const Model& model, const Base& base);

/// F(0) of every (layer, prompt), [layers * prompts], by forward passes.
std::vector<double> without_neurons(Passes& passes, const Model& model, const Base& base,
                                    int64_t bytes);

/// Splits items so that no part needs more than `bytes` of buffers (or one item), and calls
/// work(first, count) for each. `of_item`: what each needs (Passes::item_bytes).
void in_parts(std::span<const int64_t> of_item, int64_t bytes,
              const std::function<void(int64_t, int64_t)>& work);

/// Scores [rows, d_ff] of one layer from integrated gradients at its FFN sum: `integrated`
/// [rows*k, d_model], `activations` [rows*k, d_ff], summed over the k masks.
at::Tensor scores_of(const Model& model, int64_t layer, const at::Tensor& integrated,
                     const at::Tensor& activations, int64_t targets);

}  // namespace engram
