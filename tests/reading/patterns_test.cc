// The measure of a pattern, on contexts made by hand.
#include "reading/patterns.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/random.h"

namespace engram {
namespace {

Context before(std::vector<int64_t> tokens) { return {std::move(tokens), {}}; }

TEST(Patterns, GramsAreThoseOfEitherSide) {
  EXPECT_EQ(grams_of({{1, 2, 3, 4}, {}}),
            (std::vector<Gram>{{1}, {1, 2}, {1, 2, 3}, {2}, {2, 3}, {2, 3, 4}, {3}, {3, 4}, {4}}));
  EXPECT_EQ(grams_of({{7}, {8, 7}}), (std::vector<Gram>{{7}, {8}, {8, 7}})) << "each once";
  EXPECT_TRUE(grams_of({}).empty());
}

TEST(Patterns, RareIsWhatAtMostOnePercentHold) {
  GramCounts counts;
  for (int64_t i = 0; i < 200; ++i) counts.add(before({i < 2 ? 5 : 6, i < 3 ? 7 : 8}));
  EXPECT_EQ(counts.contexts(), 200);
  EXPECT_TRUE(counts.rare({5})) << "2 of 200";
  EXPECT_FALSE(counts.rare({7})) << "3 of 200";
  EXPECT_FALSE(counts.rare({6}));
  EXPECT_TRUE(counts.rare({9})) << "never seen";
  EXPECT_TRUE(counts.rare({5, 7}));
}

TEST(Patterns, ThreeThatShareARareGramAreAPattern) {
  GramCounts counts;
  for (int64_t i = 0; i < 1000; ++i) counts.add(before({1, 1000 + i}));
  const std::vector<Context> contexts{before({1, 20, 21}), before({21, 20, 21, 5}),
                                      before({1, 2, 20}), before({1, 3}), before({1, 4})};
  const Pattern two = shared_pattern(std::span(contexts).first(2), counts);
  EXPECT_EQ(two.shared, 2);
  EXPECT_EQ(two.gram, (Gram{20, 21})) << "the longest of those that most share";
  EXPECT_FALSE(two.found());
  const Pattern all = shared_pattern(contexts, counts);
  EXPECT_EQ(all.shared, 3);
  EXPECT_EQ(all.gram, Gram{20});
  EXPECT_TRUE(all.found());
  // What is frequent is none, however many share it.
  const Pattern none = shared_pattern(std::vector<Context>(5, before({1})), counts);
  EXPECT_EQ(none.shared, 0);
  EXPECT_TRUE(none.gram.empty());
  EXPECT_FALSE(shared_pattern({}, counts).found());
}

TEST(Patterns, BothSidesOfAMaskCount) {
  const GramCounts nothing;
  const std::vector<Context> contexts{{{1, 2}, {9, 4}}, {{3}, {9, 4}}, {{9, 4}, {5}}};
  const Pattern found = shared_pattern(contexts, nothing);
  EXPECT_EQ(found.shared, 3);
  EXPECT_EQ(found.gram, (Gram{9, 4}));
}

TEST(Patterns, RandomContextsSeldomHaveOne) {
  // Tokens as frequent as words are: token k with weight 1 / k.
  Random random(5);
  std::vector<int64_t> bag;
  for (int64_t k = 1; k <= 5000; ++k) bag.insert(bag.end(), static_cast<size_t>(5000 / k), k);
  const auto draw = [&] {
    Context context;
    for (int64_t i = 0; i < kPatternTail; ++i) {
      context.before.push_back(bag[random.below(bag.size())]);
    }
    return context;
  };
  GramCounts counts;
  for (int i = 0; i < 5000; ++i) counts.add(draw());
  int found = 0;
  for (int set = 0; set < 200; ++set) {
    std::vector<Context> contexts;
    for (int i = 0; i < 25; ++i) contexts.push_back(draw());
    if (shared_pattern(contexts, counts).found()) ++found;
  }
  EXPECT_LT(found, 30);
}

}  // namespace
}  // namespace engram
