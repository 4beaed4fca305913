#include "statistics/decision.h"

#include <gtest/gtest.h>

#include <cmath>

namespace engram {
namespace {

Interval between(double low, double high) { return {(low + high) / 2, low, high}; }

TEST(Decision, NeedsTheWholeIntervalOnOneSide) {
  EXPECT_EQ(decide_within(between(-0.1, 0.1), 0.1), Decision::kSupported);
  EXPECT_EQ(decide_within(between(-0.11, 0.05), 0.1), Decision::kUndecided);
  EXPECT_EQ(decide_within(between(0.11, 0.2), 0.1), Decision::kRefuted);
  EXPECT_EQ(decide_within(between(-0.3, -0.11), 0.1), Decision::kRefuted);
  EXPECT_EQ(decide_within(between(-1, 1), 0.1), Decision::kUndecided);

  EXPECT_EQ(decide_at_least(between(0.3, 0.4), 0.3), Decision::kSupported);
  EXPECT_EQ(decide_at_least(between(0.29, 0.4), 0.3), Decision::kUndecided);
  EXPECT_EQ(decide_at_least(between(0.1, 0.29), 0.3), Decision::kRefuted);

  EXPECT_EQ(decide_below(between(-0.4, -0.1), 0), Decision::kSupported);
  EXPECT_EQ(decide_below(between(-0.4, 0), 0), Decision::kUndecided);
  EXPECT_EQ(decide_below(between(0, 0.4), 0), Decision::kRefuted);
}

TEST(Decision, WithoutAnIntervalNothingIsDecided) {
  const Interval bare{0.0, std::nan(""), std::nan("")};
  EXPECT_EQ(decide_within(bare, 1), Decision::kUndecided);
  EXPECT_EQ(decide_at_least(bare, -1), Decision::kUndecided);
  EXPECT_EQ(decide_below(bare, 1), Decision::kUndecided);
}

TEST(Decision, OfTwoNeedsBoth) {
  using enum Decision;
  EXPECT_EQ(decide_both(kSupported, kSupported), kSupported);
  EXPECT_EQ(decide_both(kSupported, kUndecided), kUndecided);
  EXPECT_EQ(decide_both(kUndecided, kRefuted), kRefuted);
  EXPECT_EQ(decide_both(kRefuted, kSupported), kRefuted);
  EXPECT_STREQ(decision_name(kRefuted), "refuted");
}

}  // namespace
}  // namespace engram
