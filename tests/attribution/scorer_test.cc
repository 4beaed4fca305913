#include "engram/attribution/scorer.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "attribution/small_models.h"
#include "engram/error.h"

namespace engram {
namespace {

std::vector<std::vector<Cloze>> three_bags(const ModelConfig& config) {
  std::vector<std::vector<Cloze>> bags(3);
  for (int64_t i = 0; i < 9; ++i) {
    Cloze cloze;
    for (int64_t j = 0; j < 4 + i % 4; ++j) {
      cloze.ids.push_back((7 * i + 3 * j + 1) % config.vocabulary);
    }
    cloze.positions = {i % 4};
    cloze.answer = {(5 * i + 2) % config.vocabulary};
    bags[static_cast<size_t>(i % 2 == 0 ? 0 : i % 3)].push_back(std::move(cloze));
  }
  if (bags[1].empty() || bags[2].empty()) throw InternalError("a bag without prompts");
  return bags;
}

AttributionOptions plain(Score score, int threads) {
  AttributionOptions options;
  options.score = score;
  options.threads = threads;
  options.bitwise = true;
  return options;
}

TEST(Scorer, ABagHasTheMeanOfItsPrompts) {
  const Model model = testing::random_model(testing::small_config(Activation::kGelu), 5);
  const std::vector<std::vector<Cloze>> bags = three_bags(model.config());
  for (const ScoreMethod& method : score_methods()) {
    const std::vector<at::Tensor> means = Scorer(model, plain(method.score, 1)).bags(bags);
    ASSERT_EQ(means.size(), bags.size());
    for (size_t bag = 0; bag < bags.size(); ++bag) {
      at::Tensor sum = at::zeros_like(means[bag]);
      for (const Cloze& cloze : bags[bag]) {
        attribute(model, {&cloze, 1}, plain(method.score, 1),
                  [&](size_t, Attribution&& one) { sum += one.scores; });
      }
      sum /= static_cast<double>(bags[bag].size());
      const double largest = sum.abs().max().item<double>();
      // Converged rules stop at other nodes in other company, within the tolerance.
      EXPECT_LT((means[bag] - sum).abs().max().item<double>(),
                (method.integrates ? 0.01 : 1e-4) * largest)
          << method.name;
    }
  }
}

TEST(Scorer, BagsHaveTheSameBitsForAnyNumberOfThreads) {
  const Model model = testing::random_model(testing::small_config(Activation::kGelu), 6);
  const std::vector<std::vector<Cloze>> bags = three_bags(model.config());
  const std::vector<at::Tensor> one = Scorer(model, plain(Score::kRelevance, 1)).bags(bags);
  const std::vector<at::Tensor> four = Scorer(model, plain(Score::kRelevance, 4)).bags(bags);
  for (size_t bag = 0; bag < bags.size(); ++bag) EXPECT_TRUE(one[bag].equal(four[bag]));
}

TEST(Scorer, EveryPromptComesOnceWithItsPlace) {
  const Model model = testing::random_model(testing::small_config(Activation::kGelu), 7);
  const std::vector<std::vector<Cloze>> bags = three_bags(model.config());
  std::set<std::pair<size_t, size_t>> seen;
  Scorer(model, plain(Score::kActivation, 2))
      .prompts(bags, [&](size_t bag, size_t prompt, Attribution&& attribution) {
        EXPECT_TRUE(seen.emplace(bag, prompt).second);
        attribute(model, {&bags.at(bag).at(prompt), 1}, plain(Score::kActivation, 1),
                  [&](size_t, Attribution&& alone) {
                    EXPECT_TRUE(at::allclose(alone.scores, attribution.scores, 1e-4, 1e-5));
                  });
      });
  EXPECT_EQ(seen.size(), 9U);
}

TEST(Scorer, ABagWithoutPromptsIsOurMistake) {
  const Model model = testing::random_model(testing::small_config(Activation::kGelu), 7);
  const std::vector<std::vector<Cloze>> bags(1);
  EXPECT_THROW((void)Scorer(model, plain(Score::kActivation, 1)).bags(bags), InternalError);
}

TEST(Scores, EveryNameLeadsToItsScore) {
  std::set<std::string> names;
  for (const ScoreMethod& method : score_methods()) {
    EXPECT_EQ(parse_score(method.name), method.score);
    EXPECT_EQ(score_name(method.score), method.name);
    EXPECT_TRUE(names.insert(std::string(method.name)).second);
    EXPECT_FALSE(method.meaning.empty());
    if (method.other_name.empty()) continue;
    EXPECT_EQ(parse_score(method.other_name), method.score);
    EXPECT_TRUE(names.insert(std::string(method.other_name)).second);
  }
  EXPECT_THROW(parse_score(""), UsageError);
  EXPECT_THROW(parse_score("IG"), UsageError);
}

}  // namespace
}  // namespace engram
