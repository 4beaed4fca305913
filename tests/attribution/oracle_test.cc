// Our scores against plain PyTorch loops on transformers models: every rule and target, answers of
// several tokens, and the other scores; `riemann-left` against the paper's released procedure
// followed step by step. The loops ran in float64 (tools/oracle/attribution.py).
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "engram/attribution/attribution.h"
#include "support/oracle.h"

namespace engram {
namespace {

using testing::Oracle;
using testing::OracleAttribution;
using testing::OracleCase;
using testing::relative_error;

// Of the largest |score| of the (prompt, layer), and of the size of F.
constexpr double kTolerance = 2e-5;
// Of the size of F: what float32 leaves of the difference of two of its values in one batch.
constexpr double kRounding = 3e-6;
// The adaptive rule stops by an estimate of its error, not by the error.
constexpr double kEstimateSlack = 3;

Target target_of(const std::string& name) {
  for (const Target t : {Target::kProbability, Target::kLogProbability, Target::kLogitDifference}) {
    if (target_name(t) == name) return t;
  }
  throw std::runtime_error("unknown target " + name);
}

Cloze query_of(const OracleCase& c, Target target) {
  Cloze cloze;
  cloze.ids = c.ids;
  cloze.positions = c.positions;
  cloze.answer = c.answer;
  if (target == Target::kLogitDifference) cloze.contrast = c.contrast;
  return cloze;
}

AttributionOptions options_of(const OracleAttribution& run) {
  AttributionOptions options;
  options.score = parse_score(run.score);
  options.target = target_of(run.target);
  if (options.score == Score::kIntegratedGradients) {
    options.integration.rule = parse_rule(run.rule);
    options.integration.steps = run.steps;
  }
  options.threads = 1;
  return options;
}

std::string describe(const OracleAttribution& run) {
  return run.score + " " + run.rule + " " + std::to_string(run.steps) + " " + run.target +
         " case " + std::to_string(run.case_index);
}

void expect_same(const Attribution& got, const OracleAttribution& run, const OracleCase& c) {
  EXPECT_NEAR(got.p, c.p, 1e-4 * c.p);
  // Of real weights transformers' own float32 is as far off (tests/model/parity_test.cc).
  // Relevance amplifies what the activations are off by, where our exponential has 2e-7, erf 6e-8.
  const double tolerance = std::max({kTolerance, 4 * c.gradient_error, 8 * run.float32_error});
  ASSERT_TRUE(got.scores.sizes().equals(run.scores.sizes()));
  ASSERT_EQ(got.layers.size(), run.deltas.size());
  // Log-probabilities and logits are differences of numbers of this size themselves.
  double size = std::max(run.target == "prob" ? 0.0 : 4.0, std::abs(run.f));
  for (const double delta : run.deltas) size = std::max(size, std::abs(delta));
  EXPECT_NEAR(got.f, run.f, kTolerance * size);
  for (size_t layer = 0; layer < run.deltas.size(); ++layer) {
    SCOPED_TRACE("layer " + std::to_string(layer));
    const auto l = static_cast<int64_t>(layer);
    const double largest = run.scores[l].abs().max().item<double>();
    const double rounding = run.score == "ablation" ? kRounding * size : 0.0;
    EXPECT_LE(relative_error(got.scores[l], run.scores[l]), tolerance + rounding / largest);
    const LayerReport& report = got.layers[layer];
    EXPECT_NEAR(report.delta, run.deltas[layer], kTolerance * size);
    const double sum = run.scores[l].sum(at::kDouble).item<double>();
    const auto neurons = static_cast<double>(run.scores[l].numel());
    const double allowed = tolerance * run.scores[l].abs().sum().item<double>() +
                           rounding * neurons + kTolerance * size;
    EXPECT_NEAR(report.sum, sum, allowed);
    EXPECT_NEAR(report.gap, std::abs(sum - run.deltas[layer]), allowed);
  }
}

Attribution attribute_one(const Model& model, const Cloze& cloze,
                          const AttributionOptions& options) {
  std::vector<Attribution> results;
  attribute(model, {&cloze, 1}, options, [&](size_t index, Attribution&& attribution) {
    EXPECT_EQ(index, 0U);
    results.push_back(std::move(attribution));
  });
  if (results.size() != 1) throw std::runtime_error("the sink was not called once");
  return std::move(results.front());
}

void check_naive(const Oracle& oracle, const Model& model) {
  for (const OracleAttribution& run : oracle.attributions) {
    if (run.score == "relp") continue;  // has no plain path
    SCOPED_TRACE(describe(run));
    const OracleCase& c = oracle.cases[run.case_index];
    const AttributionOptions options = options_of(run);
    expect_same(attribute_naive(model, query_of(c, options.target), options), run, c);
  }
}

void check_fast(const Oracle& oracle, const Model& model) {
  for (const OracleAttribution& run : oracle.attributions) {
    SCOPED_TRACE(describe(run));
    const OracleCase& c = oracle.cases[run.case_index];
    const AttributionOptions options = options_of(run);
    expect_same(attribute_one(model, query_of(c, options.target), options), run, c);
  }
}

/// Without `steps` the default rule adapts, and its scores come close to 64 Gauss-Legendre nodes.
void check_default(const Oracle& oracle, const Model& model) {
  // A ReLU breaks the smoothness that lets 64 Gauss-Legendre nodes stand for the truth.
  if (model.config().activation == Activation::kRelu) return;
  for (const OracleAttribution& run : oracle.attributions) {
    if (run.rule != "gauss-legendre" || run.steps != 64) continue;
    SCOPED_TRACE(describe(run));
    const OracleCase& c = oracle.cases[run.case_index];
    AttributionOptions options;
    options.target = target_of(run.target);
    options.threads = 1;
    const Attribution got = attribute_one(model, query_of(c, options.target), options);
    const double largest = run.scores.abs().max().item<double>();
    for (size_t layer = 0; layer < run.deltas.size(); ++layer) {
      SCOPED_TRACE("layer " + std::to_string(layer));
      const auto l = static_cast<int64_t>(layer);
      EXPECT_TRUE(got.layers[layer].converged);
      EXPECT_NEAR(got.layers[layer].delta, run.deltas[layer], 2e-5 * std::max(1.0, largest));
      EXPECT_LE((got.scores[l] - run.scores[l]).abs().max().item<double>(),
                kEstimateSlack * options.integration.tolerance * largest);
    }
  }
}

class StoredAttribution : public ::testing::TestWithParam<std::string> {
 protected:
  // Barriers inside tiny products cost more than a second thread wins, most of all on a busy
  // machine.
  static void SetUpTestSuite() { at::set_num_threads(1); }
  const Oracle oracle = testing::read_oracle(testing::stored_oracle(GetParam()));
  const Model model = Model::load(oracle.folder);
};

TEST_P(StoredAttribution, NaivePathAgrees) { check_naive(oracle, model); }
TEST_P(StoredAttribution, FastPathAgrees) { check_fast(oracle, model); }
TEST_P(StoredAttribution, DefaultRuleReachesItsTolerance) { check_default(oracle, model); }

INSTANTIATE_TEST_SUITE_P(, StoredAttribution, ::testing::ValuesIn(testing::stored_oracles()),
                         testing::test_name);

TEST(LiveAttribution, EverythingOfEveryCheckpoint) {
  const auto folders = testing::live_oracles();
  if (folders.empty()) GTEST_SKIP() << "ENGRAM_ORACLE_DIR is unset (make oracle-check sets it)";
  for (const auto& folder : folders) {
    SCOPED_TRACE(folder.filename().string());
    const Oracle oracle = testing::read_oracle(folder);
    const Model model = Model::load(folder);
    check_naive(oracle, model);
    check_fast(oracle, model);
    check_default(oracle, model);
  }
}

}  // namespace
}  // namespace engram
