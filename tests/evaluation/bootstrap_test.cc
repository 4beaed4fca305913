#include "engram/evaluation/bootstrap.h"

#include <gtest/gtest.h>

#include <cmath>
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

ClusteredSums random_data(std::mt19937& random, int relations, int clusters, double copies) {
  ClusteredSums data;
  std::normal_distribution<double> noise;
  for (int r = 0; r < relations; ++r) {
    const double relation = noise(random);
    data.relations.emplace_back();
    for (int c = 0; c < clusters; ++c) {
      data.relations.back().push_back({copies * (5 + relation + noise(random)), copies});
    }
  }
  return data;
}

TEST(Bootstrap, CoversTheTruthAboutAsOftenAsItSays) {
  std::mt19937 random(1);
  int covered = 0;
  constexpr int kRepeats = 200;
  for (int i = 0; i < kRepeats; ++i) {
    const ClusteredSums data = random_data(random, 40, 5, 1);
    const Interval found =
        bootstrap(data, 1, mean_of_facts, {400, 0.95, static_cast<uint64_t>(i)}).front();
    EXPECT_LT(found.low, found.value);
    EXPECT_GT(found.high, found.value);
    if (found.low <= 5 && found.high >= 5) ++covered;
  }
  EXPECT_GE(covered, kRepeats * 88 / 100);
  EXPECT_LE(covered, kRepeats * 995 / 1000);
}

TEST(Bootstrap, FactsWithTheSameObjectAreNoNewEvidence) {
  std::mt19937 one(2), copied(2);
  const Interval a = bootstrap(random_data(one, 10, 4, 1), 1, mean_of_facts).front();
  const Interval b = bootstrap(random_data(copied, 10, 4, 1000), 1, mean_of_facts).front();
  EXPECT_NEAR(a.low, b.low, 1e-9);
  EXPECT_NEAR(a.high, b.high, 1e-9);
}

TEST(Bootstrap, FewRelationsMakeWideIntervals) {
  std::mt19937 random(3);
  const ClusteredSums few = random_data(random, 4, 100, 1);
  const ClusteredSums many = random_data(random, 100, 4, 1);
  const Interval a = bootstrap(few, 1, mean_of_facts).front();
  const Interval b = bootstrap(many, 1, mean_of_facts).front();
  EXPECT_GT(a.high - a.low, 2 * (b.high - b.low));
}

TEST(Bootstrap, SeedDecidesAndUndefinedIsNotANumber) {
  std::mt19937 random(4);
  const ClusteredSums data = random_data(random, 5, 5, 1);
  const auto low = [&](uint64_t seed) {
    return bootstrap(data, 1, mean_of_facts, {200, 0.95, seed}).front().low;
  };
  EXPECT_EQ(low(1), low(1));
  EXPECT_NE(low(1), low(2));
  const auto nothing = [](std::span<const std::vector<double>>, std::span<double>) {};
  EXPECT_TRUE(std::isnan(bootstrap(data, 2, nothing)[1].value));
  EXPECT_TRUE(std::isnan(bootstrap({}, 1, mean_of_facts)[0].high));
}

TEST(Bootstrap, OneClusterHasNoInterval) {
  std::mt19937 random(6);
  const ClusteredSums one = random_data(random, 1, 1, 1);
  const Interval found = bootstrap(one, 1, mean_of_facts).front();
  EXPECT_FALSE(std::isnan(found.value));
  EXPECT_TRUE(std::isnan(found.low));
  EXPECT_TRUE(std::isnan(found.high));
  for (const auto& [relations, clusters] : {std::pair{1, 2}, std::pair{2, 1}}) {
    const Interval some =
        bootstrap(random_data(random, relations, clusters, 1), 1, mean_of_facts).front();
    EXPECT_LT(some.low, some.high);
  }
}

TEST(Bootstrap, StopsWhenAsked) {
  std::mt19937 random(5);
  const ClusteredSums data = random_data(random, 5, 5, 1);
  Interrupt::request();
  EXPECT_THROW(bootstrap(data, 1, mean_of_facts), Interrupted);
  Interrupt::clear();
}

}  // namespace
}  // namespace engram
