#include "engram/statistics/distribution.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace engram {
namespace {

constexpr double kNoValue = std::numeric_limits<double>::quiet_NaN();

/// Of two neighbouring bins, the one that holds both when the width doubles.
int64_t coarser(int64_t index) { return index >= 0 ? index / 2 : -((1 - index) / 2); }

}  // namespace

void Distribution::add(float value) {
  if (!std::isfinite(value)) {
    ++not_finite_;
    return;
  }
  if (counts_.empty()) counts_.resize(2 * kHalf);
  const auto wide = static_cast<double>(value);
  double place = std::floor(std::ldexp(wide, -exponent_));
  while (place < -kHalf || place >= kHalf) {
    widen();
    place = std::floor(std::ldexp(wide, -exponent_));
  }
  ++counts_[static_cast<size_t>(static_cast<int64_t>(place) + kHalf)];
  least_ = count_ == 0 ? wide : std::min(least_, wide);
  largest_ = count_ == 0 ? wide : std::max(largest_, wide);
  ++count_;
  if (value > 0) ++positive_;
  const double step = wide - mean_;
  mean_ += step / static_cast<double>(count_);
  squares_ += step * (wide - mean_);
}

void Distribution::widen() {
  std::vector<int64_t> wider(counts_.size());
  for (int64_t i = -kHalf; i < kHalf; ++i) {
    wider[static_cast<size_t>(coarser(i) + kHalf)] += counts_[static_cast<size_t>(i + kHalf)];
  }
  counts_ = std::move(wider);
  ++exponent_;
}

double Distribution::least() const { return count_ > 0 ? least_ : kNoValue; }
double Distribution::largest() const { return count_ > 0 ? largest_ : kNoValue; }
double Distribution::mean() const { return count_ > 0 ? mean_ : kNoValue; }
double Distribution::deviation() const {
  return count_ > 0 ? std::sqrt(squares_ / static_cast<double>(count_)) : kNoValue;
}
double Distribution::share_positive() const {
  return count_ > 0 ? static_cast<double>(positive_) / static_cast<double>(count_) : kNoValue;
}

double Distribution::quantile(double share) const {
  if (count_ == 0) return kNoValue;
  const double wanted = share * static_cast<double>(count_);
  double below = 0;
  for (int64_t i = -kHalf; i < kHalf; ++i) {
    const auto held = static_cast<double>(counts_[static_cast<size_t>(i + kHalf)]);
    if (held > 0 && below + held >= wanted) {
      const double place = static_cast<double>(i) + std::max(0.0, wanted - below) / held;
      return std::clamp(std::ldexp(place, exponent_), least_, largest_);
    }
    below += held;
  }
  return largest_;
}

std::vector<Distribution::Bin> Distribution::bins(size_t most) const {
  if (count_ == 0) return {};
  int64_t first = -kHalf;
  int64_t last = kHalf - 1;
  while (counts_[static_cast<size_t>(first + kHalf)] == 0) ++first;
  while (counts_[static_cast<size_t>(last + kHalf)] == 0) --last;
  int doublings = 0;
  int64_t low = first;
  int64_t high = last;
  while (high - low + 1 > static_cast<int64_t>(most)) {
    low = coarser(low);
    high = coarser(high);
    ++doublings;
  }
  std::vector<Bin> bins(static_cast<size_t>(high - low + 1));
  const int exponent = exponent_ + doublings;
  for (size_t b = 0; b < bins.size(); ++b) {
    const auto place = static_cast<double>(low + static_cast<int64_t>(b));
    bins[b].low = std::ldexp(place, exponent);
    bins[b].high = std::ldexp(place + 1, exponent);
  }
  for (int64_t i = first; i <= last; ++i) {
    int64_t at = i;
    for (int d = 0; d < doublings; ++d) at = coarser(at);
    bins[static_cast<size_t>(at - low)].count += counts_[static_cast<size_t>(i + kHalf)];
  }
  return bins;
}

}  // namespace engram
