// Rank correlation and shared largest values, by hand.
#include "statistics/correlation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace engram {
namespace {

using Values = std::vector<float>;

TEST(Correlation, GoesByRanks) {
  EXPECT_DOUBLE_EQ(rank_correlation(Values{1, 2, 3, 100}, Values{-5, 0, 1, 2}), 1);
  EXPECT_DOUBLE_EQ(rank_correlation(Values{1, 2, 3, 100}, Values{9, 8, 7, -1e30F}), -1);
  // 1 - 6 (1 + 1 + 0 + 0) / (4 * 15)
  EXPECT_DOUBLE_EQ(rank_correlation(Values{1, 2, 3, 4}, Values{2, 1, 3, 4}), 0.8);
}

TEST(Correlation, EqualValuesShareTheirRank) {
  // Ranks 0, 1.5, 1.5, 3 against 0, 1, 2, 3: 4.5 / sqrt(4.5 * 5).
  EXPECT_NEAR(rank_correlation(Values{1, 2, 2, 3}, Values{1, 2, 3, 4}), std::sqrt(0.9), 1e-15);
  EXPECT_TRUE(std::isnan(rank_correlation(Values{1, 1, 1}, Values{1, 2, 3})));
  EXPECT_TRUE(std::isnan(rank_correlation(Values{}, Values{})));
}

TEST(Correlation, SharesOfTheLargest) {
  EXPECT_DOUBLE_EQ(shared_largest(Values{9, 8, 1, 2}, Values{9, 1, 8, 2}, 2), 0.5);
  EXPECT_DOUBLE_EQ(shared_largest(Values{9, 8, 1, 2}, Values{9, 1, 8, 2}, 4), 1);
  // Of equal ones the first: places 0 and 1 against 2 and 3.
  EXPECT_DOUBLE_EQ(shared_largest(Values{1, 1, 1, 1}, Values{0, 0, 1, 1}, 2), 0);
}

}  // namespace
}  // namespace engram
