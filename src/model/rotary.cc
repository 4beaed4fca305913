#include "model/rotary.h"

#include <numbers>

namespace engram {
namespace {

/// Angles per token [size / 2], float32. All of it in float32 and in this order, since transformers
/// rounds so, and at token 10,000 the rounding of an angle is a thousandth of a turn's radian.
at::Tensor frequencies(const ModelConfig& c) {
  const at::Tensor exponent =
      at::arange(0, c.rotary_size, 2, at::kFloat) / static_cast<double>(c.rotary_size);
  at::Tensor plain = at::reciprocal(at::pow(at::Scalar(c.rotary_base), exponent));
  const RotaryScaling& s = c.rotary_scaling;
  if (s.kind == RotaryScaling::Kind::kNone) return plain;
  if (s.kind == RotaryScaling::Kind::kLinear) return plain / s.factor;
  const double longest = s.original_positions / s.low_frequency;
  const double shortest = s.original_positions / s.high_frequency;
  const at::Tensor wave = at::reciprocal(plain) * (2 * std::numbers::pi);
  const at::Tensor share = (at::reciprocal(wave) * s.original_positions - s.low_frequency) /
                           (s.high_frequency - s.low_frequency);
  const at::Tensor between = (1 - share) * plain / s.factor + share * plain;
  return at::where(wave.lt(shortest), plain,
                   at::where(wave.gt(longest), plain / s.factor, between));
}

}  // namespace

Rotary::Rotary(const ModelConfig& config, at::Device device) : size_(config.rotary_size) {
  const at::Tensor place = at::arange(config.max_tokens(), at::kFloat).unsqueeze(1);
  const at::Tensor angle = place * frequencies(config).unsqueeze(0);
  cosines_ = angle.cos().to(device);
  sines_ = angle.sin().to(device);
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
