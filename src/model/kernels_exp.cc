// Loops with an exponential, apart from those of kernels_cpu.cc: where sums may be reordered, the
// compiler joins the two parts of ln 2 again, and the result is off by 3e-6. No sum here needs it.
#include "model/kernels_exp.h"

#include <cmath>
#include <cstring>

namespace engram::kernels {
namespace {

// Without a branch: a jump would keep the loops around these functions from being vectorised.

/// exp for x <= 0, to 2e-7 relative; exp(-87) = 1.6e-38 for what is below, NaN for NaN.
inline float exp_negative(float x) {
  const float clamped = x < -87.0F ? -87.0F : x;
  const float number = x > -87.0F ? x : -87.0F;  // for NaN, too, which is no int32_t
  const auto whole = static_cast<int32_t>(number * 1.44269504F - 0.5F);  // to nearest, x <= 0
  const auto n = static_cast<float>(whole);
  // ln 2 in two parts, of which the first has few bits: its product and the difference are exact.
  const float r = (clamped - n * 0.693359375F) + n * 2.12194440e-4F;
  // Taylor to r^7 on |r| <= 0.35: remainder below 1e-8.
  float p = 1.0F / 5040.0F;
  p = p * r + 1.0F / 720.0F;
  p = p * r + 1.0F / 120.0F;
  p = p * r + 1.0F / 24.0F;
  p = p * r + 1.0F / 6.0F;
  p = p * r + 0.5F;
  p = p * r + 1.0F;
  p = p * r + 1.0F;
  const uint32_t bits = static_cast<uint32_t>(whole + 127) << 23;
  float power = 0;
  std::memcpy(&power, &bits, sizeof power);
  return p * power;
}

/// The standard normal's distribution function and density, absolute error about 1e-7
/// (Abramowitz and Stegun 1964, 7.1.26, shares the exponential between both).
inline void normal(float x, float& distribution, float& density) {
  const float z = std::fabs(x);
  const float e = exp_negative(-0.5F * z * z);
  const float t = 1.0F / (1.0F + 0.3275911F * 0.70710678F * z);
  float p = 1.061405429F;
  p = p * t - 1.453152027F;
  p = p * t + 1.421413741F;
  p = p * t - 0.284496736F;
  p = p * t + 0.254829592F;
  const float tail = 0.5F * p * t * e;  // of -|x|
  distribution = x < 0 ? tail : 1.0F - tail;
  density = 0.39894228F * e;
}

/// The logistic function of x.
inline float logistic(float x) {
  const float e = exp_negative(-std::fabs(x));
  const float s = 1.0F / (1.0F + e);
  return x < 0 ? e * s : s;
}

}  // namespace

ENGRAM_CLONES
void gelu(const float* u, float* a, float* d, int64_t count) {
  ENGRAM_INDEPENDENT
  for (int64_t i = 0; i < count; ++i) {
    float distribution = 0;
    float density = 0;
    const float x = u[i];
    normal(x, distribution, density);
    d[i] = distribution + x * density;
    a[i] = x * distribution;
  }
}

ENGRAM_CLONES
void gelu_tanh(const float* u, float* a, float* d, int64_t count) {
  ENGRAM_INDEPENDENT
  for (int64_t i = 0; i < count; ++i) {
    const float x = u[i];
    const float inner = 0.79788456F * (x + 0.044715F * x * x * x);
    const float slope = 0.79788456F * (1.0F + 3.0F * 0.044715F * x * x);
    const float s = logistic(2.0F * inner);  // (1 + tanh(inner)) / 2
    d[i] = s + x * 2.0F * s * (1.0F - s) * slope;
    a[i] = x * s;
  }
}

ENGRAM_CLONES
void silu(const float* u, float* a, float* d, int64_t count) {
  ENGRAM_INDEPENDENT
  for (int64_t i = 0; i < count; ++i) {
    const float x = u[i];
    const float s = logistic(x);
    d[i] = s + x * s * (1.0F - s);
    a[i] = x * s;
  }
}

ENGRAM_CLONES
void exp_row(const float* x, float largest, float* out, int64_t count) {
  ENGRAM_INDEPENDENT
  for (int64_t i = 0; i < count; ++i) out[i] = exp_negative(x[i] - largest);
}

ENGRAM_CLONES
void minus_softmax(float* x, float largest, float factor, int64_t count) {
  ENGRAM_INDEPENDENT
  for (int64_t i = 0; i < count; ++i) x[i] = -factor * exp_negative(x[i] - largest);
}

}  // namespace engram::kernels
