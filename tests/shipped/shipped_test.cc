// What the shipped model and its facts promise (models/engram-base/README.md).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>
#include <span>

#include "engram/attribution/attribution.h"
#include "engram/model/model.h"
#include "engram/text/facts.h"
#include "engram/text/prepare.h"
#include "engram/text/prompt.h"
#include "engram/text/tokenizer.h"

namespace engram {
namespace {

namespace fs = std::filesystem;

class Shipped : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = fs::path(ENGRAM_SOURCE_DIR) / "models/engram-base";
    model_ = std::make_unique<Model>(Model::load(folder_));
    tokenizer_ = std::make_unique<Tokenizer>(Tokenizer::load(folder_));
    FactSetOptions strict;
    strict.strict = true;
    facts_ = read_facts(folder_ / "facts.jsonl", strict).facts;
  }
  static void TearDownTestSuite() {
    model_.reset();
    tokenizer_.reset();
    facts_.clear();
  }
  static Cloze query(const std::string& prompt, const std::string& answer) {
    const Cloze tokens =
        encode_prompt(*tokenizer_, prompt, answer, model_->config().max_tokens(), "test");
    return {tokens.ids, tokens.positions, tokens.answer, {}};
  }
  static Attribution attributed(const Cloze& one, const AttributionOptions& options) {
    Attribution result;
    attribute(*model_, std::span(&one, 1), options,
              [&](size_t, Attribution&& attribution) { result = std::move(attribution); });
    return result;
  }

  inline static fs::path folder_;
  inline static std::unique_ptr<Model> model_;
  inline static std::unique_ptr<Tokenizer> tokenizer_;
  inline static std::vector<Fact> facts_;
};

TEST_F(Shipped, TheFactsAreManyAndOfManyRelations) {
  std::map<std::string, int64_t> relations;
  std::set<std::string> triples;
  for (const Fact& fact : facts_) {
    ++relations[fact.relation];
    EXPECT_TRUE(triples.insert(fact.relation + "\t" + fact.subject).second) << fact.origin;
    EXPECT_GE(fact.prompts.size(), 4U) << fact.origin;
    EXPECT_GE(fact.held_out.size(), 2U) << fact.origin;
    EXPECT_GE(fact.prompts.size() + fact.held_out.size(), 6U) << fact.origin;
    EXPECT_EQ(fact.subject.find(fact.object), std::string::npos) << fact.origin;
    const std::set<std::string> located(fact.prompts.begin(), fact.prompts.end());
    for (const std::string& prompt : fact.held_out) EXPECT_FALSE(located.contains(prompt));
  }
  EXPECT_GE(facts_.size(), 2000U);
  EXPECT_GE(relations.size(), 20U);
}

TEST_F(Shipped, EveryAnswerIsOneTokenAndEveryPromptFits) {
  std::vector<FactProblem> problems;
  for (const Fact& fact : facts_) {
    const auto prepared = prepare_fact(fact, *tokenizer_, prompt_form(model_->config()), problems);
    ASSERT_TRUE(prepared.has_value()) << problems.back().message;
    for (const Cloze& cloze : prepared->prompts) ASSERT_EQ(cloze.answer.size(), 1U) << fact.origin;
  }
}

TEST_F(Shipped, ParisIsTheCapitalOfFrance) {
  const Cloze one = query("The capital of France is [MASK].", "Paris");
  const at::Tensor logits =
      model_->logits_at(at::tensor(one.ids).unsqueeze(0), at::tensor(one.positions));
  EXPECT_EQ(logits.argmax(1).item<int64_t>(), one.answer.front());
  const Attribution result = attributed(one, {});
  EXPECT_NEAR(result.p, at::softmax(logits, 1)[0][one.answer.front()].item<double>(), 1e-5);
}

TEST_F(Shipped, TheDefaultRuleMeetsItsToleranceAndThePlainPath) {
  AttributionOptions many;
  many.integration.rule = Rule::kGaussLegendre;
  many.integration.steps = 24;
  for (size_t i = 0; i < facts_.size(); i += facts_.size() / 2) {
    const Cloze one = query(facts_[i].held_out.front(), facts_[i].object);
    const AttributionOptions standard;
    const Attribution result = attributed(one, standard);
    const Attribution plain = attribute_naive(*model_, one, many);
    const double largest = plain.scores.abs().max().item<double>();
    EXPECT_LT((result.scores - plain.scores).abs().max().item<double>(),
              standard.integration.tolerance * largest)
        << facts_[i].origin;
    for (size_t l = 0; l < result.layers.size(); ++l) {
      const LayerReport& layer = result.layers[l];
      EXPECT_TRUE(layer.converged) << facts_[i].origin << " layer " << l;
      EXPECT_LT(layer.gap,
                standard.integration.tolerance * std::max(std::fabs(layer.delta), 1e-3 * result.p));
      // Both ends of the difference are rounded: F(a) and F(0).
      const double delta = plain.layers[l].delta;
      const double largest_f = std::max(std::fabs(plain.f), std::fabs(plain.f - delta));
      EXPECT_NEAR(layer.delta, delta, 1e-5 * largest_f);
    }
  }
}

}  // namespace
}  // namespace engram
