#include "engram/statistics/bootstrap.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "engram/base/interrupt.h"
#include "engram/error.h"

namespace engram {
namespace {

/// Mean of facts: columns are the sum and the number.
void mean_of_facts(std::span<const std::vector<double>> relations, std::span<double> out) {
  double sum = 0, count = 0;
  for (const std::vector<double>& r : relations) {
    sum += r[0];
    count += r[1];
  }
  out[0] = sum / count;
}

/// Every fact: 5 + what its relation has + what its object has, wherever it occurs + noise.
ClusteredSums random_data(std::mt19937& random, int relations, int objects, double copies,
                          double of_objects = 1) {
  ClusteredSums data;
  std::normal_distribution<double> noise;
  std::vector<double> object(static_cast<size_t>(objects));
  for (double& value : object) value = of_objects * noise(random);
  for (int r = 0; r < relations; ++r) {
    const double relation = noise(random);
    data.relations.emplace_back();
    for (size_t o = 0; o < object.size(); ++o) {
      data.relations.back().push_back(
          {o, {copies * (5 + relation + object[o] + noise(random)), copies}});
    }
  }
  return data;
}

TEST(Bootstrap, CoversTheTruthAboutAsOftenAsItSays) {
  std::mt19937 random(1);
  int covered = 0;
  constexpr int kRepeats = 200;
  for (int i = 0; i < kRepeats; ++i) {
    const ClusteredSums data = random_data(random, 30, 15, 1);
    const Interval found =
        bootstrap(data, 1, mean_of_facts, {400, 0.95, static_cast<uint64_t>(i)}).front();
    EXPECT_LT(found.low, found.value);
    EXPECT_GT(found.high, found.value);
    if (found.low <= 5 && found.high >= 5) ++covered;
  }
  EXPECT_GE(covered, kRepeats * 88 / 100);
  EXPECT_LE(covered, kRepeats * 995 / 1000);
}

TEST(Bootstrap, AnObjectInSeveralRelationsIsDrawnTogether) {
  // Relations without differences: all that varies is the object, the same in 20 relations.
  std::mt19937 random(8);
  std::normal_distribution<double> noise;
  std::vector<double> object(12);
  for (double& value : object) value = noise(random);
  ClusteredSums shared;
  ClusteredSums apart;
  for (size_t r = 0; r < 20; ++r) {
    shared.relations.emplace_back();
    apart.relations.emplace_back();
    for (size_t o = 0; o < object.size(); ++o) {
      shared.relations.back().push_back({o, {object[o], 1}});
      apart.relations.back().push_back({r * object.size() + o, {object[o], 1}});
    }
  }
  const Interval a = bootstrap(shared, 1, mean_of_facts).front();
  const Interval b = bootstrap(apart, 1, mean_of_facts).front();
  EXPECT_GT(a.high - a.low, 3 * (b.high - b.low));
  // One relation more of the same objects is no new evidence: the spread is that of 12 values.
  double mean = 0, variance = 0;
  for (const double value : object) mean += value / 12;
  for (const double value : object) variance += (value - mean) * (value - mean) / 12;
  EXPECT_NEAR((a.high - a.low) / (2 * 1.96), std::sqrt(variance / 12), 0.15 * std::sqrt(variance));
}

TEST(Bootstrap, FactsWithTheSameObjectAreNoNewEvidence) {
  std::mt19937 one(2), copied(2);
  const Interval a = bootstrap(random_data(one, 10, 12, 1), 1, mean_of_facts).front();
  const Interval b = bootstrap(random_data(copied, 10, 12, 1000), 1, mean_of_facts).front();
  EXPECT_NEAR(a.low, b.low, 1e-9);
  EXPECT_NEAR(a.high, b.high, 1e-9);
}

TEST(Bootstrap, FewRelationsMakeWideIntervals) {
  std::mt19937 random(3);
  const ClusteredSums few = random_data(random, 4, 100, 1);
  const ClusteredSums many = random_data(random, 100, 40, 1);
  const Interval a = bootstrap(few, 1, mean_of_facts).front();
  const Interval b = bootstrap(many, 1, mean_of_facts).front();
  EXPECT_GT(a.high - a.low, 1.5 * (b.high - b.low));
}

TEST(Bootstrap, PIsSmallWhereTheIntervalIsFarFromZeroAndNeverBelowItsDraws) {
  std::mt19937 random(9);
  ClusteredSums data = random_data(random, 20, 20, 1);
  const Interval far = bootstrap(data, 1, mean_of_facts, {199, 0.95, 0}).front();
  EXPECT_NEAR(far.p, 2.0 / 200, 1e-12);
  for (auto& relation : data.relations) {
    for (Cluster& cluster : relation) cluster.sums[0] -= far.value;  // now around zero
  }
  EXPECT_GT(bootstrap(data, 1, mean_of_facts, {199, 0.95, 0}).front().p, 0.5);
}

TEST(Holm, ByHand) {
  const double none = std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> found = holm(std::vector<double>{0.01, 0.04, none, 0.03, 0.9});
  EXPECT_NEAR(found[0], 0.04, 1e-12);  // 4 x 0.01
  EXPECT_NEAR(found[3], 0.09, 1e-12);  // 3 x 0.03
  EXPECT_NEAR(found[1], 0.09, 1e-12);  // 2 x 0.04 is less than the one before
  EXPECT_NEAR(found[4], 0.9, 1e-12);
  EXPECT_TRUE(std::isnan(found[2]));
}

TEST(Bootstrap, SeedDecidesAndUndefinedIsNotANumber) {
  std::mt19937 random(4);
  const ClusteredSums data = random_data(random, 5, 12, 1);
  const auto low = [&](uint64_t seed) {
    return bootstrap(data, 1, mean_of_facts, {200, 0.95, seed}).front().low;
  };
  EXPECT_EQ(low(1), low(1));
  EXPECT_NE(low(1), low(2));
  const auto nothing = [](std::span<const std::vector<double>>, std::span<double>) {};
  EXPECT_TRUE(std::isnan(bootstrap(data, 2, nothing)[1].value));
  EXPECT_TRUE(std::isnan(bootstrap({}, 1, mean_of_facts)[0].high));
}

TEST(Bootstrap, NoIntervalUnderTenObjects) {
  std::mt19937 random(6);
  for (const int objects : {1, 9}) {
    const Interval found = bootstrap(random_data(random, 30, objects, 1), 1, mean_of_facts).front();
    EXPECT_FALSE(std::isnan(found.value));
    EXPECT_TRUE(std::isnan(found.low));
    EXPECT_TRUE(std::isnan(found.high));
    EXPECT_TRUE(std::isnan(found.p));
  }
  const Interval some = bootstrap(random_data(random, 1, 10, 1), 1, mean_of_facts).front();
  EXPECT_LT(some.low, some.high);
}

TEST(Bootstrap, WholeRelationsNeedTwo) {
  ClusteredSums data;
  data.relations.push_back({{kNoObject, {1.0, 1.0}}});
  EXPECT_TRUE(std::isnan(bootstrap(data, 1, mean_of_facts).front().low));
  data.relations.push_back({{kNoObject, {3.0, 1.0}}});
  const Interval two = bootstrap(data, 1, mean_of_facts).front();
  EXPECT_EQ(two.low, 1);
  EXPECT_EQ(two.high, 3);
}

TEST(Bootstrap, StopsWhenAsked) {
  std::mt19937 random(5);
  const ClusteredSums data = random_data(random, 5, 12, 1);
  Interrupt::request();
  EXPECT_THROW(bootstrap(data, 1, mean_of_facts), Interrupted);
  Interrupt::clear();
}

}  // namespace
}  // namespace engram
