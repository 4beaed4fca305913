// The audit's experiment "methods": what its searches find is what plain trials say.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engram/attribution/scorer.h"
#include "engram/intervention/intervention.h"
#include "engram/neurons/matched.h"
#include "experiments/methods/rows.h"
#include "experiments/screen/groups.h"
#include "prepared_run.h"

namespace engram::testing {
namespace {

using namespace experiments::methods;

class Methods : public ::testing::Test {
 protected:
  struct Made {
    Made() : prepared(first_facts({"P36"}, 6), "methods") {
      prepared.options.audit = AuditSample{6, 6};
      run_all(make_experiment("screen"), prepared.context(), "P36", /*keep=*/true);
      prepared.locate();
      all = run_all(make_experiment("methods"), prepared.context(), "P36");
      for (const Row& row : rows_of(all, MethodRow::kTable)) {
        const auto one = from_row<MethodRow>(row);
        effects[{one.fact, one.method, one.held_out}] = one;
      }
      for (const Row& row : rows_of(all, MethodNeuronRow::kTable)) {
        const auto one = from_row<MethodNeuronRow>(row);
        sets[{one.fact, one.method}].push_back(
            {static_cast<int32_t>(one.layer), static_cast<int32_t>(one.neuron)});
      }
      for (const auto& one : sets) {
        if (facts.empty() || facts.back() != one.first.first) facts.push_back(one.first.first);
      }
    }
    PreparedRun prepared;
    std::vector<TableRows> all;
    std::map<std::tuple<int64_t, std::string, bool>, MethodRow> effects;
    std::map<std::pair<int64_t, std::string>, std::vector<NeuronId>> sets;
    std::vector<int64_t> facts;
  };
  static void SetUpTestSuite() { made_ = std::make_unique<Made>(); }
  static void TearDownTestSuite() { made_.reset(); }

  /// Sum over the prompts of the change of the log-odds, prompt by prompt.
  static double change(const std::vector<Cloze>& prompts, const std::vector<NeuronId>& set) {
    const std::vector<NeuronChange> zero = changes_of({}, set, {});
    double sum = 0;
    for (const Cloze& cloze : prompts) {
      const Measured one = measure(shipped().model, {&cloze, 1}, {&zero, 1}, {{Trial{0, 0}}});
      sum += one.after[0].log_odds - one.before[0].log_odds;
    }
    return sum;
  }
  static std::unique_ptr<Made> made_;
  const Made& made() const { return *made_; }
};
std::unique_ptr<Methods::Made> Methods::made_;

TEST_F(Methods, TakeEverySecondKnownFact) {
  int64_t known = 0;
  for (const auto& [id, group] : experiments::screen::fact_groups(*made().prepared.store)) {
    known += group == FactGroup::kKnown ? 1 : 0;
    if (group != FactGroup::kKnown) {
      EXPECT_EQ(std::ranges::count(made().facts, id), 0) << id;
    }
  }
  ASSERT_GE(known, 3);
  EXPECT_EQ(static_cast<int64_t>(made().facts.size()), (known + 1) / 2);
}

TEST_F(Methods, EffectsAreThoseOfTheSetsOneByOne) {
  for (const int64_t id : made().facts) {
    const PreparedFact fact = made().prepared.facts.prepared(id);
    for (const std::string_view method : kMethods) {
      if (method == kRandom) continue;
      const auto& set = made().sets.at({id, std::string(method)});
      EXPECT_EQ(static_cast<int64_t>(set.size()), kNeurons) << method;
      for (const bool held_out : {false, true}) {
        const MethodRow& row = made().effects.at({id, std::string(method), held_out});
        const auto& prompts = held_out ? fact.held_out : fact.prompts;
        EXPECT_EQ(row.prompts, static_cast<int64_t>(prompts.size()));
        expect_close(row.change_log_odds, change(prompts, set));
      }
    }
  }
}

TEST_F(Methods, AScoresNeuronsHaveItsLargestMeans) {
  for (const int64_t id : made().facts) {
    const std::vector<Cloze> prompts = made().prepared.facts.prepared(id).prompts;
    AttributionOptions options = made().prepared.options.locate.attribution;
    options.score = Score::kRelevance;
    at::Tensor mean = at::zeros({shipped().model.config().layers, shipped().model.config().d_ff});
    for (const Cloze& cloze : prompts) {
      mean += Scorer(shipped().model, options).bags(std::vector<std::vector<Cloze>>{{cloze}})[0];
    }
    const std::vector<NeuronId> best = largest_neurons(mean, kNeurons);
    EXPECT_EQ(made().sets.at({id, "relp"}), best);
  }
}

TEST_F(Methods, SearchesTakeWhatLowersTheAnswerMost) {
  for (const int64_t id : made().facts) {
    const std::vector<Cloze> prompts = made().prepared.facts.prepared(id).prompts;
    const std::vector<NeuronId>& single = made().sets.at({id, std::string(kSingle)});
    const std::vector<NeuronId>& greedy = made().sets.at({id, std::string(kGreedy)});
    EXPECT_EQ(single.front(), greedy.front());
    double before = -1e9;
    for (const NeuronId neuron : single) {
      const double alone = change(prompts, {neuron});
      EXPECT_GE(alone, before - 1e-3);
      before = alone;
    }
    // The best of attribution patching are candidates: none does more alone than the first.
    for (const NeuronId neuron : made().sets.at({id, "gradient-x-activation"})) {
      EXPECT_GE(change(prompts, {neuron}), change(prompts, {single.front()}) - 1e-3);
    }
    // Each step of the greedy search is the best that the single search's best could have made.
    std::vector<NeuronId> taken = {greedy.front()};
    for (size_t step = 1; step < greedy.size(); ++step) {
      std::vector<NeuronId> next = taken;
      next.push_back(greedy[step]);
      const double made_change = change(prompts, next);
      for (const NeuronId other : single) {
        if (std::ranges::find(taken, other) != taken.end()) continue;
        std::vector<NeuronId> instead = taken;
        instead.push_back(other);
        EXPECT_LE(made_change, change(prompts, instead) + 1e-3);
      }
      taken = next;
    }
  }
}

TEST_F(Methods, RandomSetsDoLess) {
  double random = 0;
  double greedy = 0;
  for (const int64_t id : made().facts) {
    random += made().effects.at({id, std::string(kRandom), false}).change_log_odds;
    greedy += made().effects.at({id, std::string(kGreedy), false}).change_log_odds;
    EXPECT_FALSE(made().sets.contains({id, std::string(kRandom)}));
  }
  EXPECT_LT(greedy, 0);
  EXPECT_LT(greedy, random);
}

TEST_F(Methods, AFactIsAPart) {
  const auto experiment = make_experiment("methods");
  const RunContext context = made_->prepared.context({1, 0});
  ASSERT_EQ(experiment->parts(context, "P36"), static_cast<int64_t>(made().facts.size()));
  const std::vector<TableRows> last =
      experiment->run(context, "P36", static_cast<int64_t>(made().facts.size()) - 1);
  for (const Row& row : rows_of(last, MethodRow::kTable)) {
    const auto one = from_row<MethodRow>(row);
    EXPECT_EQ(one.fact, made().facts.back());
    expect_close(one.change_log_odds,
                 made().effects.at({one.fact, one.method, one.held_out}).change_log_odds);
  }
}

}  // namespace
}  // namespace engram::testing
