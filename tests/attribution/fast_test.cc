// The fast path against the plain one, and the properties that do not depend on the model.
#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <mutex>
#include <set>
#include <thread>

#include "attribution/quadrature.h"
#include "attribution/small_models.h"
#include "engram/attribution/attribution.h"
#include "engram/base/interrupt.h"
#include "engram/error.h"
#include "engram/model/model.h"
#include "engram/model/tensor_table.h"
#include "support/fake_device.h"

namespace engram {
namespace {

using testing::attributions;
using testing::random_clozes;
using testing::random_model;
using testing::small_config;

/// Largest difference of scores over the largest |score| of the (prompt, layer). `rounding` is an
/// absolute difference that says nothing: scores that are differences of F carry its rounding.
double distance(const Attribution& a, const Attribution& b, double rounding = 0) {
  double worst = 0;
  for (int64_t layer = 0; layer < a.scores.size(0); ++layer) {
    const at::Tensor x = a.scores.select(0, layer);
    const at::Tensor y = b.scores.select(0, layer);
    const double largest = std::max(x.abs().max().item<double>(), 1e-30);
    const double difference = (x - y).abs().max().item<double>();
    worst = std::max(worst, std::max(difference - rounding, 0.0) / largest);
  }
  return worst;
}

struct Case {
  const char* name;
  AttributionOptions options;
  int64_t masks = 1;
  Activation activation = Activation::kGelu;
};

AttributionOptions with(Rule rule, int64_t steps, Target target = Target::kProbability) {
  AttributionOptions options;
  options.integration.rule = rule;
  options.integration.steps = steps;
  options.target = target;
  options.threads = 2;
  return options;
}
/// Neurons are set to values that differ from one to the next.
AttributionOptions ablated_to_values() {
  AttributionOptions options;
  options.score = Score::kAblation;
  options.threads = 2;
  const ModelConfig config = small_config(Activation::kGelu);
  options.ablate_to = at::linspace(-1, 2, config.layers * config.d_ff, at::kFloat)
                          .view({config.layers, config.d_ff});
  return options;
}
AttributionOptions scored(Score score) {
  AttributionOptions options;
  options.score = score;
  options.threads = 2;
  return options;
}

class FastEqualsNaive : public ::testing::TestWithParam<Case> {};

TEST_P(FastEqualsNaive, OnRandomModels) {
  const Case& one = GetParam();
  const Model model = random_model(small_config(one.activation), 1);
  std::vector<Cloze> clozes = random_clozes(model.config(), 4, 2, one.masks);
  if (one.options.target == Target::kLogitDifference) {
    for (Cloze& cloze : clozes) cloze.contrast = {5};
  }
  const std::vector<Attribution> fast = attributions(model, clozes, one.options);
  for (size_t i = 0; i < clozes.size(); ++i) {
    const Attribution plain = attribute_naive(model, clozes[i], one.options);
    // An ablation's score is a difference of two values of F, and carries their rounding: that of
    // log P, about -5 in float32, with logits summed in an order that differs between compilers
    // (up to 3.3e-6 of F was seen).
    const bool ablation = one.options.score == Score::kAblation;
    const double rounding = ablation ? 5e-6 * std::fabs(plain.f) : 0.0;
    EXPECT_LT(distance(plain, fast[i], rounding), ablation ? 2e-5 : 1e-5)
        << one.name << " cloze " << i;
    EXPECT_NEAR(fast[i].p, plain.p, 1e-5 * plain.p);
    for (size_t layer = 0; layer < plain.layers.size(); ++layer) {
      const double scale = std::max(std::fabs(plain.f), std::fabs(plain.layers[layer].delta));
      EXPECT_NEAR(fast[i].layers[layer].delta, plain.layers[layer].delta, 1e-5 * scale);
      if (one.options.score == Score::kIntegratedGradients) {
        EXPECT_EQ(fast[i].layers[layer].nodes, plain.layers[layer].nodes);
      }
    }
    EXPECT_LT((fast[i].activations - plain.activations).abs().max().item<double>(), 2e-5);
  }
}

TEST_P(FastEqualsNaive, OnAnotherDevice) {
  const Case& one = GetParam();
  const ModelConfig config = small_config(one.activation);
  std::vector<Cloze> clozes = random_clozes(config, 4, 2, one.masks);
  if (one.options.target == Target::kLogitDifference) {
    for (Cloze& cloze : clozes) cloze.contrast = {5};
  }
  const std::vector<Attribution> here = attributions(random_model(config, 1), clozes, one.options);
  const std::vector<Attribution> there =
      attributions(random_model(config, 1, testing::fake_device()), clozes, one.options);
  const bool ablation = one.options.score == Score::kAblation;
  for (size_t i = 0; i < clozes.size(); ++i) {
    const double rounding = ablation ? 5e-6 * std::fabs(here[i].f) : 0.0;
    EXPECT_LT(distance(here[i], there[i], rounding), ablation ? 2e-5 : 1e-5) << one.name;
    EXPECT_NEAR(there[i].p, here[i].p, 1e-5 * here[i].p);
    EXPECT_LT((there[i].activations - here[i].activations).abs().max().item<double>(), 2e-5);
  }
}

TEST(Attribute, RelevanceOnAnotherDevice) {
  for (const Activation activation : {Activation::kGelu, Activation::kRelu, Activation::kSilu}) {
    const ModelConfig config = small_config(activation);
    const std::vector<Cloze> clozes = random_clozes(config, 6, 2);
    AttributionOptions options;
    options.score = Score::kRelevance;
    const std::vector<Attribution> here = attributions(random_model(config, 1), clozes, options);
    const std::vector<Attribution> there =
        attributions(random_model(config, 1, testing::fake_device()), clozes, options);
    for (size_t i = 0; i < clozes.size(); ++i) EXPECT_LT(distance(here[i], there[i]), 1e-5);
  }
}

TEST(Attribute, WithoutTheGapScoresAreTheSame) {
  const Model model = random_model(small_config(Activation::kGelu), 3);
  const std::vector<Cloze> clozes = random_clozes(model.config(), 5, 4);
  for (const ScoreMethod& method : score_methods()) {
    if (method.integrates) continue;
    AttributionOptions options;
    options.score = method.score;
    const std::vector<Attribution> whole = attributions(model, clozes, options);
    options.gap = false;
    const std::vector<Attribution> brief = attributions(model, clozes, options);
    for (size_t i = 0; i < clozes.size(); ++i) {
      EXPECT_TRUE(brief[i].scores.equal(whole[i].scores));
      EXPECT_FALSE(std::isnan(whole[i].layers.front().gap));
      EXPECT_TRUE(std::isnan(brief[i].layers.front().gap));
    }
  }
}

TEST(Attribute, DefaultRuleOnAnotherDevice) {
  const ModelConfig config = small_config(Activation::kGelu, 6);
  const std::vector<Cloze> clozes = random_clozes(config, 8, 2);
  const AttributionOptions adaptive;
  const std::vector<Attribution> here = attributions(random_model(config, 1), clozes, adaptive);
  const std::vector<Attribution> there =
      attributions(random_model(config, 1, testing::fake_device()), clozes, adaptive);
  for (size_t i = 0; i < clozes.size(); ++i) {
    const double largest = here[i].scores.abs().max().item<double>();
    // Rounding decides where the nodes are nearly enough, so both are only within the tolerance.
    EXPECT_LT((here[i].scores - there[i].scores).abs().max().item<double>(),
              2 * adaptive.integration.tolerance * largest);
    for (const LayerReport& layer : there[i].layers) EXPECT_TRUE(layer.converged);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Rules, FastEqualsNaive,
    ::testing::Values(Case{"control variate 1", with(Rule::kControlVariate, 1)},
                      Case{"control variate 3", with(Rule::kControlVariate, 3)},
                      Case{"control variate 14", with(Rule::kControlVariate, 14)},
                      Case{"gauss-legendre", with(Rule::kGaussLegendre, 3)},
                      Case{"gauss-radau", with(Rule::kGaussRadau, 3)},
                      Case{"gauss-lobatto", with(Rule::kGaussLobatto, 4)},
                      Case{"riemann-left", with(Rule::kRiemannLeft, 20)},
                      Case{"riemann-right", with(Rule::kRiemannRight, 5)},
                      Case{"trapezoid", with(Rule::kTrapezoid, 5)},
                      Case{"linspace", with(Rule::kLinspace, 6)},
                      Case{"log P", with(Rule::kGaussLegendre, 3, Target::kLogProbability)},
                      Case{"logit", with(Rule::kGaussLegendre, 3, Target::kLogitDifference)},
                      Case{"two masks", with(Rule::kGaussLegendre, 3), 2},
                      Case{"two masks on the arc", with(Rule::kControlVariate, 2), 2},
                      Case{"tanh", with(Rule::kControlVariate, 2), 1, Activation::kGeluTanh},
                      Case{"silu", with(Rule::kControlVariate, 2), 1, Activation::kSilu},
                      Case{"relu", with(Rule::kGaussLegendre, 2), 1, Activation::kRelu},
                      Case{"activation", scored(Score::kActivation)},
                      Case{"activation x value norm", scored(Score::kActivationNorm)},
                      Case{"value norm", scored(Score::kValueNorm)},
                      Case{"gradient x activation", scored(Score::kGradientXActivation)},
                      Case{"ablation", scored(Score::kAblation)},
                      Case{"ablation of two masks", scored(Score::kAblation), 2},
                      Case{"ablation to values", ablated_to_values(), 2}));

TEST(Attribute, DoesNotDependOnBatchesOrderOrThreads) {
  const Model model = random_model(small_config(Activation::kGelu), 3);
  const std::vector<Cloze> clozes = random_clozes(model.config(), 40, 4);
  AttributionOptions options;
  options.threads = 1;
  const std::vector<Attribution> whole = attributions(model, clozes, options);

  options.threads = 3;
  options.memory_bytes = 3 << 20;  // small chunks
  std::vector<Cloze> reversed(clozes.rbegin(), clozes.rend());
  const std::vector<Attribution> other = attributions(model, reversed, options);
  for (size_t i = 0; i < clozes.size(); ++i) {
    EXPECT_LT(distance(whole[i], other[clozes.size() - 1 - i]), 1e-5) << i;
  }
}

TEST(Attribute, IsBitIdenticalWhenRepeated) {
  const Model model = random_model(small_config(Activation::kGelu), 3);
  const std::vector<Cloze> clozes = random_clozes(model.config(), 12, 5);
  AttributionOptions options;
  options.threads = 2;
  const std::vector<Attribution> first = attributions(model, clozes, options);
  const std::vector<Attribution> second = attributions(model, clozes, options);
  for (size_t i = 0; i < clozes.size(); ++i) {
    EXPECT_TRUE(at::equal(first[i].scores, second[i].scores));
  }
}

TEST(Attribute, RefusesValuesToAblateToThatDoNotFit) {
  const Model model = random_model(small_config(Activation::kGelu), 1);
  const std::vector<Cloze> clozes = random_clozes(model.config(), 1, 2, 1);
  AttributionOptions options = ablated_to_values();
  options.ablate_to = options.ablate_to.t();
  EXPECT_THROW(attributions(model, clozes, options), UsageError);
  options.ablate_to = ablated_to_values().ablate_to.to(at::kDouble);
  EXPECT_THROW(attributions(model, clozes, options), UsageError);
  options = ablated_to_values();
  options.score = Score::kActivation;
  EXPECT_THROW(attributions(model, clozes, options), UsageError);
}

TEST(Attribute, AblationOfOnePromptIsTheSameForAnyNumberOfWorkers) {
  const Model model = random_model(small_config(Activation::kGelu), 3);
  AttributionOptions options = scored(Score::kAblation);
  for (const int64_t masks : {1, 2}) {
    const std::vector<Cloze> one = random_clozes(model.config(), 1, 9, masks);
    options.threads = 1;
    options.memory_bytes = 1 << 20;  // several parts a layer
    const std::vector<Attribution> alone = attributions(model, one, options);
    options.threads = 4;
    options.memory_bytes = 4 << 20;  // the same share a worker
    std::atomic<int64_t> done = 0;
    options.on_ablated = [&](int64_t neurons) { done += neurons; };
    const std::vector<Attribution> shared = attributions(model, one, options);
    EXPECT_TRUE(at::equal(alone[0].scores, shared[0].scores));
    EXPECT_EQ(done, model.config().neurons());
    options.on_ablated = nullptr;
  }
}

TEST(Attribute, DefaultRuleClosesTheGapAndAgreesWithManyNodes) {
  const Model model = random_model(small_config(Activation::kGelu, 6), 6);
  const std::vector<Cloze> clozes = random_clozes(model.config(), 12, 7);
  const AttributionOptions adaptive;
  const std::vector<Attribution> results = attributions(model, clozes, adaptive);
  const std::vector<Attribution> truth =
      attributions(model, clozes, with(Rule::kGaussLegendre, 64));
  for (size_t i = 0; i < clozes.size(); ++i) {
    const double largest = truth[i].scores.abs().max().item<double>();
    const double error = (results[i].scores - truth[i].scores).abs().max().item<double>();
    EXPECT_LT(error, adaptive.integration.tolerance * largest);
    for (const LayerReport& layer : results[i].layers) {
      EXPECT_TRUE(layer.converged);
      EXPECT_LE(layer.gap, adaptive.integration.tolerance *
                               std::max(std::fabs(layer.delta), 1e-3 * results[i].p));
      EXPECT_GE(layer.nodes, 1);
      EXPECT_LE(layer.nodes, adaptive.integration.max_steps);
    }
  }
}

TEST(Attribute, InterpolatedSumsAreThoseOfTheSteps) {
  const Model model = random_model(small_config(Activation::kGelu, 6), 6);
  for (const int64_t masks : {1, 2}) {
    const std::vector<Cloze> clozes = random_clozes(model.config(), 8, 7, masks);
    for (const Rule rule :
         {Rule::kRiemannLeft, Rule::kRiemannRight, Rule::kTrapezoid, Rule::kLinspace}) {
      AttributionOptions options = with(rule, 20);
      const std::vector<Attribution> steps = attributions(model, clozes, options);
      options.integration.interpolate = true;
      options.integration.tolerance = 1e-3;
      const std::vector<Attribution> sums = attributions(model, clozes, options);
      const std::vector<Attribution> exact = attributions(model, clozes, AttributionOptions());
      double far = 0;
      for (size_t i = 0; i < clozes.size(); ++i) {
        const double largest = steps[i].scores.abs().max().item<double>();
        const auto error = [&](const Attribution& of) {
          return (of.scores - steps[i].scores).abs().max().item<double>() / largest;
        };
        EXPECT_LT(error(sums[i]), 1e-3) << rule_name(rule);
        far = std::max(far, error(exact[i]));
        for (size_t layer = 0; layer < sums[i].layers.size(); ++layer) {
          const LayerReport& report = sums[i].layers[layer];
          EXPECT_TRUE(report.converged);
          EXPECT_NEAR(report.gap, std::abs(report.sum - report.delta), 1e-6);
        }
      }
      // The sum is another number than the integral, but for the best of these rules.
      if (rule != Rule::kTrapezoid) {
        EXPECT_GT(far, 1e-3) << rule_name(rule);
      }
    }
  }
  AttributionOptions adaptive;
  adaptive.integration.interpolate = true;
  EXPECT_THROW(attributions(model, random_clozes(model.config(), 1, 7), adaptive), UsageError);
}

TEST(Attribute, MaxStepsCapsAndSaysSo) {
  const Model model = random_model(small_config(Activation::kGelu, 6), 6);
  const std::vector<Cloze> clozes = random_clozes(model.config(), 6, 7);
  AttributionOptions options;
  options.integration.max_steps = 1;
  options.integration.tolerance = 1e-7;
  bool some_open = false;
  for (const Attribution& result : attributions(model, clozes, options)) {
    for (const LayerReport& layer : result.layers) {
      EXPECT_LE(layer.nodes, 1);
      some_open = some_open || !layer.converged;
    }
  }
  EXPECT_TRUE(some_open);
}

TEST(Attribute, EveryRuleConvergesToTheSameIntegral) {
  const Model model = random_model(small_config(Activation::kGelu), 8);
  const std::vector<Cloze> clozes = random_clozes(model.config(), 2, 9);
  const std::vector<Attribution> truth =
      attributions(model, clozes, with(Rule::kGaussLegendre, 48));
  double previous = 10;
  for (const int64_t steps : {20, 40, 80}) {  // first order: the error halves
    const double error =
        distance(truth[0], attributions(model, clozes, with(Rule::kRiemannLeft, steps))[0]);
    EXPECT_LT(error, 0.6 * previous);
    previous = error;
  }
  for (const Rule rule : {Rule::kGaussRadau, Rule::kGaussLobatto, Rule::kControlVariate}) {
    EXPECT_LT(distance(truth[0], attributions(model, clozes, with(rule, 24))[0]), 1e-4)
        << rule_name(rule);
  }
  EXPECT_LT(distance(truth[0], attributions(model, clozes, with(Rule::kTrapezoid, 200))[0]), 1e-3);
}

TEST(Attribute, RefusesWhatDoesNotFit) {
  const Model model = random_model(small_config(Activation::kGelu), 3);
  const auto sink = [](size_t, Attribution&&) {};
  std::vector<Cloze> clozes = random_clozes(model.config(), 1, 4);
  clozes[0].answer = {model.config().vocabulary};
  EXPECT_THROW(attribute(model, clozes, {}, sink), InputError);
  clozes = random_clozes(model.config(), 1, 4);
  clozes[0].ids.assign(41, 1);
  EXPECT_THROW(attribute(model, clozes, {}, sink), InputError);
  clozes = random_clozes(model.config(), 1, 4);
  clozes[0].positions = {-1};
  EXPECT_THROW(attribute(model, clozes, {}, sink), InputError);
  clozes = random_clozes(model.config(), 1, 4);
  EXPECT_THROW(attribute(model, clozes, with(Rule::kGaussLegendre, 0), sink), UsageError);
  EXPECT_THROW(attribute(model, clozes, with(Rule::kGaussLegendre, 10001), sink), UsageError);
  EXPECT_THROW(attribute(model, clozes, with(Rule::kGaussLobatto, 1), sink), UsageError);
  EXPECT_THROW(
      attribute(model, clozes, with(Rule::kGaussLegendre, 2, Target::kLogitDifference), sink),
      InputError);
}

TEST(Attribute, StopsWhenInterrupted) {
  const Model model = random_model(small_config(Activation::kGelu), 3);
  const std::vector<Cloze> clozes = random_clozes(model.config(), 40, 4);
  AttributionOptions options;
  options.memory_bytes = 1 << 20;
  size_t answered = 0;
  Interrupt::clear();
  EXPECT_THROW(attribute(model, clozes, options,
                         [&](size_t, Attribution&&) {
                           ++answered;
                           Interrupt::request();
                         }),
               Interrupted);
  Interrupt::clear();
  EXPECT_LT(answered, clozes.size());
}

class QuadratureRule : public ::testing::TestWithParam<std::tuple<Rule, int64_t>> {};

TEST_P(QuadratureRule, IntegratesPolynomialsUpToItsDegree) {
  const auto [rule, n] = GetParam();
  const Quadrature q = quadrature(rule, n);
  int64_t degree = 0;
  switch (rule) {
    case Rule::kControlVariate:  // n + 1 of Gauss-Lobatto's
    case Rule::kGaussLegendre:
      degree = 2 * n - 1;
      break;
    case Rule::kGaussRadau:
      degree = 2 * n - 2;
      break;
    case Rule::kGaussLobatto:
      degree = 2 * n - 3;
      break;
    case Rule::kTrapezoid:
      degree = 1;
      break;
    default:
      degree = 0;
      break;
  }
  for (int64_t power = 0; power <= std::min<int64_t>(degree, 60); ++power) {
    double sum = 0;
    for (size_t i = 0; i < q.nodes.size(); ++i) {
      sum += q.weights[i] * std::pow(q.nodes[i], static_cast<double>(power));
    }
    EXPECT_NEAR(sum, 1.0 / static_cast<double>(power + 1), 1e-12) << "power " << power;
  }
  EXPECT_TRUE(std::is_sorted(q.nodes.begin(), q.nodes.end()));
  EXPECT_GE(q.nodes.front(), 0);
  EXPECT_LE(q.nodes.back(), 1);
}

INSTANTIATE_TEST_SUITE_P(
    All, QuadratureRule,
    ::testing::Combine(::testing::Values(Rule::kControlVariate, Rule::kGaussLegendre,
                                         Rule::kGaussRadau, Rule::kGaussLobatto, Rule::kRiemannLeft,
                                         Rule::kRiemannRight, Rule::kTrapezoid, Rule::kLinspace),
                       ::testing::Values<int64_t>(2, 3, 5, 8, 20, 64, 1000)));

/// How many threads hand results on: each one's first result waits until the others have theirs.
size_t threads_that_attribute(int64_t memory_bytes) {
  const Model model = random_model(small_config(Activation::kGelu), 5);
  AttributionOptions options;
  options.bitwise = true;
  options.threads = 4;
  options.memory_bytes = memory_bytes;
  EXPECT_LE(attribution_workers(model, options), 4);
  std::set<std::thread::id> seen;
  // Far more chunks than workers, and a sink slow enough that every worker gets to one.
  attribute(model, random_clozes(model.config(), 400, 6), options, [&](size_t, Attribution&&) {
    seen.insert(std::this_thread::get_id());
    if (seen.size() < 4) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  });
  return seen.size();
}

TEST(Memory, BoundsTheWorkersWhereItMayNotChangeTheBatches) {
  EXPECT_EQ(threads_that_attribute(0), 4U);
  EXPECT_EQ(threads_that_attribute(int64_t{600} << 20), 2U);
  EXPECT_EQ(threads_that_attribute(int64_t{1} << 20), 1U);
}

}  // namespace
}  // namespace engram
