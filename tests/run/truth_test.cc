// The audit's experiment "truth": its effects are those of neurons changed one by one.
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "engram/intervention/measure.h"
#include "experiments/truth/rows.h"
#include "prepared_run.h"
#include "statistics/correlation.h"

namespace engram::testing {
namespace {

using namespace experiments::truth;

std::vector<float> floats(const std::vector<std::byte>& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

TEST(Truth, EveryEffectIsThatOfTheNeuronAlone) {
  PreparedRun prepared(first_facts({"P36", "P19"}, 4), "truth");
  prepared.options.audit = AuditSample{8, 8};
  prepared.options.truth_facts = 1;
  for (const char* relation : {"P36", "P19"}) {
    run_all(make_experiment("screen"), prepared.context(), relation, /*keep=*/true);
  }
  prepared.locate();
  const auto all = run_all(make_experiment("truth"), prepared.context(), "", /*keep=*/true);
  std::vector<TruthRow> rows;
  for (const Row& row : rows_of(all, TruthRow::kTable)) rows.push_back(from_row<TruthRow>(row));
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].fact, rows[1].fact);
  EXPECT_NE(rows[0].prompt, rows[1].prompt);

  const Model& model = shipped().model;
  const int64_t width = model.config().d_ff;
  std::vector<Cloze> firsts;
  for (const int64_t id : prepared.facts.usable()) {
    firsts.push_back(prepared.facts.prepared(id).prompts.front());
  }
  const at::Tensor mean = mask_activations(model, firsts).mean(0);
  for (const TruthRow& row : rows) {
    const Cloze cloze =
        prepared.facts.prepared(row.fact).prompts.at(static_cast<size_t>(row.prompt));
    EXPECT_EQ(row.text, prepared.facts.fact(row.fact).prompts.at(static_cast<size_t>(row.prompt)));
    const std::vector<float> zero = floats(row.zero);
    const std::vector<float> at_mean = floats(row.mean);
    ASSERT_EQ(std::ssize(zero), model.config().layers * width);
    ASSERT_EQ(at_mean.size(), zero.size());
    ASSERT_EQ(row.activation.size(), row.zero.size());
    for (int64_t i = 3; i < std::ssize(zero); i += 401) {
      const NeuronId id{static_cast<int32_t>(i / width), static_cast<int32_t>(i % width)};
      const std::vector<NeuronChange> sets[] = {
          {{id}}, {{id, 0.0F, mean[id.layer][id.neuron].item<float>()}}};
      const Measured one = measure(model, {&cloze, 1}, sets, {{Trial{0, 0}, Trial{0, 1}}});
      EXPECT_NEAR(row.p, one.before[0].p, 1e-5);
      EXPECT_NEAR(zero[static_cast<size_t>(i)], one.before[0].p - one.after[0].p, 2e-6);
      EXPECT_NEAR(at_mean[static_cast<size_t>(i)], one.before[0].p - one.after[1].p, 2e-6);
    }
  }
  std::map<std::pair<int64_t, std::string>, TruthScoreRow> scores;
  for (const Row& row : rows_of(all, TruthScoreRow::kTable)) {
    auto one = from_row<TruthScoreRow>(row);
    const std::pair<int64_t, std::string> key{one.prompt, one.method};
    scores[key] = std::move(one);
  }
  EXPECT_EQ(scores.size(), 2 * kMethods.size() - 1);
  const TruthScoreRow& ceiling = scores.at({rows[1].prompt, std::string(kCeiling)});
  EXPECT_DOUBLE_EQ(ceiling.zero_correlation,
                   rank_correlation(floats(rows[0].zero), floats(rows[1].zero)));
  EXPECT_DOUBLE_EQ(ceiling.mean_top,
                   shared_largest(floats(rows[0].mean), floats(rows[1].mean), 10));
  const TruthScoreRow& activation = scores.at({rows[0].prompt, "activation"});
  EXPECT_NEAR(activation.zero_correlation,
              rank_correlation(floats(rows[0].activation), floats(rows[0].zero)), 1e-6);
  // One gradient is near what a single neuron does.
  EXPECT_GT(scores.at({rows[0].prompt, "gradient-x-activation"}).zero_correlation, 0.9);
}

}  // namespace
}  // namespace engram::testing
