#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>

#include "engram/model/model.h"

namespace engram {

/// The model with other weights, in memory: `change` gets every weight but embeddings and decoder,
/// and whether it is a matrix, and gives what takes its place, a tensor of the same shape.
Model with_weights(const Model& model,
                   const std::function<at::Tensor(const at::Tensor& weight, bool matrix)>& change);

/// Every matrix rounded to 2^bits - 1 levels around zero, with one scale for each 64 inputs of a
/// row. REQUIRES: 2 <= bits <= 16.
Model rounded(const Model& model, int bits);

/// To every matrix normal noise of `share` times its root mean square is added.
Model noisy(const Model& model, double share, uint64_t seed);

/// Every weight, embeddings and decoder too, at `share` of the way from `from` to `to`. REQUIRES:
/// the same shapes.
Model between(const Model& from, const Model& to, double share);

}  // namespace engram
