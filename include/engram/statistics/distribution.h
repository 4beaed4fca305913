#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace engram {

/// How many float32 values are spread, in bounded memory: they are counted in at most 4,096 bins
/// whose width is a power of two and doubles when a value lies outside. The result does not depend
/// on the order of the values but for the rounding of mean and deviation.
class Distribution {
 public:
  struct Bin {
    double low = 0;  ///< the bin is [low, high)
    double high = 0;
    int64_t count = 0;
  };

  void add(float value);

  [[nodiscard]] int64_t count() const { return count_; }            ///< of finite values
  [[nodiscard]] int64_t not_finite() const { return not_finite_; }  ///< which count nowhere else
  // NaN where there is no value.
  [[nodiscard]] double least() const;
  [[nodiscard]] double largest() const;
  [[nodiscard]] double mean() const;
  [[nodiscard]] double deviation() const;  ///< standard deviation over all values
  [[nodiscard]] double share_positive() const;
  /// The value below which `share` of the values lie, to at most 1/1024 of the largest |value|:
  /// linear within a bin.
  [[nodiscard]] double quantile(double share) const;
  /// The counts in at most `most` bins of one width, from the lowest that is not empty to the
  /// highest. REQUIRES: most >= 2.
  [[nodiscard]] std::vector<Bin> bins(size_t most) const;

 private:
  static constexpr int64_t kHalf = 2048;  // bins on either side of zero
  static constexpr int kFinest = -100;    // exponent of the first width
  void widen();

  std::vector<int64_t> counts_;  ///< [2 kHalf], empty: no value yet; bin i begins at (i - kHalf) w
  int exponent_ = kFinest;       ///< w = 2^exponent
  int64_t count_ = 0, positive_ = 0, not_finite_ = 0;
  double least_ = 0, largest_ = 0;
  double mean_ = 0, squares_ = 0;  ///< squares around the mean (Welford 1962)
};

}  // namespace engram
