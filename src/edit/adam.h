#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace engram {

/// Adam (Kingma and Ba 2015) with its usual constants on some tensors, which it changes in place.
class Adam {
 public:
  Adam(std::vector<at::Tensor> weights, double rate);
  /// A step by the tensors' gradients, which are taken from them; one without stays as it is.
  void step();

 private:
  std::vector<at::Tensor> weights_, first_, second_;
  double rate_;
  int64_t steps_ = 0;
};

}  // namespace engram
