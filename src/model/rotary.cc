#include "model/rotary.h"

#include <cmath>

namespace engram {

Rotary::Rotary(int64_t tokens, int64_t size, double base, at::Device device) : size_(size) {
  const at::Tensor place = at::arange(tokens, at::kDouble).unsqueeze(1);
  const at::Tensor exponent = at::arange(size / 2, at::kDouble) * (2.0 / static_cast<double>(size));
  const at::Tensor angle = place * at::exp(exponent * -std::log(base)).unsqueeze(0);
  cosines_ = angle.cos().to(at::kFloat).to(device);
  sines_ = angle.sin().to(at::kFloat).to(device);
}

at::Tensor Rotary::turn(const at::Tensor& x) const {
  const int64_t rows = x.size(-2);
  const int64_t half = size_ / 2;
  const at::Tensor cosine = cosines_.narrow(0, 0, rows);
  const at::Tensor sine = sines_.narrow(0, 0, rows);
  const at::Tensor first = x.narrow(-1, 0, half);
  const at::Tensor second = x.narrow(-1, half, half);
  return at::cat({first * cosine - second * sine, second * cosine + first * sine,
                  x.narrow(-1, size_, x.size(-1) - size_)},
                 -1);
}

}  // namespace engram
