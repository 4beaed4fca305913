#include "engram/removal/removal.h"

#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/random.h"
#include "engram/edit/values.h"
#include "engram/error.h"
#include "intervention/random_model.h"
#include "removal/relearn.h"
#include "removal/weights.h"
#include "support/oracle.h"

namespace engram {
namespace {

using testing::random_cloze;
using testing::random_model;

std::vector<ExaminedFact> facts_of(uint64_t seed, size_t count, bool examples = true) {
  std::vector<ExaminedFact> facts;
  for (size_t i = 0; i < count; ++i) {
    ExaminedFact& fact = facts.emplace_back();
    fact.object = i % 12;
    const int64_t answer = 3 + static_cast<int64_t>(fact.object);
    const auto prompt = [&](uint64_t number, int64_t tokens) {
      Cloze cloze = random_cloze(seed + 100 * i + number, tokens);
      cloze.answer = {answer};
      return cloze;
    };
    for (uint64_t p = 0; p < 3; ++p) fact.own.push_back(prompt(p, 6 + static_cast<int64_t>(p)));
    for (uint64_t p = 3; p < 5; ++p) fact.held_out.push_back(prompt(p, 7));
    for (uint64_t p = 5; examples && p < 7; ++p) fact.with_examples.push_back(prompt(p, 15));
  }
  return facts;
}

RemovalOptions quick() {
  RemovalOptions options;
  options.noise_draws = 2;
  options.relearn_steps = {1, 3};
  options.relearn_rate = 1e-2;
  return options;
}

Model erased_model(const Model& model) {
  const std::vector<NeuronId> neurons = {{0, 1}, {1, 5}, {1, 9}, {2, 20}, {2, 31}};
  return with_values(model, erase_values(model, neurons, EraseMode::kZero, {}));
}

double plain_log_odds(const Model& model, const Cloze& cloze) {
  const at::NoGradGuard no_grad;
  const at::Tensor hidden = model.encode(at::tensor(cloze.ids, at::kLong).unsqueeze(0))[0];
  const double p = model.logits(hidden[cloze.positions[0]].unsqueeze(0))
                       .to(at::kDouble)
                       .softmax(-1)[0][cloze.answer[0]]
                       .item<double>();
  return std::log(p) - std::log1p(-p);
}

double mean_log_odds(const Model& model, const std::vector<Cloze>& prompts) {
  double sum = 0;
  for (const Cloze& cloze : prompts) sum += plain_log_odds(model, cloze);
  return sum / static_cast<double>(prompts.size());
}

const AttackGain& attack(const Removal& removal, const std::string& name) {
  const auto found = std::ranges::find(removal.attacks, name, &AttackGain::name);
  EXPECT_NE(found, removal.attacks.end()) << name;
  return *found;
}

TEST(Removal, GainsAreThoseOfPlainForwards) {
  const Model model = random_model(1);
  const Model edited = erased_model(model);
  const std::vector<ExaminedFact> erased = facts_of(1, 5);
  const std::vector<ExaminedFact> never = facts_of(1000, 4);
  const Removal found = attack_edit(model, edited, erased, never, quick());
  for (size_t i = 0; i < erased.size(); ++i) {
    const ExaminedFact& fact = erased[i];
    const double after = mean_log_odds(edited, fact.held_out);
    EXPECT_NEAR(found.before[i], mean_log_odds(model, fact.held_out), 1e-4);
    EXPECT_NEAR(found.after[i], after, 1e-4);
    EXPECT_NEAR(found.own_before[i], mean_log_odds(model, fact.own), 1e-4);
    EXPECT_NEAR(found.own_after[i], mean_log_odds(edited, fact.own), 1e-4);
    EXPECT_NEAR(attack(found, "examples").erased[i],
                mean_log_odds(edited, fact.with_examples) - after, 2e-4);
    EXPECT_NEAR(attack(found, "int4").erased[i],
                mean_log_odds(rounded(edited, 4), fact.held_out) - after, 2e-4);
    EXPECT_NEAR(attack(found, "0.9 of the edit").erased[i],
                mean_log_odds(between(model, edited, 0.9), fact.held_out) - after, 2e-4);
    EXPECT_GE(attack(found, "lens").erased[i], -1e-4);  // the last layer is one of them
    EXPECT_NEAR(attack(found, "paraphrases").erased[i],
                found.own_before[i] - found.own_after[i] - (found.before[i] - found.after[i]),
                1e-6);
  }
  for (size_t i = 0; i < never.size(); ++i) {
    const double before = mean_log_odds(model, never[i].held_out);
    EXPECT_NEAR(attack(found, "examples").never[i],
                mean_log_odds(model, never[i].with_examples) - before, 2e-4);
    EXPECT_NEAR(attack(found, "int8").never[i],
                mean_log_odds(rounded(model, 8), never[i].held_out) - before, 2e-4);
    EXPECT_EQ(attack(found, "0.9 of the edit").never[i], 0);
    EXPECT_EQ(attack(found, "paraphrases").never[i], 0);
  }
}

TEST(Removal, DependsNeitherOnThreadsNorOnTheRun) {
  const Model model = random_model(2);
  const Model edited = erased_model(model);
  const std::vector<ExaminedFact> erased = facts_of(3, 6);
  const std::vector<ExaminedFact> never = facts_of(900, 5);
  RemovalOptions one = quick();
  one.measure.threads = 1;
  RemovalOptions three = quick();
  three.measure.threads = 3;
  int64_t last = 0;
  int64_t all = 0;
  const Removal a = attack_edit(model, edited, erased, never, one, [&](int64_t done, int64_t of) {
    EXPECT_EQ(done, last + 1);
    last = done;
    all = of;
  });
  EXPECT_EQ(last, all);
  const Removal b = attack_edit(model, edited, erased, never, three);
  ASSERT_EQ(a.attacks.size(), b.attacks.size());
  for (size_t i = 0; i < a.attacks.size(); ++i) {
    for (size_t f = 0; f < erased.size(); ++f) {
      EXPECT_NEAR(a.attacks[i].erased[f], b.attacks[i].erased[f], 1e-3) << a.attacks[i].name;
    }
  }
}

TEST(Removal, LeavesOutWhatCannotBeAttacked) {
  const Model model = random_model(4);
  const Model edited = erased_model(model);
  const Removal found =
      attack_edit(model, edited, facts_of(1, 3, false), facts_of(500, 3), quick());
  std::set<std::string> names;
  for (const AttackGain& one : found.attacks) names.insert(one.name);
  EXPECT_EQ(names, (std::set<std::string>{"paraphrases", "lens", "int8", "int4", "noise",
                                          "0.9 of the edit"}));
  EXPECT_THROW((void)attack_edit(model, edited, {}, {}, quick()), InputError);
  std::vector<ExaminedFact> unasked = facts_of(1, 2);
  unasked[1].held_out.clear();
  unasked[1].with_examples.clear();
  EXPECT_THROW((void)attack_edit(model, edited, unasked, {}, quick()), InputError);
  std::vector<ExaminedFact> longer = facts_of(1, 2);
  longer[0].own[0].answer = {1, 2};
  EXPECT_THROW((void)attack_edit(model, edited, longer, {}, quick()), InputError);
}

TEST(Relearning, BringsBackWhatItIsTaughtAndLeavesTheModel) {
  const Model model = random_model(5);
  const std::vector<ExaminedFact> facts = facts_of(7, 4);
  std::vector<Cloze> taught;
  for (const ExaminedFact& fact : facts) {
    taught.insert(taught.end(), fact.own.begin(), fact.own.end());
  }
  const double before = mean_log_odds(model, taught);
  const at::Tensor weight = model.weights().layers[1].ffn_out_weight.clone();
  const at::Tensor embedding = model.weights().token_embedding.clone();
  std::vector<int64_t> steps;
  std::vector<double> after;
  relearn(model, taught, {{0, 2, 40}, 1e-2, 8, 3}, [&](int64_t done, const Model& pupil) {
    steps.push_back(done);
    after.push_back(mean_log_odds(pupil, taught));
    EXPECT_TRUE(pupil.weights().token_embedding.equal(embedding));
  });
  EXPECT_EQ(steps, (std::vector<int64_t>{0, 2, 40}));
  EXPECT_NEAR(after[0], before, 1e-5);
  EXPECT_GT(after[2], before + 1);
  EXPECT_TRUE(model.weights().layers[1].ffn_out_weight.equal(weight));
}

TEST(ChangedWeights, RoundedOnesTakeFewValues) {
  const Model model = random_model(6, 2, 16, 80);
  const Model four = rounded(model, 4);
  for (size_t l = 0; l < 2; ++l) {
    const at::Tensor& before = model.weights().layers[l].ffn_out_weight;  // [16, 80]
    const at::Tensor& after = four.weights().layers[l].ffn_out_weight;
    for (int64_t row = 0; row < 16; ++row) {
      for (const auto& [from, size] : {std::pair{0, 64}, {64, 16}}) {
        const at::Tensor a = before[row].narrow(0, from, size);
        const at::Tensor b = after[row].narrow(0, from, size);
        const double scale = a.abs().max().item<double>() / 7;
        std::set<int64_t> levels;
        for (int64_t i = 0; i < size; ++i) {
          const double level = b[i].item<double>() / scale;
          EXPECT_NEAR(level, std::round(level), 1e-4);
          levels.insert(std::llround(level));
          EXPECT_LE(std::abs(b[i].item<double>() - a[i].item<double>()), 0.501 * scale);
        }
        EXPECT_LE(levels.size(), 15U);
      }
    }
    EXPECT_TRUE(model.weights().layers[l].ffn_in_bias.equal(four.weights().layers[l].ffn_in_bias));
  }
  EXPECT_TRUE(model.weights().token_embedding.is_same(four.weights().token_embedding));
}

TEST(ChangedWeights, NoiseHasTheShareOfTheMatrix) {
  const Model model = random_model(7, 2, 64, 200);
  const Model one = noisy(model, 0.01, 1);
  const Model other = noisy(model, 0.01, 2);
  const at::Tensor& before = model.weights().layers[0].ffn_in_weight;
  const at::Tensor change = one.weights().layers[0].ffn_in_weight - before;
  EXPECT_NEAR((change.norm() / before.norm()).item<double>(), 0.01, 0.0005);
  EXPECT_FALSE(
      one.weights().layers[0].ffn_in_weight.equal(other.weights().layers[0].ffn_in_weight));
  EXPECT_TRUE(noisy(model, 0.01, 1)
                  .weights()
                  .layers[0]
                  .ffn_in_weight.equal(one.weights().layers[0].ffn_in_weight));
}

TEST(ChangedWeights, BetweenTwoModelsLiesEveryWeight) {
  const Model a = Model::load(testing::stored_oracle("llama-tiny"));
  const Model b = noisy(a, 0.5, 3);
  EXPECT_TRUE(
      between(a, b, 0).weights().layers[0].query_weight.equal(a.weights().layers[0].query_weight));
  EXPECT_TRUE(between(a, b, 1).weights().layers[1].ffn_gate_weight.allclose(
      b.weights().layers[1].ffn_gate_weight, 1e-5, 1e-6));
  const at::Tensor half =
      (a.weights().layers[0].ffn_out_weight + b.weights().layers[0].ffn_out_weight) / 2;
  EXPECT_TRUE(between(a, b, 0.5).weights().layers[0].ffn_out_weight.allclose(half, 1e-5, 1e-6));
}

/// Made-up gains: the edit takes 4 logits of each fact; `back` is what one attack gives.
Removal made_up(const std::vector<ExaminedFact>& erased, const std::vector<ExaminedFact>& never,
                double taken, double back, double line) {
  Removal removal;
  Random random(9);
  const auto around = [&](double value) {
    return value + 0.05 * (static_cast<double>(random.below(1000)) / 500 - 1);
  };
  for (size_t i = 0; i < erased.size(); ++i) {
    removal.before.push_back(around(2));
    removal.after.push_back(removal.before.back() - around(taken));
    removal.own_before.push_back(around(2));
    removal.own_after.push_back(removal.own_before.back() - around(taken));
  }
  for (const auto& [name, gain] : {std::pair{"weak", 0.0}, {"strong", back}}) {
    AttackGain& one = removal.attacks.emplace_back();
    one.name = name;
    for (size_t i = 0; i < erased.size(); ++i) one.erased.push_back(around(gain));
    for (size_t i = 0; i < never.size(); ++i) one.never.push_back(around(gain > 0 ? line : 0));
  }
  return removal;
}

TEST(RemovalVerdict, FollowsTheRule) {
  const std::vector<ExaminedFact> erased = facts_of(1, 36);
  const std::vector<ExaminedFact> never = facts_of(50, 36);
  const auto verdict = [&](double taken, double back, double line) {
    return judge_removal(made_up(erased, never, taken, back, line), erased, never).verdict;
  };
  EXPECT_EQ(verdict(4, 0.1, 0), RemovalVerdict::kRemoved);
  EXPECT_EQ(verdict(4, 3, 0), RemovalVerdict::kHidden);
  EXPECT_EQ(verdict(4, 0.6, 0), RemovalVerdict::kUndecided);  // 0.15
  EXPECT_EQ(verdict(4, 3, 2.9), RemovalVerdict::kRemoved);    // it raises what is not there as much
  EXPECT_EQ(verdict(0.3, 0.2, 0), RemovalVerdict::kNothingTaken);
  const RemovalReport report = judge_removal(made_up(erased, never, 4, 3, 1), erased, never);
  ASSERT_EQ(report.attacks.size(), 2U);
  EXPECT_NEAR(report.drop.value, 4, 0.05);
  EXPECT_NEAR(report.attacks[1].share.value, 0.75, 0.02);
  EXPECT_NEAR(report.attacks[1].line.value, 0.25, 0.02);
  EXPECT_NEAR(report.attacks[1].beyond.value, 0.5, 0.02);
  EXPECT_LT(report.attacks[1].beyond.low, report.attacks[1].beyond.value);
}

TEST(RemovalVerdict, FewObjectsDecideNothing) {
  const std::vector<ExaminedFact> few = facts_of(1, 5);
  const Removal removal = made_up(few, few, 4, 3, 0);
  const RemovalReport report = judge_removal(removal, few, few);
  EXPECT_EQ(report.verdict, RemovalVerdict::kUndecided);
  EXPECT_TRUE(std::isnan(report.drop.low));
  EXPECT_NEAR(report.drop.value, 4, 0.1);
}

}  // namespace
}  // namespace engram
