// Neurons at a token of their own: the fast path against the plain one, and the default rule.
#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "attribution/small_models.h"
#include "engram/attribution/attribution.h"
#include "engram/error.h"
#include "support/oracle.h"

namespace engram {
namespace {

using testing::attributions;

AttributionOptions gauss(int64_t steps, Target target = Target::kProbability) {
  AttributionOptions options;
  options.integration.rule = Rule::kGaussLegendre;
  options.integration.steps = steps;
  options.target = target;
  return options;
}

/// Prompts of 4 to 8 tokens with neurons before, at and, in masked models, behind the answer; the
/// first half asks for one token, the rest for two.
std::vector<Cloze> prompts_of(const ModelConfig& config) {
  std::vector<Cloze> clozes;
  for (int64_t i = 0; i < 10; ++i) {
    Cloze cloze;
    const int64_t tokens = 4 + i % 5;
    const int64_t asked = i < 5 ? 1 : 2;
    for (int64_t j = 0; j < tokens; ++j) {
      cloze.ids.push_back((13 + 37 * i + 101 * j) % config.vocabulary);
    }
    const int64_t first = config.causal() ? tokens - asked : i % (tokens - asked + 1);
    for (int64_t j = 0; j < asked; ++j) {
      cloze.positions.push_back(first + j);
      cloze.answer.push_back((7 + 53 * i + 11 * j) % config.vocabulary);
    }
    cloze.neurons_at = (config.causal() ? i % (first + 1) : (3 * i) % tokens);
    clozes.push_back(cloze);
  }
  return clozes;
}

class AtSubject : public ::testing::TestWithParam<std::string> {
 protected:
  const Model model_ = GetParam() == "bert"
                           ? testing::random_model(testing::small_config(Activation::kGelu), 1)
                           : Model::load(testing::stored_oracle(GetParam()));
  const std::vector<Cloze> clozes_ = prompts_of(model_.config());

  void expect_plain(const AttributionOptions& options) const {
    const std::vector<Attribution> fast = attributions(model_, clozes_, options);
    for (size_t i = 0; i < clozes_.size(); ++i) {
      SCOPED_TRACE("prompt " + std::to_string(i));
      const Attribution plain = attribute_naive(model_, clozes_[i], options);
      EXPECT_NEAR(fast[i].p, plain.p, 1e-5 * plain.p);
      EXPECT_NEAR(fast[i].f, plain.f, 1e-5 * std::fabs(plain.f));
      EXPECT_LT((fast[i].activations - plain.activations).abs().max().item<double>(), 2e-5);
      // A difference of two F carries their rounding.
      const bool ablation = options.score == Score::kAblation;
      const double rounding = ablation ? 5e-6 * std::fabs(plain.f) : 0.0;
      const double largest = plain.scores.abs().max().item<double>();
      EXPECT_LT((fast[i].scores - plain.scores).abs().max().item<double>(),
                2e-5 * largest + rounding);
      const auto layers = plain.layers.size();
      for (size_t l = 0; l < layers; ++l) {
        EXPECT_NEAR(fast[i].layers[l].delta, plain.layers[l].delta,
                    1e-5 * std::max(std::fabs(plain.f), std::fabs(plain.layers[l].delta)));
      }
      // Of the top layer nothing but the rows that are asked is ever read.
      const std::vector<int64_t>& asked = clozes_[i].positions;
      if (std::ranges::find(asked, *clozes_[i].neurons_at) != asked.end()) continue;
      if (!score_method(options.score).integrates) continue;
      EXPECT_EQ(fast[i].scores[static_cast<int64_t>(layers) - 1].abs().max().item<double>(), 0);
    }
  }
};

TEST_P(AtSubject, TheFastPathIsThePlainOne) {
  expect_plain(gauss(4));
  expect_plain(gauss(3, Target::kLogProbability));
  for (const Score score : {Score::kActivation, Score::kGradientXActivation, Score::kAblation}) {
    AttributionOptions options;
    options.score = score;
    expect_plain(options);
  }
}

TEST_P(AtSubject, TheDefaultRuleClosesTheGapAndAgreesWithManyNodes) {
  const AttributionOptions adaptive;
  const std::vector<Attribution> found = attributions(model_, clozes_, adaptive);
  const std::vector<Attribution> truth = attributions(model_, clozes_, gauss(64));
  for (size_t i = 0; i < clozes_.size(); ++i) {
    SCOPED_TRACE("prompt " + std::to_string(i));
    const double largest = truth[i].scores.abs().max().item<double>();
    EXPECT_LT((found[i].scores - truth[i].scores).abs().max().item<double>(),
              adaptive.integration.tolerance * largest);
    for (const LayerReport& layer : found[i].layers) EXPECT_TRUE(layer.converged);
  }
}

TEST_P(AtSubject, ItIsAnotherScoreThanAtTheAnswer) {
  std::vector<Cloze> at_answer = clozes_;
  for (Cloze& cloze : at_answer) cloze.neurons_at.reset();
  const std::vector<Attribution> subject = attributions(model_, clozes_, gauss(3));
  const std::vector<Attribution> answer = attributions(model_, at_answer, gauss(3));
  for (size_t i = 0; i < clozes_.size(); ++i) {
    EXPECT_NEAR(subject[i].p, answer[i].p, 1e-5 * answer[i].p);  // the prompt is the same
    const bool same = clozes_[i].positions == std::vector<int64_t>{*clozes_[i].neurons_at};
    const double largest = answer[i].scores.abs().max().item<double>();
    const double apart = (subject[i].scores - answer[i].scores).abs().max().item<double>();
    EXPECT_EQ(apart < 1e-4 * largest, same) << "prompt " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(, AtSubject,
                         ::testing::Values("bert", "gpt2-tiny", "gpt-neox-tiny", "llama-tiny",
                                           "gemma-tiny"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST(NeuronsAt, ATokenThatIsNotThereIsRefused) {
  const Model model = testing::random_model(testing::small_config(Activation::kGelu), 1);
  std::vector<Cloze> clozes = testing::random_clozes(model.config(), 1, 2);
  for (const int64_t at : {int64_t{-1}, static_cast<int64_t>(clozes[0].ids.size())}) {
    clozes[0].neurons_at = at;
    EXPECT_THROW(attributions(model, clozes, {}), InputError);
  }
}

}  // namespace
}  // namespace engram
