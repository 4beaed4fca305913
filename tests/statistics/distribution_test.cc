#include "engram/statistics/distribution.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/random.h"

namespace engram {
namespace {

/// Values as activations have them: most of them small and negative, few large.
std::vector<float> made_up_values(size_t count, uint64_t seed) {
  Random random(seed);
  std::vector<float> values;
  for (size_t i = 0; i < count; ++i) {
    const double u = (static_cast<double>(random.below(1'000'000)) + 0.5) / 1e6;
    values.push_back(static_cast<float>(random.below(10) == 0 ? -3 * std::log(u) : -0.17 * u));
  }
  return values;
}

Distribution distribution_of(const std::vector<float>& values) {
  Distribution found;
  for (const float value : values) found.add(value);
  return found;
}

TEST(Distribution, IsThatOfTheSortedValues) {
  std::vector<float> values = made_up_values(20'000, 3);
  const Distribution found = distribution_of(values);
  double sum = 0;
  double squares = 0;
  int64_t positive = 0;
  for (const float value : values) {
    sum += value;
    squares += static_cast<double>(value) * value;
    positive += value > 0 ? 1 : 0;
  }
  const auto n = static_cast<double>(values.size());
  std::ranges::sort(values);
  EXPECT_EQ(found.count(), 20'000);
  EXPECT_EQ(found.least(), values.front());
  EXPECT_EQ(found.largest(), values.back());
  EXPECT_NEAR(found.mean(), sum / n, 1e-9);
  EXPECT_NEAR(found.deviation(), std::sqrt(squares / n - sum / n * (sum / n)), 1e-9);
  EXPECT_EQ(found.share_positive(), static_cast<double>(positive) / n);
  const double size = std::max(-values.front(), values.back());
  for (const double share : {0.0, 0.01, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0}) {
    const auto place = static_cast<size_t>(std::clamp(std::ceil(share * n) - 1, 0.0, n - 1));
    EXPECT_NEAR(found.quantile(share), values[place], size / 1024) << share;
  }
}

TEST(Distribution, BinsHoldEveryValueOnce) {
  const std::vector<float> values = made_up_values(5'000, 4);
  const Distribution found = distribution_of(values);
  for (const size_t most : {size_t{2}, size_t{10}, size_t{40}, size_t{5'000}}) {
    const std::vector<Distribution::Bin> bins = found.bins(most);
    EXPECT_LE(bins.size(), most);
    EXPECT_GT(2 * bins.size(), std::min<size_t>(most, 1'000)) << "no coarser than it must be";
    EXPECT_GT(bins.front().count, 0);
    EXPECT_GT(bins.back().count, 0);
    for (size_t b = 0; b < bins.size(); ++b) {
      const auto inside = std::ranges::count_if(
          values, [&](float value) { return value >= bins[b].low && value < bins[b].high; });
      EXPECT_EQ(bins[b].count, inside);
      EXPECT_EQ(bins[b].high - bins[b].low, bins[0].high - bins[0].low);
      if (b > 0) {
        EXPECT_EQ(bins[b].low, bins[b - 1].high);
      }
    }
  }
}

TEST(Distribution, DoesNotDependOnTheOrder) {
  std::vector<float> values = made_up_values(3'000, 5);
  const Distribution one = distribution_of(values);
  std::ranges::sort(values);
  const Distribution other = distribution_of(values);
  for (const double share : {0.1, 0.5, 0.9}) {
    EXPECT_EQ(one.quantile(share), other.quantile(share));
  }
  const auto a = one.bins(40);
  const auto b = other.bins(40);
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i].count, b[i].count);
}

TEST(Distribution, TakesExtremeValues) {
  const float huge = std::numeric_limits<float>::max();
  const float tiny = std::numeric_limits<float>::denorm_min();
  const Distribution found =
      distribution_of({huge, -huge, tiny, 0, std::numeric_limits<float>::infinity(),
                       std::numeric_limits<float>::quiet_NaN()});
  EXPECT_EQ(found.count(), 4);
  EXPECT_EQ(found.not_finite(), 2);
  EXPECT_EQ(found.largest(), static_cast<double>(huge));
  EXPECT_EQ(found.quantile(0), -static_cast<double>(huge));
  EXPECT_EQ(found.share_positive(), 0.5);
  EXPECT_EQ(distribution_of({0, 0}).bins(4).size(), 1U);
  EXPECT_EQ(distribution_of({-1}).quantile(0.5), -1);
}

TEST(Distribution, OfNothingIsNotANumber) {
  const Distribution none;
  EXPECT_TRUE(std::isnan(none.mean()));
  EXPECT_TRUE(std::isnan(none.quantile(0.5)));
  EXPECT_TRUE(std::isnan(none.share_positive()));
  EXPECT_TRUE(none.bins(10).empty());
}

}  // namespace
}  // namespace engram
