// Tables of the audit against numbers worked out by hand.
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "engram/report/tables.h"
#include "experiments/amplify/rows.h"
#include "experiments/methods/rows.h"
#include "experiments/nonfacts/rows.h"
#include "experiments/planting/rows.h"
#include "experiments/words/rows.h"
#include "report/table_cells.h"
#include "report/test_run.h"

namespace engram {
namespace {

using testing::few_draws;
using testing::TestRun;
using testing::value;

/// Two relations of twelve facts each with an object of their own; every sixth is never given, the
/// others are known.
class AuditTables : public ::testing::Test {
 protected:
  static constexpr int64_t kFacts = 24;
  AuditTables() {
    run_.identity("audit", "known 20 never 4");
    for (int64_t id = 0; id < kFacts; ++id) {
      const std::string place = std::to_string(id);
      run_.fact(id, id < 12 ? "P19" : "P36", "s" + place, "o" + place, 3, 2);
      run_.add("screen",
               {{"fact", id}, {"prompts", int64_t{5}}, {"top", int64_t{known(id) ? 4 : 0}}});
    }
  }
  static bool known(int64_t id) { return id % 6 != 5; }
  void write_planting(double value_norm);
  TestRun run_;
};

TEST_F(AuditTables, MethodsStandBesideTheGreedySearch) {
  using namespace experiments::methods;
  // Changes over two held-out prompts: twice these.
  const std::map<std::string_view, double> change = {
      {"ig", -0.9}, {"gradient-x-activation", -0.95}, {kGreedy, -1.0}, {kRandom, -0.1}};
  for (int64_t id = 0; id < kFacts; ++id) {
    if (!known(id)) continue;
    for (const std::string_view method : kMethods) {
      const auto found = change.find(method);
      const double each = found == change.end() ? -0.5 : found->second;
      for (const int64_t held_out : {0, 1}) {
        run_.add(MethodRow::kTable, {{"fact", id},
                                     {"method", std::string(method)},
                                     {"held_out", held_out},
                                     {"prompts", int64_t{held_out == 1 ? 2 : 3}},
                                     {"top", held_out == 1 ? 2.0 : 3.0},
                                     {"top_after", 1.0},
                                     {"change_log_odds", held_out == 1 ? 2 * each : 3 * 2 * each}});
      }
    }
  }
  RunStore store = run_.write();
  const RunReport report = make_report(store, few_draws());
  const ReportTable& table = report_table(report, "methods");
  EXPECT_NEAR(value(table, {"integrated gradients"}, "held-out prompts"), -0.9, 1e-12);
  EXPECT_NEAR(value(table, {"integrated gradients"}, "prompts that locate"), -1.8, 1e-12);
  EXPECT_NEAR(value(table, {"integrated gradients"}, "share"), 0.9, 1e-12);
  EXPECT_NEAR(value(table, {"RelP"}, "share"), 0.5, 1e-12);
  EXPECT_NEAR(value(table, {"greedy search"}, "share"), 1, 1e-12);
  EXPECT_NEAR(value(table, {"greedy search"}, "still on top"), 0.5, 1e-12);
  const ReportTable& verdict = report_table(report, "methods-verdict");
  ASSERT_EQ(verdict.rows.size(), 2U);
  EXPECT_NEAR(verdict.rows[0][1].number.value, 0.9, 1e-12);
  EXPECT_EQ(verdict.rows[0][2].text, "supported");
  EXPECT_EQ(verdict.rows[0][3].text, "Integrated gradients find nearly what a search finds.");
  EXPECT_NEAR(verdict.rows[1][1].number.value, -0.05, 1e-12);
  EXPECT_EQ(verdict.rows[1][2].text, "supported");
}

TEST_F(AuditTables, PushesAreHeldAgainstDoubling) {
  using namespace experiments::amplify;
  for (int64_t id = 0; id < kFacts; ++id) {
    for (size_t p = 0; p < kPushes.size(); ++p) {
      // 2, 1 and 0.2 of known facts; 3 for all of those that are never given.
      const double each = known(id) ? (p == 0 ? 2.0 : p == 1 ? 1.0 : 0.2) : 3.0;
      run_.add(PushRow::kTable, {{"fact", id},
                                 {"source", std::string(kPushes[p])},
                                 {"neurons", int64_t{4}},
                                 {"prompts", int64_t{2}},
                                 {"length", 1.5},
                                 {"top", 0.0},
                                 {"top_after", p == 0 ? 1.0 : 0.0},
                                 {"change_log_odds", 2 * each}});
    }
  }
  RunStore store = run_.write();
  const RunReport report = make_report(store, few_draws());
  const ReportTable& table = report_table(report, "amplify-pushes");
  EXPECT_NEAR(value(table, {"known", "located, doubled"}, "log-odds"), 2, 1e-12);
  EXPECT_NEAR(value(table, {"known", "located, doubled"}, "on top"), 0.5, 1e-12);
  EXPECT_NEAR(value(table, {"known", "along the gradient, as long"}, "reaches"), 0.5, 1e-12);
  EXPECT_NEAR(value(table, {"known", "matched, as long"}, "reaches"), 0.1, 1e-12);
  EXPECT_NEAR(value(table, {"never given", "matched, as long"}, "reaches"), 1, 1e-12);
  ASSERT_EQ(table.notes.size(), 1U);
  EXPECT_NE(table.notes[0].find("1.5"), std::string::npos);
  const ReportTable& verdict = report_table(report, "amplify-verdict");
  ASSERT_EQ(verdict.rows.size(), 1U);
  EXPECT_EQ(verdict.rows[0][2].text, "refuted");
  EXPECT_EQ(verdict.rows[0][3].text,
            "Doubling the located neurons does more than a push along the gradient.");
}

TEST_F(AuditTables, WordsAreHeldAgainstOtherSubjects) {
  using namespace experiments::words;
  // Of known facts the held-out answer falls by 1, of others by 0.95, elsewhere by half of it.
  for (int64_t id = 0; id < kFacts; ++id) {
    for (const std::string_view source : kSets) {
      const double of = source == sources::kIg ? 1 : 0.1;
      const double own = known(id) ? -1 : -0.95;
      for (const auto& [condition, each, prompts] :
           {std::tuple{kHeldOut, own, int64_t{2}},
            std::tuple{kOtherSubject, own / 2, int64_t{4}}}) {
        run_.add(WordRow::kTable, {{"fact", id},
                                   {"condition", std::string(condition)},
                                   {"source", std::string(source)},
                                   {"neurons", int64_t{3}},
                                   {"prompts", prompts},
                                   {"top", 2.0},
                                   {"top_after", 2 - of},
                                   {"change_log_odds", of * each * static_cast<double>(prompts)}});
      }
    }
    run_.neurons("ig", id, {{1, id}, {2, id}});
  }
  RunStore store = run_.write();
  const RunReport report = make_report(store, few_draws());
  const ReportTable& answers = report_table(report, "words-answers");
  const std::vector<std::string> row = {"another subject's prompts, for the fact's answer",
                                        "known"};
  EXPECT_EQ(value(answers, row, "number of facts"), 20);
  EXPECT_EQ(value(answers, row, "number of prompts"), 80);
  EXPECT_EQ(value(answers, row, "before"), 40);
  EXPECT_NEAR(value(answers, row, "located"), 20, 1e-9);
  EXPECT_NEAR(value(answers, row, "matched"), 38, 1e-9);
  const ReportTable& verdict = report_table(report, "words-verdict");
  ASSERT_EQ(verdict.rows.size(), 3U);
  EXPECT_NEAR(verdict.rows[0][1].number.value, -0.05, 1e-12);
  EXPECT_EQ(verdict.rows[0][2].text, "supported");
  EXPECT_NEAR(verdict.rows[1][1].number.value, 0.5, 1e-12);
  EXPECT_EQ(verdict.rows[1][2].text, "supported");
  EXPECT_EQ(verdict.rows[2][2].text, "refuted");
  const ReportTable& screen = report_table(report, "screen");
  EXPECT_EQ(value(screen, {"known"}, "taken"), 20);
  EXPECT_EQ(value(screen, {"known"}, "their relations"), 2);
  EXPECT_EQ(value(screen, {"known"}, "their objects"), 20);
  EXPECT_EQ(value(screen, {"known"}, "neurons a fact"), 2);
  EXPECT_EQ(value(screen, {"never given"}, "without any"), 0);
}

/// Recall at 5 % is chance for every score but three, whatever the condition.
void AuditTables::write_planting(double value_norm) {
  using namespace experiments::planting;
  const std::map<std::string_view, double> recall = {
      {kExpectedGates, 0.9}, {kHardConcrete, 0.8}, {kValueNorm, value_norm}};
  for (int64_t id = 0; id < kFacts; ++id) {
    for (const std::string_view condition : kConditions) {
      const bool two = condition == kTwo;
      run_.add(PlantingRow::kTable, {{"fact", id},
                                     {"condition", std::string(condition)},
                                     {"target", std::string("o")},
                                     {"neurons", int64_t{10}},
                                     {"steps", int64_t{7}},
                                     {"loss", id == 3 ? 1.0 : 0.0},
                                     {"log_p", -4.0},
                                     {"log_p_restored", id < 2 ? -4.5 : -4.0},
                                     {"log_p_where_asked", -1.0}});
      for (const Method& method : kMethods) {
        const auto found = recall.find(method.name);
        TestRun::Named row = {{"fact", id},
                              {"condition", std::string(condition)},
                              {"method", std::string(method.name)},
                              {"recall_1", 0.01},
                              {"recall_5", found == recall.end() ? 0.05 : found->second},
                              {"recall_10", 0.1}};
        if (two && id >= 4) row["auc"] = 0.75;
        run_.add(PlantingScoreRow::kTable, row);
      }
    }
  }
  for (const int64_t id : {6, 7}) {
    const auto tuned = [&](std::string_view method, double penalty, double found) {
      run_.add(PlantingTuningRow::kTable, {{"fact", id},
                                           {"method", std::string(method)},
                                           {"penalty", penalty},
                                           {"recall_5", found}});
    };
    tuned("relp", 0, 0.4);
    tuned(kExpectedGates, 0, id == 6 ? 0.3 : 0.9);
    tuned(kHardConcrete, 1, 0.2);
    tuned(kHardConcrete, 100, 0.6);
    tuned(kHardConcrete, 1000, 0.6);
    tuned(kSlimming, 10, 0.6);
  }
}

TEST_F(AuditTables, PlantingComparesWhatIsFound) {
  write_planting(0.06);
  RunStore store = run_.write();
  const RunReport report = make_report(store, few_draws());
  const ReportTable& verdict = report_table(report, "planting-verdict");
  ASSERT_EQ(verdict.rows.size(), 3U);
  EXPECT_NEAR(verdict.rows[0][1].number.value, 0.01, 1e-12);
  EXPECT_EQ(verdict.rows[0][2].text, "supported");
  EXPECT_NEAR(verdict.rows[1][1].number.value, 0.1, 1e-12);
  EXPECT_EQ(verdict.rows[1][2].text, "supported");
  EXPECT_EQ(verdict.rows[1][3].text,
            "Hard concrete finds less than expected gradients over gates.");
  EXPECT_EQ(verdict.rows[2][2].text, "supported");
  const ReportTable& table = report_table(report, "planting");
  EXPECT_NEAR(value(table, {"hard concrete"}, "two plants"), 0.8, 1e-12);
  EXPECT_NE(table.meaning.find("slimming is 10, that of hard concrete 100."), std::string::npos)
      << table.meaning;
  EXPECT_NEAR(value(report_table(report, "planting-more"), {"RelP"}, "AUC of two plants"), 0.75,
              1e-12);
  const ReportTable& made = report_table(report, "planting-made");
  EXPECT_EQ(value(made, {"active"}, "plantings"), kFacts);
  EXPECT_EQ(value(made, {"active"}, "unfinished"), 1);
  EXPECT_EQ(value(made, {"active"}, "not restored"), 2);
  // Of a gain of 4 in log P, 3 are there where the answer is asked; of the one that gained 3, 3.
  EXPECT_NEAR(value(made, {"active"}, "invisible"), (23 * 1.0 + 0) / (23 * 4 + 3), 1e-12);
}

TEST_F(AuditTables, NothingIsDecidedWhereSizeBetraysThePlanting) {
  write_planting(0.2);
  RunStore betrayed = run_.write();
  const RunReport undecided = make_report(betrayed, few_draws());
  const ReportTable& none = report_table(undecided, "planting-verdict");
  EXPECT_EQ(none.rows[0][2].text, "refuted");
  EXPECT_EQ(none.rows[1][2].text, "undecided");
  EXPECT_EQ(none.rows[2][2].text, "undecided");
}

TEST_F(AuditTables, NonFactsStandBesideFacts) {
  using namespace experiments::nonfacts;
  const auto add = [&](const std::string& group, int64_t item, double change, double flipped) {
    const std::string relation = group == "facts" ? (item < 12 ? "P19" : "P36") : "grammar";
    for (const std::string_view source : {kLocatedSet, kRandomSet}) {
      const double share = source == kLocatedSet ? 1 : 0.1;
      run_.add(NonFactRow::kTable, {{"group", group},
                                    {"item", item},
                                    {"source", std::string(source)},
                                    {"relation", relation},
                                    {"answer", group + std::to_string(item)},
                                    {"foil", std::string("x")},
                                    {"located_by", int64_t{2}},
                                    {"prompts", int64_t{2}},
                                    {"change_log_odds", 2 * share * change},
                                    {"preferred", int64_t{2}},
                                    {"flipped", share * flipped}});
    }
    // A neuron that all have, one of each relation, and one of its own.
    const auto own = item + (group == "facts" ? 100 : 200);
    for (const int64_t neuron : {int64_t{7}, int64_t{relation == "P19" ? 8 : 9}, own}) {
      run_.add(NonFactNeuronRow::kTable, {{"group", group},
                                          {"item", item},
                                          {"place", neuron},
                                          {"layer", int64_t{1}},
                                          {"neuron", neuron}});
    }
  };
  for (int64_t item = 0; item < 24; ++item) {
    add("facts", item, -0.8, 0);
    add("blimp", item, -0.6, item < 12 ? 0 : 0.5);
  }
  RunStore store = run_.write();
  const RunReport report = make_report(store, few_draws());
  const ReportTable& verdict = report_table(report, "nonfacts-verdict");
  ASSERT_EQ(verdict.rows.size(), 2U);
  EXPECT_NEAR(verdict.rows[0][1].number.value, 0.75, 1e-12);
  EXPECT_EQ(verdict.rows[0][2].text, "supported");
  EXPECT_NEAR(verdict.rows[1][1].number.value, 12 * 0.5 / 48, 1e-12);
  EXPECT_EQ(verdict.rows[1][2].text, "refuted");
  const ReportTable& table = report_table(report, "nonfacts");
  EXPECT_EQ(value(table, {"facts"}, "items"), 24);
  EXPECT_EQ(value(table, {"all non-facts"}, "items"), 24);
  EXPECT_NEAR(value(table, {"facts"}, "change of log-odds"), -0.8, 1e-12);
  EXPECT_NEAR(value(table, {"blimp"}, "matched"), -0.06, 1e-12);
  EXPECT_NEAR(value(table, {"blimp"}, "flips, matched"), 0.0125, 1e-12);
  // Of a fact's three the one that facts of the other relation have; of a non-fact's that and 9.
  EXPECT_NEAR(value(table, {"facts"}, "shared with facts"), 1.0 / 3, 1e-12);
  EXPECT_NEAR(value(table, {"blimp"}, "shared with facts"), 2.0 / 3, 1e-12);
}

TEST_F(AuditTables, SayWhatIsMissing) {
  run_.skip("methods", "needs facts that the model knows");
  RunStore store = run_.write();
  const RunReport report = make_report(store, few_draws());
  EXPECT_NE(report_table(report, "methods-verdict").skipped.find("that the model knows"),
            std::string::npos);
  EXPECT_FALSE(report_table(report, "amplify-verdict").skipped.empty());
}

}  // namespace
}  // namespace engram
