#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "engram/model/config.h"

namespace engram {

/// Cosines and sines of rotary positions (Su et al. 2021, "RoFormer"): coordinate j of the first
/// half of a head's rotated part and coordinate j of its second half are turned by the angle
/// token / base^(2j/size), as in GPT-NeoX and Llama, stretched as the config says. Immutable.
class Rotary {
 public:
  /// For tokens 0..max_tokens()-1. REQUIRES: config.rotary_size even and above 0.
  Rotary(const ModelConfig& config, at::Device device);

  [[nodiscard]] int64_t size() const { return size_; }
  /// [tokens, size / 2] float32 on the model's device.
  [[nodiscard]] const at::Tensor& cosines() const { return cosines_; }
  [[nodiscard]] const at::Tensor& sines() const { return sines_; }
  /// `x` [..., rows, head_size] with row i standing at token i, turned; differentiable.
  [[nodiscard]] at::Tensor turn(const at::Tensor& x) const;

 private:
  int64_t size_;
  at::Tensor cosines_, sines_;
};

}  // namespace engram
