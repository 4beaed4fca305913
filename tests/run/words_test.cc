// The audit's experiment "words" against single runs, and the audit's sample.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "engram/error.h"
#include "engram/run/run.h"
#include "engram/sources.h"
#include "engram/statistics/effect_report.h"
#include "experiments/screen/experiment.h"
#include "experiments/screen/rows.h"
#include "experiments/words/rows.h"
#include "prepared_run.h"
#include "run/sets.h"

namespace engram::testing {
namespace {

using experiments::screen::ScreenRow;
using experiments::words::WordRow;

template <typename R>
std::vector<R> rows_as(const std::vector<TableRows>& all) {
  std::vector<R> structs;
  for (const Row& row : rows_of(all, R::kTable)) structs.push_back(from_row<R>(row));
  return structs;
}

/// The first facts of each relation that have held-out prompts.
std::vector<Fact> facts_to_test(const std::vector<std::string>& relations, int64_t count) {
  std::vector<Fact> facts;
  for (const std::string& relation : relations) {
    int64_t left = count;
    for (const Fact& fact : shipped().facts) {
      if (fact.relation == relation && !fact.held_out.empty() && left-- > 0) facts.push_back(fact);
    }
  }
  return facts;
}

/// The experiment on the first relation of some facts, once for all tests.
class Words : public ::testing::Test {
 protected:
  struct Made {
    Made() : prepared(facts_to_test({"P106", "P19"}, 12), "words") {
      prepared.options.audit = AuditSample{6, 6};
      prepared.locate({0});  // fact 0 has no neurons
      rows = rows_as<WordRow>(run_all(make_experiment("words"), prepared.context(), "P106"));
    }
    PreparedRun prepared;
    std::vector<WordRow> rows;
  };
  static void SetUpTestSuite() { made_ = std::make_unique<Made>(); }
  static void TearDownTestSuite() { made_.reset(); }
  [[nodiscard]] static const WordRow& row(int64_t fact, std::string_view condition,
                                          std::string_view source) {
    const auto found = std::ranges::find_if(made_->rows, [&](const WordRow& one) {
      return one.fact == fact && one.condition == condition && one.source == source;
    });
    EXPECT_NE(found, made_->rows.end()) << fact << " " << condition << " " << source;
    return found == made_->rows.end() ? made_->rows.front() : *found;
  }
  static std::unique_ptr<Made> made_;
  PreparedRun& prepared_ = made_->prepared;
  const std::vector<WordRow>& all_ = made_->rows;
};
std::unique_ptr<Words::Made> Words::made_;

TEST_F(Words, HeldOutIsTheChangeOfTheFactsOwnPrompts) {
  for (const int64_t id : prepared_.facts.of("P106")) {
    const PreparedFact fact = prepared_.facts.prepared(id);
    std::vector<NeuronChange> set;
    for (const NeuronId neuron : stored_neurons(*prepared_.store, sources::kIg, id)) {
      set.push_back({neuron, 0.0F, 0.0F});
    }
    double change = 0;
    for (const Cloze& cloze : fact.held_out) {
      const Measured one = measure(shipped().model, {&cloze, 1}, {&set, 1}, {{Trial{0, 0}}});
      change += one.after[0].log_odds - one.before[0].log_odds;
    }
    const WordRow& found = row(id, "held-out", "ig");
    EXPECT_EQ(found.prompts, static_cast<int64_t>(fact.held_out.size()));
    EXPECT_EQ(found.neurons, static_cast<int64_t>(set.size()));
    EXPECT_NEAR(found.change_log_odds, change, 1e-3);
    EXPECT_EQ(set.empty(), id == 0);
    if (id == 0) {
      EXPECT_EQ(found.change_log_odds, 0);
    }
  }
}

TEST_F(Words, OtherSubjectsAreAskedForBothAnswers) {
  int64_t several = 0;
  for (const int64_t id : prepared_.facts.of("P106")) {
    const WordRow& ours = row(id, "other-subject", "ig");
    const WordRow& theirs = row(id, "their-own-answer", "ig");
    EXPECT_EQ(ours.prompts, theirs.prompts);
    EXPECT_GT(ours.prompts, 0);
    // The model knows these facts, so their own answers stand far above ours on their prompts.
    EXPECT_GT(theirs.log_odds, ours.log_odds);
    several += ours.prompts > 1 ? 1 : 0;
    for (const std::string_view source : experiments::words::kSets) {
      const WordRow& control = row(id, "other-subject", source);
      EXPECT_EQ(control.prompts, ours.prompts);
      EXPECT_NEAR(control.log_odds, ours.log_odds, 1e-6 * std::abs(ours.log_odds));
    }
  }
  EXPECT_GT(several, 0);
}

TEST_F(Words, ThePromptsOfTheSameObjectAreOthersWithIt) {
  std::map<std::string, int64_t> facts;
  for (const int64_t id : prepared_.facts.of("P106")) ++facts[prepared_.facts.fact(id).object];
  for (const int64_t id : prepared_.facts.of("P106")) {
    const bool others = facts[prepared_.facts.fact(id).object] > 1;
    const auto found = std::ranges::count_if(
        all_, [&](const WordRow& one) { return one.fact == id && one.condition == "same-object"; });
    EXPECT_EQ(found > 0, others) << id;
  }
}

TEST_F(Words, WithoutTheSubjectTheAnswerIsLessLikely) {
  double before = 0;
  double masked = 0;
  for (const int64_t id : prepared_.facts.of("P106")) {
    before += row(id, "held-out", "ig").log_odds;
    masked += row(id, "subject-masked", "ig").log_odds;
  }
  EXPECT_LT(masked, before);
}

TEST_F(Words, DoNotDependOnThreadsOrParts) {
  RunContext context = prepared_.context({3, 0});
  context.part_flops = 1e9;  // many parts
  const auto other = rows_as<WordRow>(run_all(make_experiment("words"), context, "P106"));
  ASSERT_EQ(other.size(), all_.size());
  for (size_t i = 0; i < all_.size(); ++i) {
    EXPECT_EQ(other[i].fact, all_[i].fact);
    EXPECT_EQ(other[i].condition, all_[i].condition);
    EXPECT_NEAR(other[i].change_log_odds, all_[i].change_log_odds, 1e-3);
  }
}

TEST(AuditSample, TakesKnownAndNeverGivenFactsByTheSeed) {
  PreparedRun prepared(facts_to_test({"P106", "P19", "P36"}, 10), "audit");
  prepared.options.audit = AuditSample{7, 5};
  const RunContext context = prepared.context();
  for (const std::string& relation : prepared.facts.relations()) {
    run_all(make_experiment("screen"), context, relation, /*keep=*/true);
  }
  std::map<int64_t, FactGroup> groups;
  read_rows<ScreenRow>(*prepared.store, {}, [&](const ScreenRow& row) {
    const Fact& fact = prepared.facts.fact(row.fact);
    EXPECT_EQ(row.prompts, static_cast<int64_t>(fact.prompts.size() + fact.held_out.size()));
    EXPECT_LE(row.top, row.prompts);
    groups[row.fact] = group_of(row.prompts, row.top);
  });
  ASSERT_FALSE(groups.empty());
  const std::vector<int64_t> sample = experiments::screen::audit_sample(context);
  EXPECT_TRUE(std::ranges::is_sorted(sample));
  EXPECT_EQ(std::set<int64_t>(sample.begin(), sample.end()).size(), sample.size());
  std::map<FactGroup, int64_t> taken;
  for (const int64_t id : sample) ++taken[groups.at(id)];
  const auto there = std::ranges::count_if(
      groups, [](const auto& one) { return one.second == FactGroup::kKnown; });
  EXPECT_EQ(taken[FactGroup::kKnown], std::min<int64_t>(7, there));
  EXPECT_EQ(taken[FactGroup::kAll], 0);
  EXPECT_EQ(experiments::screen::audit_sample(context), sample);

  RunFacts& facts = prepared.facts;
  facts.keep(sample);
  EXPECT_EQ(facts.usable(), sample);
  EXPECT_THROW(facts.keep({1'000'000}), InternalError);
}

}  // namespace
}  // namespace engram::testing
