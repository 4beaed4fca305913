#pragma once

#include <ATen/ATen.h>

#include <span>

#include "engram/neuron.h"

namespace engram {

/// Of the neurons of `planted`, the share that is among the `share` of its layer with the largest
/// scores, round(share x d_ff) neurons (2311.09060, section 4); equal scores in the order of the
/// neurons. `scores` [layers, d_ff], CPU. REQUIRES: planted is not empty.
double recall_of(const at::Tensor& scores, std::span<const NeuronId> planted, double share);

/// Over all pairs of a neuron of `a` and one of `b` in the same layer: how often that of `a` has
/// the larger score, half for equal ones. NaN where no layer has both. 0.5 is chance.
double pair_auc(const at::Tensor& scores, std::span<const NeuronId> a, std::span<const NeuronId> b);

}  // namespace engram
