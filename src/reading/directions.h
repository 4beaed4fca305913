#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "engram/model/model.h"

namespace engram {

/// Rows that an FFN is asked with in place of its keys.
struct Directions {
  at::Tensor in;    ///< [n, d_model]
  at::Tensor gate;  ///< [n, d_model], undefined without a gate
};

/// Directions drawn evenly, each as long as the row of the key of `keys` whose place it takes; of a
/// gated FFN a pair of them.
Directions random_directions(const Model& model, int64_t layer, const std::vector<int64_t>& keys,
                             uint64_t seed);

}  // namespace engram
