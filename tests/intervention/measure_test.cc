// Batched trials against single forwards with the model's own InterventionHook.
#include "engram/intervention/measure.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "engram/base/interrupt.h"
#include "engram/error.h"
#include "engram/intervention/intervention.h"
#include "intervention/batch.h"
#include "intervention/random_model.h"
#include "support/oracle.h"

namespace engram {
namespace {

using testing::random_cloze;
using testing::random_model;

/// One prompt, one forward, through the plain path.
Answered by_hand(const Model& model, const Cloze& cloze, const std::vector<NeuronChange>& changes) {
  std::vector<ActivationChange> list;
  const std::vector<int64_t> places =
      cloze.neurons_at ? std::vector<int64_t>{*cloze.neurons_at} : cloze.positions;
  for (const NeuronChange& change : changes) {
    for (const int64_t position : places) {
      ActivationChange one{change.id.layer,
                           change.id.neuron,
                           0,
                           position,
                           ActivationChange::Kind::kScale,
                           static_cast<double>(change.factor)};
      list.push_back(one);
      one.kind = ActivationChange::Kind::kAdd;
      one.value = static_cast<double>(change.summand);
      list.push_back(one);
    }
  }
  InterventionHook hook(list, model.config().layers, model.config().d_ff);
  const at::Tensor ids = at::tensor(cloze.ids, at::kLong).unsqueeze(0);
  const at::Tensor hidden = model.encode(ids, {}, &hook).squeeze(0);
  Answered answered;
  answered.rank = 1;
  for (size_t k = 0; k < cloze.positions.size(); ++k) {
    const at::Tensor logits = model.logits(hidden[cloze.positions[k]].unsqueeze(0)).squeeze(0);
    answered.log_p += logits.log_softmax(0)[cloze.answer[k]].item<double>() /
                      static_cast<double>(cloze.positions.size());
    answered.rank =
        std::max(answered.rank, 1 + logits.gt(logits[cloze.answer[k]]).sum().item<int64_t>());
  }
  answered.p = std::exp(answered.log_p);
  return answered;
}

struct Case {
  std::vector<Cloze> clozes;
  std::vector<std::vector<NeuronChange>> sets;
  std::vector<Trial> trials;
};

/// Prompts of several lengths, sets over one, several, all and no layers.
Case make_case(const Model& model, size_t prompts) {
  Case c;
  for (size_t i = 0; i < prompts; ++i) {
    c.clozes.push_back(random_cloze(100 + i, 5 + static_cast<int64_t>(i % 4), i % 5 == 4 ? 2 : 1));
  }
  const auto top = static_cast<int32_t>(model.config().layers - 1);
  c.sets = {{},
            {{{0, 3}, 0.0F, 0.0F}},
            {{{top, 7}, 2.0F, 0.0F}, {{top, 8}, 0.0F, 0.5F}},
            {{{top, 1}, -1.0F, 0.0F}, {{0, 5}, 0.0F, 0.7F}, {{1, 2}, 3.0F, 0.0F}},
            {{{1, 0}, 0.0F, -0.4F}, {{top, 39}, 0.0F, 0.0F}}};
  for (uint32_t p = 0; p < prompts; ++p) {
    for (uint32_t s = 0; s < c.sets.size(); ++s) c.trials.push_back({p, s});
  }
  return c;
}

TEST(Measure, EqualsSingleForwardsWithTheInterventionHook) {
  const Model model = random_model(1);
  const Case c = make_case(model, 17);
  const Measured measured = measure(model, c.clozes, c.sets, c.trials);
  ASSERT_EQ(measured.before.size(), c.clozes.size());
  ASSERT_EQ(measured.after.size(), c.trials.size());
  double largest_change = 0;
  for (size_t t = 0; t < c.trials.size(); ++t) {
    const Cloze& cloze = c.clozes[c.trials[t].cloze];
    const Answered expected = by_hand(model, cloze, c.sets[c.trials[t].set]);
    EXPECT_NEAR(measured.after[t].log_p, expected.log_p, 2e-5) << "trial " << t;
    EXPECT_NEAR(measured.after[t].p, expected.p, 1e-5 * expected.p + 1e-7);
    EXPECT_EQ(measured.after[t].rank, expected.rank) << "trial " << t;
    const Answered before = by_hand(model, cloze, {});
    EXPECT_NEAR(measured.before[c.trials[t].cloze].log_p, before.log_p, 2e-5);
    largest_change = std::max(largest_change, std::abs(expected.log_p - before.log_p));
  }
  EXPECT_GT(largest_change, 0.05);  // else nothing was tested
}

/// Prompts of a stored decoder: random tokens, the last ones ask.
Cloze causal_cloze(const ModelConfig& config, uint64_t seed, int64_t tokens, int64_t answer) {
  Cloze cloze = random_cloze(seed, tokens, 1);
  for (int64_t& id : cloze.ids) id = (id * 7919) % config.vocabulary;
  cloze.positions.clear();
  cloze.answer.clear();
  for (int64_t k = 0; k < answer; ++k) {
    cloze.positions.push_back(tokens - answer + k);
    cloze.answer.push_back((static_cast<int64_t>(seed) * 31 + k) % config.vocabulary);
  }
  return cloze;
}

class MeasureDecoder : public ::testing::TestWithParam<const char*> {
 protected:
  /// Prompts of several lengths, of one token asked and of three; `place` decides on each prompt
  /// where its neurons are.
  void expect_single_forwards(const std::function<void(int64_t, Cloze&)>& place) const {
    const Model model = Model::load(testing::stored_oracle(GetParam()));
    Case c;
    for (int64_t i = 0; i < 7; ++i) {
      const int64_t asked = i % 3 == 2 ? 3 : 1;
      c.clozes.push_back(
          causal_cloze(model.config(), 100 + static_cast<uint64_t>(i), 5 + i % 3, asked));
      place(i, c.clozes.back());
    }
    const auto top = static_cast<int32_t>(model.config().layers - 1);
    c.sets = {{{{0, 3}, 0.0F, 0.0F}, {{0, 4}, 0.0F, 9.0F}},
              {{{top, 7}, 2.0F, 0.0F}, {{top, 8}, 0.0F, 9.0F}},
              {{{1, 1}, -1.0F, 0.0F}, {{0, 5}, 0.0F, 9.0F}, {{1, 2}, 3.0F, 0.0F}}};
    for (uint32_t p = 0; p < c.clozes.size(); ++p) {
      for (uint32_t s = 0; s < c.sets.size(); ++s) c.trials.push_back({p, s});
    }
    const Measured measured = measure(model, c.clozes, c.sets, c.trials);
    double largest_change = 0;
    for (size_t t = 0; t < c.trials.size(); ++t) {
      const Cloze& cloze = c.clozes[c.trials[t].cloze];
      const Answered expected = by_hand(model, cloze, c.sets[c.trials[t].set]);
      EXPECT_NEAR(measured.after[t].log_p, expected.log_p, 2e-5) << "trial " << t;
      EXPECT_EQ(measured.after[t].rank, expected.rank) << "trial " << t;
      const Answered before = by_hand(model, cloze, {});
      EXPECT_NEAR(measured.before[c.trials[t].cloze].log_p, before.log_p, 2e-5);
      largest_change = std::max(largest_change, std::abs(expected.log_p - before.log_p));
    }
    EXPECT_GT(largest_change, 1e-3);  // else nothing was tested
  }
};

TEST_P(MeasureDecoder, EqualsSingleForwardsWithTheInterventionHook) {
  expect_single_forwards([](int64_t, Cloze&) {});
}

TEST_P(MeasureDecoder, AndSoAtATokenOfTheSubject) {
  expect_single_forwards(
      [](int64_t i, Cloze& cloze) { cloze.neurons_at = i % (cloze.positions.front() + 1); });
}

INSTANTIATE_TEST_SUITE_P(, MeasureDecoder,
                         ::testing::Values("gpt2-tiny", "gpt-neox-tiny", "llama-tiny",
                                           "gemma-tiny"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST(Measure, AtATokenOfTheSubject) {
  const Model model = random_model(1);
  Case c = make_case(model, 17);
  for (size_t i = 0; i < c.clozes.size(); ++i) {
    c.clozes[i].neurons_at = static_cast<int64_t>((3 * i) % c.clozes[i].ids.size());
  }
  const Measured measured = measure(model, c.clozes, c.sets, c.trials);
  for (size_t t = 0; t < c.trials.size(); ++t) {
    const Answered expected = by_hand(model, c.clozes[c.trials[t].cloze], c.sets[c.trials[t].set]);
    EXPECT_NEAR(measured.after[t].log_p, expected.log_p, 2e-5) << "trial " << t;
    EXPECT_EQ(measured.after[t].rank, expected.rank) << "trial " << t;
  }
}

TEST(Measure, AModelOfOneLayer) {
  const Model model = random_model(2, 1);
  const std::vector<Cloze> clozes = {random_cloze(1, 6), random_cloze(2, 6, 2)};
  const std::vector<std::vector<NeuronChange>> sets = {{{{0, 4}, 0.0F, 1.5F}}};
  const std::vector<Trial> trials = {{0, 0}, {1, 0}};
  const Measured measured = measure(model, clozes, sets, trials);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_NEAR(measured.after[i].log_p, by_hand(model, clozes[i], sets[0]).log_p, 2e-5);
  }
}

TEST(Measure, DoesNotDependOnThreadsAndHardlyOnMemory) {
  const Model model = random_model(3);
  const Case c = make_case(model, 120);
  const Measured one = measure(model, c.clozes, c.sets, c.trials, {1, 1 << 30});
  const Measured four = measure(model, c.clozes, c.sets, c.trials, {4, 1 << 30});
  const Measured tight = measure(model, c.clozes, c.sets, c.trials, {2, 1});
  for (size_t t = 0; t < c.trials.size(); ++t) {
    EXPECT_EQ(one.after[t].log_p, four.after[t].log_p);
    EXPECT_EQ(one.after[t].rank, four.after[t].rank);
    EXPECT_NEAR(one.after[t].log_p, tight.after[t].log_p, 1e-5);
  }
}

TEST(Measure, AnEmptySetChangesNothingAndScaleOneNeither) {
  const Model model = random_model(4);
  const std::vector<Cloze> clozes = {random_cloze(1, 8)};
  const std::vector<std::vector<NeuronChange>> sets = {{}, {{{1, 1}, 1.0F, 0.0F}}};
  const std::vector<Trial> trials = {{0, 0}, {0, 1}};
  const Measured measured = measure(model, clozes, sets, trials);
  EXPECT_EQ(measured.after[0].log_p, measured.before[0].log_p);
  EXPECT_NEAR(measured.after[1].log_p, measured.before[0].log_p, 1e-6);
}

TEST(Measure, AnAnswerThatIsNoNumberIsNeverTheTopOne) {
  const Model model = random_model(4);
  const std::vector<Cloze> clozes = {random_cloze(1, 8)};
  const std::vector<std::vector<NeuronChange>> sets = {
      {{{1, 1}, 0.0F, std::numeric_limits<float>::infinity()}}};
  const std::vector<Trial> trials = {{0, 0}};
  const Answered after = measure(model, clozes, sets, trials).after[0];
  EXPECT_FALSE(std::isfinite(after.log_p));
  EXPECT_FALSE(after.top());
  EXPECT_EQ(after.rank, model.config().vocabulary);
}

/// log(P / (1 - P)) from the logits in double precision, over all other tokens.
double plain_log_odds(const at::Tensor& logits, int64_t answer) {
  const at::Tensor wide = logits.to(at::kDouble).clone();
  const double chosen = wide[answer].item<double>();
  wide[answer] = -std::numeric_limits<double>::infinity();
  return chosen - wide.logsumexp(0).item<double>();
}

/// The answers of `logits` [rows, k, vocabulary], `answer` [rows, k].
std::vector<Answered> read_logits(const at::Tensor& logits, const std::vector<int64_t>& answer) {
  std::vector<kernels::TokenAnswer> tokens(answer.size());
  kernels::read_answers(logits.flatten(0, 1).contiguous(), answer.data(), tokens.data());
  return joint_answers(tokens, logits.size(1), logits.size(2));
}

TEST(ReadLogits, LogOddsAreExactWherePIsNearlyOneOrZero) {
  at::Generator generator = at::detail::createCPUGenerator(3);
  const at::Tensor base = at::randn({50}, generator);
  for (const double height : {-40.0, -5.0, 0.0, 5.0, 25.0, 60.0}) {
    at::Tensor logits = base.clone();
    logits[7] = height;
    const at::Tensor rows = logits.view({1, 1, 50});
    const Answered found = read_logits(rows, {7}).front();
    EXPECT_NEAR(found.log_odds, plain_log_odds(logits, 7), 1e-5) << height;
    EXPECT_EQ(rows[0][0][7].item<double>(), height) << "the logits stay as they are";
  }
}

TEST(ReadLogits, LogOddsOfSeveralTokensAreThoseOfTheGeometricMean) {
  at::Tensor logits = at::zeros({1, 2, 3});
  logits[0][0][0] = 2.0;
  logits[0][1][2] = -1.0;
  const std::vector<int64_t> answer = {0, 2};
  const Answered found = read_logits(logits, answer).front();
  const double p = std::sqrt(std::exp(2.0) / (std::exp(2.0) + 2) / (std::exp(1.0) * 2 + 1));
  EXPECT_NEAR(found.log_odds, std::log(p / (1 - p)), 1e-6);
  // Both sure: P rounds to 1, but not all sure answers are as sure as each other.
  logits[0][0][0] = 30.0;
  logits[0][1][2] = 40.0;
  const Answered sure = read_logits(logits, answer).front();
  const double missing = (2 * std::exp(-30.0) + 2 * std::exp(-40.0)) / 2;
  EXPECT_NEAR(sure.log_odds, -std::log(missing), 1e-4);
}

TEST(Measure, RefusesWhatTheModelDoesNotHave) {
  const Model model = random_model(5);
  const std::vector<Cloze> clozes = {random_cloze(1, 8)};
  const std::vector<Trial> trials = {{0, 0}};
  const auto with = [&](const std::vector<NeuronChange>& set) {
    const std::vector<std::vector<NeuronChange>> sets = {set};
    measure(model, clozes, sets, trials);
  };
  EXPECT_THROW(with({{{3, 0}, 0, 0}}), InputError);
  EXPECT_THROW(with({{{0, 40}, 0, 0}}), InputError);
  EXPECT_THROW(with({{{-1, 0}, 0, 0}}), InputError);
  EXPECT_THROW(with({{{0, 1}, 0, 0}, {{0, 1}, 2, 0}}), InputError);
  std::vector<Cloze> wrong = clozes;
  wrong[0].ids[0] = 50;
  EXPECT_THROW(measure(model, wrong, {}, {}), InputError);
  wrong = clozes;
  wrong[0].positions[0] = 8;
  EXPECT_THROW(measure(model, wrong, {}, {}), InputError);
  wrong = clozes;
  wrong[0].ids.resize(25, 1);
  EXPECT_THROW(measure(model, wrong, {}, {}), InputError);
}

TEST(Measure, StopsWhenAsked) {
  const Model model = random_model(6);
  const Case c = make_case(model, 8);
  Interrupt::request();
  EXPECT_THROW(measure(model, c.clozes, c.sets, c.trials), Interrupted);
  Interrupt::clear();
  EXPECT_NO_THROW(measure(model, c.clozes, c.sets, c.trials));
}

TEST(MaskActivations, AreThoseOfTheForward) {
  const Model model = random_model(7);
  std::vector<Cloze> clozes = {random_cloze(1, 8), random_cloze(2, 5, 2), random_cloze(3, 8)};
  clozes.push_back(clozes[1]);
  clozes.back().neurons_at = 0;
  const at::Tensor found = mask_activations(model, clozes);
  for (size_t i = 0; i < clozes.size(); ++i) {
    RecordingHook hook;
    (void)model.encode(at::tensor(clozes[i].ids, at::kLong).unsqueeze(0), {}, &hook);
    for (int64_t l = 0; l < model.config().layers; ++l) {
      const at::Tensor rows = hook.activations()[static_cast<size_t>(l)][0].index_select(
          0, clozes[i].neurons_at ? at::tensor({*clozes[i].neurons_at}, at::kLong)
                                  : at::tensor(clozes[i].positions, at::kLong));
      EXPECT_TRUE(at::allclose(found[static_cast<int64_t>(i)][l], rows.mean(0), 1e-4, 1e-5));
    }
  }
}

TEST(ActivationProfiles, GradientIsTheSlopeOfTheAnswer) {
  const Model model = random_model(8);
  const std::vector<Cloze> clozes = {random_cloze(1, 8), random_cloze(2, 8), random_cloze(3, 6)};
  const std::vector<int64_t> group = {0, 1, 1};
  const ActivationProfile profile = activation_profiles(model, clozes, group, 3);
  const at::Tensor a = mask_activations(model, clozes);
  EXPECT_TRUE(at::allclose(profile.activation[0], a[0], 1e-4, 1e-5));
  EXPECT_TRUE(at::allclose(profile.activation[1], (a[1] + a[2]) / 2, 1e-4, 1e-5));
  EXPECT_TRUE(at::allclose(profile.product[0], a[0] * profile.gradient[0], 1e-4, 1e-6));
  EXPECT_LT(profile.activation.min().item<float>(), 0) << "signs are kept";
  EXPECT_LT(profile.gradient.min().item<float>(), 0);
  EXPECT_EQ(profile.gradient[2].abs().max().item<float>(), 0.0F);
  // Central differences of P, neuron by neuron.
  const float step = 0.02F;
  for (const NeuronId id : {NeuronId{0, 3}, NeuronId{1, 20}, NeuronId{2, 39}}) {
    const std::vector<std::vector<NeuronChange>> sets = {{{id, 1.0F, step}}, {{id, 1.0F, -step}}};
    const std::vector<Trial> trials = {{0, 0}, {0, 1}};
    const Measured m = measure(model, clozes, sets, trials);
    const double slope = (m.after[0].p - m.after[1].p) / (2 * static_cast<double>(step));
    const double found = profile.gradient[0][id.layer][id.neuron].item<double>();
    EXPECT_NEAR(found, slope, 0.02 * std::abs(slope) + 1e-5) << id.layer << ":" << id.neuron;
  }
}

TEST(ActivationProfiles, DoNotDependOnThreads) {
  const Model model = random_model(9);
  std::vector<Cloze> clozes;
  std::vector<int64_t> group;
  for (uint64_t i = 0; i < 150; ++i) {
    clozes.push_back(random_cloze(i, 5 + static_cast<int64_t>(i % 3)));
    group.push_back(static_cast<int64_t>(i % 7));
  }
  const ActivationProfile one = activation_profiles(model, clozes, group, 7, {1, 1 << 30});
  const ActivationProfile three = activation_profiles(model, clozes, group, 7, {3, 1 << 30});
  EXPECT_TRUE(at::equal(one.activation, three.activation));
  EXPECT_TRUE(at::equal(one.gradient, three.gradient));
}

TEST(Intervention, NamesAndRefusals) {
  for (const char* name : {"zero", "mean", "resample", "double", "scale:0.5", "scale:-3"}) {
    EXPECT_EQ(intervention_name(parse_intervention(name)), name);
  }
  for (const char* name :
       {"", "Zero", "scale", "scale:", "scale:x", "scale:1x", "scale:nan", "scale:1e99", "halve"}) {
    EXPECT_THROW(parse_intervention(name), UsageError) << name;
  }
}

TEST(Intervention, SetsWhatItSays) {
  const at::Tensor values = at::arange(80, at::kFloat).view({2, 40});
  const std::vector<NeuronId> neurons = {{1, 5}};
  const auto change = [&](const char* name) {
    return changes_of(parse_intervention(name), neurons, values).at(0);
  };
  EXPECT_EQ(change("zero").factor, 0.0F);
  EXPECT_EQ(change("zero").summand, 0.0F);
  EXPECT_EQ(change("double").factor, 2.0F);
  EXPECT_EQ(change("scale:0.25").factor, 0.25F);
  EXPECT_TRUE(changes_of(parse_intervention("scale:1"), neurons, values).empty());
  EXPECT_EQ(change("mean").factor, 0.0F);
  EXPECT_EQ(change("mean").summand, 45.0F);
  EXPECT_EQ(change("resample").summand, 45.0F);
  EXPECT_THROW(changes_of(parse_intervention("mean"), neurons, {}), InternalError);
}

}  // namespace
}  // namespace engram
