#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "engram/attribution/attribution.h"
#include "engram/model/interventions.h"
#include "experiments/sizes/rows.h"
#include "prepared_run.h"

namespace engram::testing {
namespace {

constexpr int64_t kBatchBytes = int64_t{1} << 30;  // cuts batches, as in a run of the program

using experiments::sizes::Effect;
using experiments::sizes::Ranked;

template <typename R>
std::vector<R> structs_of(const std::vector<TableRows>& all) {
  std::vector<R> structs;
  for (const Row& row : rows_of(all, R::kTable)) structs.push_back(from_row<R>(row));
  return structs;
}

class Sizes : public ::testing::Test {
 protected:
  Sizes() : prepared_(first_facts({"P106", "P19"}, 5), "sizes") {
    prepared_.options.size_facts = 3;
    prepared_.options.locate.attribution.bitwise = true;
    prepared_.locate();
    all_ = run_all(make_experiment("sizes"), prepared_.context({1, 0, kBatchBytes}), "P106",
                   /*keep=*/true);
    for (const Ranked& row : structs_of<Ranked>(all_)) {
      EXPECT_EQ(row.place, static_cast<int64_t>(ranks_[row.fact].size()));
      ranks_[row.fact].push_back(
          {static_cast<int32_t>(row.layer), static_cast<int32_t>(row.neuron)});
    }
  }

  PreparedRun prepared_;
  std::vector<TableRows> all_;
  std::map<int64_t, std::vector<NeuronId>> ranks_;
};

TEST_F(Sizes, RanksAreThoseOfTheMeanScore) {
  ASSERT_EQ(ranks_.size(), 3U);
  for (const auto& [id, ranks] : ranks_) {
    const std::vector<Cloze> prompts = prepared_.facts.prepared(id).prompts;
    at::Tensor mean = at::zeros({shipped().model.config().layers, shipped().model.config().d_ff});
    attribute(shipped().model, prompts, prepared_.options.locate.attribution,
              [&](size_t, Attribution&& one) { mean += one.scores; });
    mean /= static_cast<double>(prompts.size());
    ASSERT_EQ(static_cast<int64_t>(ranks.size()), 2 * experiments::sizes::kLargest);
    EXPECT_EQ(std::set<NeuronId>(ranks.begin(), ranks.end()).size(), ranks.size());
    const auto score = [&](NeuronId neuron) {
      return mean[neuron.layer][neuron.neuron].item<float>();
    };
    const float largest = mean.max().item<float>();
    EXPECT_NEAR(score(ranks.front()), largest, 1e-5F * largest);
    const at::Tensor sorted = std::get<0>(mean.flatten().sort(0, /*descending=*/true));
    EXPECT_NEAR(score(ranks.back()), sorted[2 * experiments::sizes::kLargest - 1].item<float>(),
                1e-5F * largest);
  }
}

TEST_F(Sizes, EffectsAreThoseOfAPlainForward) {
  std::set<std::tuple<int64_t, std::string, int64_t>> seen;
  const std::set<int64_t> looked_at = {1, 8, 200};
  for (const Effect& row : structs_of<Effect>(all_)) {
    EXPECT_TRUE(seen.emplace(row.fact, row.order, row.k).second);
    if (!looked_at.contains(row.k) || row.order == experiments::sizes::kOtherFact) continue;
    std::vector<ActivationChange> changes;
    const std::vector<NeuronId>& ranks = ranks_.at(row.fact);
    const int64_t from = row.order == experiments::sizes::kNextOnes ? row.k : 0;
    const std::vector<Cloze> prompts = prepared_.facts.prepared(row.fact).held_out;
    double change = 0;
    int64_t top = 0;
    for (const Cloze& cloze : prompts) {
      changes.clear();
      for (int64_t i = from; i < from + row.k; ++i) {
        const NeuronId neuron = ranks[static_cast<size_t>(i)];
        changes.push_back({neuron.layer, neuron.neuron, ActivationChange::kEveryPrompt,
                           cloze.positions.front(), ActivationChange::Kind::kSet, 0.0});
      }
      InterventionHook hook(changes, shipped().model.config().layers,
                            shipped().model.config().d_ff);
      const c10::InferenceMode guard;
      const at::Tensor logits = shipped()
                                    .model
                                    .logits_at(at::tensor(cloze.ids, at::kLong).unsqueeze(0),
                                               at::tensor(cloze.positions, at::kLong), &hook)[0]
                                    .to(at::kDouble);
      const double p = logits.softmax(0)[cloze.answer.front()].item<double>();
      change += p - plain_answer(shipped().model, cloze, cloze.answer.front()).p;
      top += logits.argmax().item<int64_t>() == cloze.answer.front() ? 1 : 0;
    }
    EXPECT_EQ(row.prompts, static_cast<int64_t>(prompts.size()));
    EXPECT_NEAR(row.change_p, change, 1e-4);
    EXPECT_EQ(row.top_after, top);
  }
  EXPECT_EQ(seen.size() % experiments::sizes::kSizes.size(), 0U);
  EXPECT_GE(seen.size(), size_t{6} * experiments::sizes::kSizes.size());
}

TEST_F(Sizes, DoNotDependOnThreadsOrOrder) {
  const auto again = make_experiment("sizes");
  const RunContext run = prepared_.context({3, int64_t{1} << 30, kBatchBytes});
  for (int64_t part = again->parts(run, "P106"); part-- > 0;) {
    for (const TableRows& rows : again->run(run, "P106", part)) {
      for (const Row& row : rows.rows) {
        bool found = false;
        for (const TableRows& first : all_) {
          found = found || (first.table == rows.table &&
                            std::ranges::find(first.rows, row) != first.rows.end());
        }
        EXPECT_TRUE(found) << rows.table;
      }
    }
  }
}

}  // namespace
}  // namespace engram::testing
