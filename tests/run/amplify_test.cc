// The audit's experiment "amplify": pushes of the length that doubling has.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engram/sources.h"
#include "experiments/amplify/rows.h"
#include "prepared_run.h"
#include "run/sets.h"

namespace engram::testing {
namespace {

using namespace experiments::amplify;

std::map<std::pair<int64_t, std::string>, PushRow> pushes(PreparedRun& prepared,
                                                          const RunContext& context) {
  std::map<std::pair<int64_t, std::string>, PushRow> rows;
  for (const std::string& relation : prepared.facts.relations()) {
    const auto all = run_all(make_experiment("amplify"), context, relation);
    for (const Row& row : rows_of(all, PushRow::kTable)) {
      const auto one = from_row<PushRow>(row);
      rows[{one.fact, one.source}] = one;
    }
  }
  return rows;
}

class Amplify : public ::testing::Test {
 protected:
  struct Made {
    Made() : prepared(first_facts({"P36", "P19"}, 5), "amplify") {
      prepared.locate({0});  // fact 0 has no neurons
      rows = pushes(prepared, prepared.context());
    }
    PreparedRun prepared;
    std::map<std::pair<int64_t, std::string>, PushRow> rows;
  };
  static void SetUpTestSuite() { made_ = std::make_unique<Made>(); }
  static void TearDownTestSuite() { made_.reset(); }
  static std::unique_ptr<Made> made_;

  static double change(const Cloze& cloze, const std::vector<NeuronChange>& push) {
    const Measured one = measure(shipped().model, {&cloze, 1}, {&push, 1}, {{Trial{0, 0}}});
    return one.after[0].log_odds - one.before[0].log_odds;
  }
  /// Length of sum by_i v_i, added up coordinate by coordinate.
  static double length(int64_t layer, const std::map<int32_t, double>& by) {
    const at::Tensor values =
        shipped().model.weights().layers[static_cast<size_t>(layer)].ffn_out_weight.contiguous();
    const auto v = values.accessor<float, 2>();
    double squares = 0;
    for (int64_t d = 0; d < values.size(0); ++d) {
      double sum = 0;
      for (const auto& [neuron, much] : by) sum += much * static_cast<double>(v[d][neuron]);
      squares += sum * sum;
    }
    return std::sqrt(squares);
  }
};
std::unique_ptr<Amplify::Made> Amplify::made_;

TEST_F(Amplify, LocatedNeuronsAreDoubled) {
  for (const int64_t id : made_->prepared.facts.usable()) {
    const PushRow& row = made_->rows.at({id, "ig"});
    std::vector<NeuronChange> twice;
    for (const NeuronId neuron : stored_neurons(*made_->prepared.store, sources::kIg, id)) {
      twice.push_back({neuron, 2.0F, 0.0F});
    }
    EXPECT_EQ(row.neurons, static_cast<int64_t>(twice.size()));
    EXPECT_EQ(twice.empty(), id == 0);
    double sum = 0;
    const std::vector<Cloze> held_out = made_->prepared.facts.prepared(id).held_out;
    for (const Cloze& cloze : held_out) sum += change(cloze, twice);
    EXPECT_EQ(row.prompts, static_cast<int64_t>(held_out.size()));
    expect_close(row.change_log_odds, sum);
  }
}

TEST_F(Amplify, TheGradientsPushIsAsLong) {
  for (const int64_t id : made_->prepared.facts.usable()) {
    if (id == 0) continue;
    const PreparedFact fact = made_->prepared.facts.prepared(id);
    const std::vector<int64_t> group(fact.prompts.size(), 0);
    const at::Tensor gradient =
        activation_profiles(shipped().model, fact.prompts, group, 1).gradient.select(0, 0);
    const auto g = gradient.accessor<float, 2>();
    double sum = 0;
    double lengths = 0;
    for (const Cloze& cloze : fact.held_out) {
      const at::Tensor all = mask_activations(shipped().model, {&cloze, 1}).select(0, 0);
      const auto a = all.accessor<float, 2>();
      std::map<int64_t, std::map<int32_t, double>> located;
      for (const NeuronId neuron : stored_neurons(*made_->prepared.store, sources::kIg, id)) {
        located[neuron.layer][neuron.neuron] = a[neuron.layer][neuron.neuron];
      }
      std::vector<NeuronChange> push;
      double squares = 0;
      for (const auto& [layer, own] : located) {
        std::vector<std::pair<float, int32_t>> order;
        for (int32_t i = 0; i < gradient.size(1); ++i)
          order.emplace_back(-std::abs(g[layer][i]), i);
        std::ranges::sort(order);
        std::map<int32_t, double> along;
        for (size_t i = 0; i < own.size(); ++i) {
          along[order[i].second] = g[layer][order[i].second] < 0 ? -1 : 1;
        }
        const double wanted = length(layer, own);
        const double factor = wanted / length(layer, along);
        for (const auto& [neuron, sign] : along) {
          push.push_back(
              {{static_cast<int32_t>(layer), neuron}, 1.0F, static_cast<float>(factor * sign)});
        }
        squares += wanted * wanted;
      }
      lengths += std::sqrt(squares);
      sum += change(cloze, push);
    }
    const PushRow& row = made_->rows.at({id, std::string(kGradient)});
    expect_close(row.change_log_odds, sum);
    expect_close(row.length, lengths / static_cast<double>(fact.held_out.size()));
    EXPECT_EQ(row.length, made_->rows.at({id, std::string(sources::kRandomGradient)}).length);
    EXPECT_GT(row.change_log_odds, 0);  // uphill
  }
}

TEST_F(Amplify, NothingIsPushedWhereNothingWasLocated) {
  for (const std::string_view push : kPushes) {
    const PushRow& row = made_->rows.at({0, std::string(push)});
    EXPECT_EQ(row.neurons, 0);
    EXPECT_EQ(row.change_log_odds, 0);
    EXPECT_EQ(row.length, 0);
  }
}

TEST_F(Amplify, DoesNotDependOnThreadsOrParts) {
  RunContext context = made_->prepared.context({3, 0});
  context.part_flops = 1e9;  // many parts
  const auto other = pushes(made_->prepared, context);
  ASSERT_EQ(other.size(), made_->rows.size());
  for (const auto& [key, row] : other) {
    expect_close(row.change_log_odds, made_->rows.at(key).change_log_odds);
    EXPECT_NEAR(row.top_after, made_->rows.at(key).top_after, 1e-9);
  }
}

}  // namespace
}  // namespace engram::testing
