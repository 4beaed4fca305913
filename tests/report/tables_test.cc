// Tables against numbers worked out by hand.
#include "engram/report/tables.h"

#include <gtest/gtest.h>
#include <algorithm>

#include <cmath>

#include "engram/error.h"
#include "engram/statistics/neuron_sets.h"
#include "experiments/sizes/rows.h"
#include "report/test_run.h"

namespace engram {
namespace {

using testing::TestRun;

ReportOptions few_draws() {
  ReportOptions options;
  options.bootstrap.draws = 200;
  return options;
}

/// The row whose first cells are these.
const std::vector<ReportCell>& row_of(const ReportTable& table,
                                      const std::vector<std::string>& labels) {
  for (const auto& row : table.rows) {
    bool same = true;
    for (size_t i = 0; i < labels.size(); ++i) same = same && row.at(i).text == labels[i];
    if (same) return row;
  }
  throw InternalError("no such row in " + table.id);
}

/// The cell under a title.
const ReportCell& cell(const ReportTable& table, const std::vector<std::string>& labels,
                       const std::string& title) {
  for (size_t c = 0; c < table.columns.size(); ++c) {
    if (table.columns[c].title == title) return row_of(table, labels).at(c);
  }
  throw InternalError("no column " + title + " in " + table.id);
}

double value(const ReportTable& table, const std::vector<std::string>& labels,
             const std::string& title) {
  return cell(table, labels, title).number.value;
}

void expect_around(const ReportCell& cell, double expected) {
  EXPECT_NEAR(cell.number.value, expected, 1e-12);
  if (std::isnan(cell.number.low)) return;  // too few objects
  EXPECT_LE(cell.number.low, cell.number.value + 1e-12);
  EXPECT_GE(cell.number.high, cell.number.value - 1e-12);
}

void select(TestRun& run, const std::string& source, const std::string& relation, int64_t facts) {
  run.add("selection", {{"source", source},
                        {"relation", relation},
                        {"facts", facts},
                        {"share", 0.7},
                        {"passes", int64_t{1}},
                        {"mean", 2.0},
                        {"within", int64_t{1}},
                        {"too_few", int64_t{0}},
                        {"negative", int64_t{0}}});
}

// --- an empty run --------------------------------------------------------------------------------

TEST(EmptyRun, EveryTableSaysWhyItIsNotThere) {
  TestRun run;
  run.skip("texts", "no folder of texts was given (--texts)");
  RunStore store = run.write();
  const RunReport report = make_report(store, few_draws());
  for (const char* id : {"completeness", "neurons", "suppress", "amplify", "update", "erase"}) {
    const ReportTable& table = report_table(report, id);
    EXPECT_TRUE(table.rows.empty()) << id;
    EXPECT_NE(table.skipped.find("holds no results"), std::string::npos) << id;
  }
  EXPECT_EQ(report_table(report, "texts").skipped, "no folder of texts was given (--texts)");
  EXPECT_FALSE(report_table(report, "summary").skipped.empty());
  EXPECT_FALSE(report_html(report).empty());
  EXPECT_FALSE(report_json(report).empty());
}

TEST(DamagedRun, ResultsOfAFactThatIsNotThereAreRefused) {
  TestRun run;
  run.fact(0, "P19", "a", "b", 3, 0);
  run.add("text_example", {{"relation", std::string("P19")},
                           {"layer", int64_t{0}},
                           {"neuron", int64_t{1}},
                           {"lowest", int64_t{0}},
                           {"place", int64_t{0}},
                           {"tokens", std::string("[[\"a\"")}});
  run.add("relation_neuron", {{"source", std::string("ig")},
                              {"relation", std::string("P19")},
                              {"place", int64_t{0}},
                              {"layer", int64_t{0}},
                              {"neuron", int64_t{1}}});
  RunStore store = run.write();
  EXPECT_THROW(make_report(store, few_draws()), InputError);
}

// --- knowledge neurons ---------------------------------------------------------------------------

/// Two relations of two facts; (1, 7) is in three of the four sets.
void add_sets(TestRun& run) {
  run.fact(0, "P19", "a", "x", 8, 0).fact(1, "P19", "b", "y", 8, 0);
  run.fact(2, "P36", "c", "z", 4, 0).fact(3, "P36", "d", "w", 8, 0);
  run.add("model", {{"name", std::string("layers")}, {"value", int64_t{3}}});
  run.add("model", {{"name", std::string("d_ff")}, {"value", int64_t{16}}});
  select(run, "ig", "P19", 2);
  select(run, "ig", "P36", 2);
  run.neurons("ig", 0, {{0, 1}, {1, 7}});
  run.neurons("ig", 1, {{0, 1}, {1, 7}, {2, 3}});
  run.neurons("ig", 2, {{1, 7}});
}

TEST(NeuronTables, CountsAndIntersectionsAreThoseOfTheLibraryAndByHand) {
  TestRun run;
  add_sets(run);
  RunStore store = run.write();
  const RunReport report = make_report(store, few_draws());
  const ReportTable& table = report_table(report, "neurons");
  const std::string located = "knowledge neurons";
  expect_around(cell(table, {"neurons per fact", located}, "this run"), 6.0 / 4);
  // P19: one pair that shares two; P36: one pair that shares none.
  expect_around(cell(table, {"intersection within a relation", located}, "this run"), 1.0);
  // Four pairs, of which two share (1, 7).
  EXPECT_EQ(value(table, {"intersection across relations", located}, "this run"), 0.5);
  EXPECT_TRUE(
      std::isnan(cell(table, {"intersection across relations", located}, "this run").number.low));
  const std::vector<FactNeurons> sets = {
      {"P19", {{0, 1}, {1, 7}}}, {"P19", {{0, 1}, {1, 7}, {2, 3}}}, {"P36", {{1, 7}}}, {"P36", {}}};
  const NeuronStatistics statistics = neuron_statistics(sets, 3);
  EXPECT_EQ(value(table, {"neurons per fact", located}, "this run"), statistics.per_fact);
  EXPECT_EQ(value(table, {"intersection within a relation", located}, "this run"),
            statistics.intersection_within);
  EXPECT_EQ(value(table, {"intersection across relations", located}, "this run"),
            statistics.intersection_across);
  // The neurons that two facts have are hubs; (2, 3) is left.
  EXPECT_EQ(value(table, {"neurons per fact", located}, "this run, without hubs"), 0.25);
  EXPECT_EQ(value(table, {"neurons per fact", located}, "ACL 2022"), 4.13);
  EXPECT_EQ(value(table, {"neurons per fact", located}, "EleutherAI (BERT-base-uncased)"), 11.04);
  // Intersections are averaged otherwise in the paper.
  EXPECT_TRUE(std::isnan(value(table, {"intersection within a relation", located}, "ACL 2022")));
  // Random sets are as large and in the same layers.
  const std::string random = "random, equal size and layers";
  EXPECT_EQ(value(table, {"neurons per fact", random}, "this run"), 1.5);
  const ReportTable& layers = report_table(report, "layers");
  for (const auto& row : layers.rows) {
    EXPECT_EQ(row[1].number.value, row[3].number.value);  // located and random
  }
  EXPECT_NEAR(layers.rows[1][1].number.value, 0.5, 1e-12);
  const ReportTable& hubs = report_table(report, "hubs");
  ASSERT_EQ(hubs.rows.size(), 2U);
  EXPECT_EQ(hubs.rows[0][2].text, "7");
  EXPECT_EQ(hubs.rows[0][4].number.value, 0.75);
  EXPECT_EQ(hubs.rows[0][5].number.value, 2);
}

TEST(NeuronTables, RandomSetsNeedTheModelsSize) {
  TestRun run;
  run.fact(0, "P19", "a", "x", 8, 0);
  select(run, "ig", "P19", 1);
  run.neurons("ig", 0, {{0, 1}});
  RunStore store = run.write();
  const RunReport report = make_report(store, few_draws());
  const ReportTable& table = report_table(report, "neurons");
  EXPECT_THROW(row_of(table, {"neurons per fact", "random, equal size and layers"}), InternalError);
  EXPECT_TRUE(std::ranges::any_of(table.notes, [](const std::string& note) {
    return note.find("Random sets are skipped") != std::string::npos;
  }));
}

TEST(NeuronTables, StabilityIsTheMeanJaccardOfFactsWithEnoughPrompts) {
  TestRun run;
  add_sets(run);
  for (const char* source : {"ig-half-0", "ig-half-1"}) {
    select(run, source, "P19", 2);
    select(run, source, "P36", 2);
  }
  run.neurons("ig-half-0", 0, {{0, 1}, {2, 9}});
  run.neurons("ig-half-1", 0, {{0, 1}, {2, 8}});  // 1 of 3
  run.neurons("ig-half-0", 1, {{2, 3}});
  run.neurons("ig-half-1", 1, {{2, 3}});  // the same
  run.neurons("ig-half-0", 2, {{2, 3}});  // four prompts: halves of two
  // Another rule was tried on facts 0 and 3 alone; 3 has no neurons by either.
  select(run, "ig-riemann-left", "P19", 1);
  select(run, "ig-riemann-left", "P36", 1);
  run.neurons("ig-riemann-left", 0, {{0, 1}, {1, 7}});
  for (const int64_t fact : {0, 3}) {
    run.add("attribution", {{"method", std::string("ig-riemann-left")},
                            {"fact", fact},
                            {"prompt", int64_t{0}},
                            {"p", 0.5}});
  }
  RunStore store = run.write();
  const RunReport report = make_report(store, few_draws());
  const ReportTable& table = report_table(report, "stability");
  const std::vector<std::string> halves = {"two halves of the prompts"};
  expect_around(cell(table, halves, "Jaccard index"), (1.0 / 3 + 1) / 2);
  EXPECT_EQ(value(table, halves, "facts"), 2);
  EXPECT_EQ(value(table, halves, "both sets empty"), 1);  // fact 3
  EXPECT_EQ(value(table, halves, "identical sets"), 0.5);
  const std::vector<std::string> rule = {"default rule and riemann-left"};
  EXPECT_EQ(value(table, rule, "Jaccard index"), 1);
  EXPECT_EQ(value(table, rule, "facts"), 1);
  EXPECT_EQ(value(table, rule, "both sets empty"), 1);
}

TEST(AttributionTable, QuantilesOfTheGap) {
  TestRun run;
  run.fact(0, "P19", "a", "x", 200, 0);
  for (int64_t p = 0; p < 200; ++p) {
    run.add("attribution", {{"method", std::string("ig")},
                            {"fact", int64_t{0}},
                            {"prompt", p},
                            {"p", 0.25},
                            {"answer_rank", p % 2 + 1},
                            {"relative_gap", 1e-4 * static_cast<double>(p)},
                            {"nodes", 2.0},
                            {"converged", static_cast<int64_t>(p < 150)}});
  }
  RunStore store = run.write();
  const RunReport report = make_report(store, few_draws());
  const ReportTable& table = report_table(report, "completeness");
  EXPECT_EQ(value(table, {"ig"}, "prompts"), 200);
  EXPECT_NEAR(value(table, {"ig"}, "gap: median"), 0.01, 1e-12);
  EXPECT_NEAR(value(table, {"ig"}, "95 %"), 0.019, 1e-12);
  EXPECT_NEAR(value(table, {"ig"}, "largest"), 0.0199, 1e-12);
  EXPECT_EQ(value(table, {"ig"}, "prompts with a gap under 1 %"), 0.5);
  EXPECT_EQ(value(table, {"ig"}, "all layers within the tolerance"), 0.75);
  EXPECT_EQ(value(table, {"ig"}, "answer is the top one"), 0.5);
}

// --- effects -------------------------------------------------------------------------------------

void add_effect(TestRun& run, const std::string& source, int64_t fact, const std::string& scope,
                double p, double change, int64_t neurons = 3) {
  run.add("effect", {{"operation", std::string("zero")},
                     {"source", source},
                     {"fact", fact},
                     {"scope", scope},
                     {"neurons", neurons},
                     {"prompts", int64_t{2}},
                     {"log_odds", 3.0},
                     {"p", p},
                     {"log_p", -2.0},
                     {"top", fact == 1 ? 0.0 : 1.0},
                     {"log_rank", 0.0},
                     {"known", int64_t{1}},
                     {"known_p", p / 2},
                     {"change_log_odds", 4 * change},
                     {"change_p", change},
                     {"change_log_p", 2 * change},
                     {"change_top", change},
                     {"change_log_rank", -change},
                     {"change_known_p", change / 2}});
}

/// P19: P 1.0 and 0.5, changed by -0.5 and 0; P36: P 0.8, changed by -0.2.
void add_effects(TestRun& run) {
  run.fact(0, "P19", "a", "x", 2, 0).fact(1, "P19", "b", "y", 2, 0);
  run.fact(2, "P36", "c", "z", 2, 0);
  add_effect(run, "ig", 0, "own", 1.0, -0.5);
  add_effect(run, "ig", 1, "own", 0.5, 0, 0);
  add_effect(run, "ig", 2, "own", 0.8, -0.2);
}

TEST(EffectTables, RatiosByHand) {
  TestRun run;
  add_effects(run);
  add_effect(run, "activation", 0, "own", 1.0, -0.1);
  add_effect(run, "activation", 1, "own", 0.5, -0.05);
  add_effect(run, "activation", 2, "own", 0.8, 0.08);
  add_effect(run, "ig", 0, "same-relation-same-object", 1.0, -0.1);
  add_effect(run, "ig", 0, "same-relation-other-object", 1.0, 0.3);
  RunStore store = run.write();
  const RunReport report = make_report(store, few_draws());
  const std::vector<std::string> own = {"own prompts", "all"};
  const ReportTable& main = report_table(report, "suppress");
  // Means over prompts, then over facts: 4/2 of -0.5, 0 and -0.2.
  expect_around(cell(main, own, "knowledge neurons"), 2 * (-0.5 + 0 - 0.2) / 3);
  EXPECT_NEAR(value(main, own, "activation baseline"), 2 * (-0.1 - 0.05 + 0.08) / 3, 1e-12);
  EXPECT_EQ(value(main, own, "before"), 1.5);
  // Facts 0 and 2 have half of their answers right, fact 1 none.
  expect_around(cell(main, {"own prompts", "known"}, "knowledge neurons"), 2 * (-0.5 - 0.2) / 2);
  EXPECT_EQ(value(main, {"own prompts", "never"}, "knowledge neurons"), 0);
  EXPECT_EQ(value(main, {"own prompts", "never"}, "facts"), 1);
  const ReportTable& table = report_table(report, "suppress-p");
  // (-0.5 / 1.5 - 0.2 / 0.8) / 2: relations count the same.
  const double located = (-0.5 / 1.5 - 0.25) / 2;
  expect_around(cell(table, own, "knowledge neurons"), located);
  const double baseline = (-0.15 / 1.5 + 0.1) / 2;
  EXPECT_NEAR(value(table, own, "activation baseline"), baseline, 1e-12);
  EXPECT_TRUE(std::isnan(value(table, own, "random: same layer")));
  EXPECT_EQ(value(table, own, "ACL 2022: knowledge neurons"), -0.2903);
  EXPECT_TRUE(std::isnan(value(table, {"own prompts", "known"}, "ACL 2022: knowledge neurons")));
  // The relation's other facts with whatever object: (-0.1 + 0.3) / 2.
  const std::vector<std::string> others = {"other facts of the relation", "all"};
  EXPECT_NEAR(value(table, others, "knowledge neurons"), 0.1, 1e-12);
  EXPECT_TRUE(std::isnan(value(table, others, "ACL 2022: knowledge neurons")));
  const ReportTable& difference = report_table(report, "suppress-difference");
  expect_around(cell(difference, {"own prompts", "all", "activation baseline"}, "difference"),
                2 * (-0.4 + 0.05 - 0.28) / 3);
  // Mean of -0.5, 0 and -0.25.
  EXPECT_NEAR(value(report_table(report, "suppress-known"), own, "knowledge neurons"), -0.25,
              1e-12);
  EXPECT_NEAR(value(report_table(report, "suppress-accuracy"), own, "knowledge neurons"),
              (-0.25 + 0 - 0.1) / 3, 1e-12);
  EXPECT_NEAR(value(report_table(report, "suppress-accuracy"), own, "before"), 1.0 / 3, 1e-12);
  const ReportTable& relations = report_table(report, "suppress-relations");
  EXPECT_NEAR(value(relations, {"P19"}, "own: knowledge neurons"), -0.5, 1e-12);
  EXPECT_NEAR(value(relations, {"P19"}, "own: P, knowledge neurons"), -1.0 / 3, 1e-12);
  EXPECT_EQ(value(relations, {"P19"}, "without neurons"), 1);
  EXPECT_EQ(value(relations, {"P19"}, "known"), 1);
  EXPECT_EQ(value(relations, {"P19"}, "P before"), 0.375);
  EXPECT_TRUE(std::isnan(value(relations, {"P19"}, "held-out: knowledge neurons")));
  EXPECT_FALSE(report_table(report, "amplify").skipped.empty());
}

TEST(EffectTables, KnownOnlyShowsThatGroup) {
  TestRun run;
  add_effects(run);
  RunStore store = run.write();
  ReportOptions options = few_draws();
  options.known_only = true;
  const RunReport report = make_report(store, options);
  const ReportTable& table = report_table(report, "suppress");
  ASSERT_EQ(table.rows.size(), 1U);
  EXPECT_EQ(value(table, {"own prompts", "known"}, "facts"), 2);
  EXPECT_EQ(value(report_table(report, "suppress-relations"), {"P19"}, "facts"), 1);
}

TEST(EffectTables, SetsAreMeansOverFacts) {
  TestRun run;
  add_effects(run);
  for (const int64_t fact : {0, 2}) {
    run.add("effect_set", {{"operation", std::string("zero")},
                           {"source", std::string("random-gradient")},
                           {"fact", fact},
                           {"sets", int64_t{20}},
                           {"neurons", 3.0},
                           {"overlap", 0.0},
                           {"missing", int64_t{1}},
                           {"difference_activation", 0.5},
                           {"difference_value", -0.25},
                           {"difference_product", fact == 0 ? 1.0 : 3.0}});
  }
  RunStore store = run.write();
  const RunReport report = make_report(store, few_draws());
  const ReportTable& table = report_table(report, "suppress-sets");
  ASSERT_EQ(table.rows.size(), 1U);
  const std::vector<std::string> gradient = {"random: + gradient"};
  EXPECT_EQ(value(table, gradient, "sets per fact"), 20);
  EXPECT_EQ(value(table, gradient, "without a counterpart"), 2);
  EXPECT_EQ(value(table, gradient, "activation x gradient"), 2);
  EXPECT_EQ(value(table, gradient, "value norm"), -0.25);
}

TEST(EffectTables, HolmIsOverTheComparisonsOfOneGroup) {
  TestRun run;
  for (int64_t id = 0; id < 12; ++id) {
    run.fact(id, id < 6 ? "P19" : "P36", "s" + std::to_string(id), "o" + std::to_string(id), 2, 0);
    const double vary = 0.01 * static_cast<double>(id);
    add_effect(run, "ig", id, "own", 1.0, -0.5 - vary);
    add_effect(run, "activation", id, "own", 1.0, id % 2 == 0 ? -1.1 : 0.1);
    add_effect(run, "next", id, "own", 1.0, -0.1);
  }
  RunStore store = run.write();
  const RunReport report = make_report(store, few_draws());
  const ReportTable& table = report_table(report, "suppress-difference");
  const std::vector<std::string> next = {"own prompts", "all", "next neurons"};
  // 200 draws, all on one side: 2/201; two comparisons.
  EXPECT_NEAR(value(table, next, "p"), 2.0 / 201, 1e-12);
  EXPECT_NEAR(value(table, next, "p (Holm)"), 4.0 / 201, 1e-12);
  EXPECT_GT(value(table, {"own prompts", "all", "activation baseline"}, "p (Holm)"), 0.1);
}

TEST(EffectTables, DrawsAsStrongAreCounted) {
  TestRun run;
  add_effects(run);
  for (const int64_t fact : {0, 1, 2}) add_effect(run, "random-layer", fact, "own", 1.0, -0.01);
  const auto draw = [&](const std::string& relation, int64_t part, int64_t number, double change) {
    run.add("effect_draw", {{"operation", std::string("zero")},
                            {"source", std::string("random-layer")},
                            {"relation", relation},
                            {"part", part},
                            {"scope", std::string("own")},
                            {"draw", number},
                            {"change_log_odds", change}});
  };
  // The located neurons reach -1.4 / 3 = -0.467. Draw 0: -1.5 / 3, in two parts; draw 1 is weaker,
  // draw 2 is as strong the other way.
  draw("P19", 0, 0, -0.9);
  draw("P19", 1, 0, -0.4);
  draw("P36", 0, 0, -0.2);
  draw("P19", 0, 1, -0.7);
  draw("P36", 0, 1, -0.6);
  draw("P19", 0, 2, 1.2);
  draw("P36", 0, 2, 0.6);
  RunStore store = run.write();
  const RunReport report = make_report(store, few_draws());
  const ReportTable& table = report_table(report, "suppress-difference");
  EXPECT_EQ(cell(table, {"own prompts", "all", "random: same layer"}, "draws as strong").text,
            "1 of 3");
  EXPECT_NE(table.notes.at(0).find("1/4"), std::string::npos) << "the smallest p of 3 draws";
}

TEST(EffectTables, EqualSetsDifferByExactlyNothing) {
  TestRun run;
  for (int64_t id = 0; id < 12; ++id) {
    run.fact(id, id < 6 ? "P19" : "P36", "s" + std::to_string(id), "o" + std::to_string(id), 2, 0);
    const double change = -0.05 * static_cast<double>(id);
    add_effect(run, "ig", id, "own", 1.0, change);
    add_effect(run, "activation", id, "own", 1.0, change);
  }
  RunStore store = run.write();
  const RunReport report = make_report(store, few_draws());
  const ReportCell& difference = cell(report_table(report, "suppress-difference"),
                                      {"own prompts", "all", "activation baseline"}, "difference");
  EXPECT_EQ(difference.number.value, 0);
  EXPECT_EQ(difference.number.low, 0);
  EXPECT_EQ(difference.number.high, 0);
  const ReportCell& change =
      cell(report_table(report, "suppress"), {"own prompts", "all"}, "knowledge neurons");
  EXPECT_LT(change.number.low, change.number.high);
}

// --- updates -------------------------------------------------------------------------------------

struct EditRow {
  int64_t fact;
  std::string variant;
  int64_t neurons = 2;
  int64_t right = 1;
  double target_p = 0.1;
  double written = 1;
};

void add_edit(TestRun& run, const EditRow& row) {
  run.add("edit", {{"fact", row.fact},
                   {"variant", row.variant},
                   {"old", std::string("o")},
                   {"target", std::string("t")},
                   {"target_p", row.target_p},
                   {"target_rank", 1 / row.target_p},
                   {"right", row.right},
                   {"neurons", row.neurons},
                   {"lambda1", 1.0},
                   {"lambda2", 8.0},
                   {"written", row.written}});
}

void add_edit_effect(TestRun& run, int64_t fact, const std::string& variant,
                     const std::string& scope, int64_t right, int64_t changed, int64_t success,
                     double after = -8) {
  run.add("edit_effect", {{"fact", fact},
                          {"variant", variant},
                          {"scope", scope},
                          {"prompts", int64_t{4}},
                          {"right", right},
                          {"changed", changed},
                          {"success", success},
                          {"log_p_before", -4.0},
                          {"log_p_after", after}});
}

TEST(UpdateTables, DrawsOfARandomVariantAreAveraged) {
  TestRun run;
  run.fact(0, "P19", "s", "o", 4, 4);
  add_edit(run, {0, "knowledge", 2, 1, 0.1, 2});
  add_edit(run, {0, "random-activated", 2, 1, 0.1, 0.5});
  add_edit_effect(run, 0, "knowledge", "own", 4, 4, 4);
  add_edit_effect(run, 0, "random-activated", "own", 4, 0, 0);
  for (int draw = 0; draw < 3; ++draw) {
    const std::string name = "random-equal-write/" + std::to_string(draw);
    add_edit(run, {0, name, draw == 2 ? 0 : 2, 1, 0.1, 2});
    if (draw < 2) add_edit_effect(run, 0, name, "own", 4, 2 + draw, 1 + draw);
  }
  RunStore store = run.write();
  const RunReport report = make_report(store, few_draws());
  const ReportTable& table = report_table(report, "update");
  const std::vector<std::string> equal = {"random activated neurons, equal write", "own prompts"};
  EXPECT_EQ(value(table, equal, "change rate"), 2.5 / 4);
  EXPECT_EQ(value(table, equal, "success rate"), 1.5 / 4);
  EXPECT_EQ(value(table, equal, "facts edited"), 1);
  EXPECT_EQ(value(table, equal, "prompts with o before"), 4);
  EXPECT_EQ(value(table, equal, "written, of the located neurons'"), 1);
  EXPECT_EQ(
      value(table, {"random activated neurons", "own prompts"}, "written, of the located neurons'"),
      0.25);
  EXPECT_EQ(value(report_table(report, "update-difference"), equal, "success rate"), 2.5 / 4);
}

TEST(UpdateTables, RatesByHand) {
  TestRun run;
  for (int64_t id = 0; id < 5; ++id) {
    run.fact(id, id < 3 ? "P19" : "P36", "s", "o" + std::to_string(id), 4, 4);
  }
  add_edit(run, {0, "knowledge"});
  add_edit(run, {1, "knowledge", 2, 1, 0.3});
  add_edit(run, {2, "knowledge", 0});     // no neurons: counted, not edited
  add_edit(run, {3, "knowledge", 2, 0});  // o was a wrong answer
  add_edit(run, {0, "random"});
  add_edit_effect(run, 0, "knowledge", "own", 4, 3, 2);
  add_edit_effect(run, 1, "knowledge", "own", 2, 1, 1);
  add_edit_effect(run, 3, "knowledge", "own", 4, 4, 4);
  add_edit_effect(run, 0, "knowledge", "held-out", 4, 1, 0);
  add_edit_effect(run, 1, "knowledge", "held-out", 4, 4, 4);
  add_edit_effect(run, 0, "knowledge", "same-relation", 4, 0, 0);
  add_edit_effect(run, 0, "random", "own", 4, 1, 0);
  add_edit(run, {3, "random", 2, 0});
  add_edit_effect(run, 3, "random", "own", 4, 4, 1);
  RunStore store = run.write();
  const RunReport report = make_report(store, few_draws());
  const ReportTable& table = report_table(report, "update");
  const std::vector<std::string> own = {"knowledge neurons", "own prompts"};
  expect_around(cell(table, own, "change rate"), 4.0 / 6);
  expect_around(cell(table, own, "success rate"), 3.0 / 6);
  EXPECT_EQ(value(table, own, "facts edited"), 2);
  EXPECT_EQ(value(table, own, "without neurons"), 1);
  const std::vector<std::string> held_out = {"knowledge neurons", "held-out prompts"};
  EXPECT_EQ(value(table, held_out, "change rate"), 5.0 / 8);
  EXPECT_EQ(value(report_table(report, "update-wrong"), own, "success rate"), 1);
  // Over the one fact that both edit: 3/4 - 1/4.
  EXPECT_EQ(value(report_table(report, "update-difference"), {"random neurons", "own prompts"},
                  "change rate"),
            0.5);
  EXPECT_EQ(value(report_table(report, "update-wrong-difference"),
                  {"random neurons", "own prompts"}, "success rate"),
            0.75);
  const ReportTable& perplexity = report_table(report, "update-perplexity");
  const std::vector<std::string> same = {"knowledge neurons", "other facts of the relation"};
  EXPECT_NEAR(value(perplexity, same, "before"), std::exp(1), 1e-12);
  EXPECT_NEAR(value(perplexity, same, "rise"), std::exp(2) - std::exp(1), 1e-12);
  EXPECT_NEAR(value(perplexity, same, "rise over before"), std::exp(1) - 1, 1e-12);
  // By P of o' before: fact 0, then fact 1.
  const ReportTable& prior = report_table(report, "update-prior");
  const auto& low = row_of(prior, {"P of o' before"});
  EXPECT_EQ(low[1].number.value, 0.1);
  EXPECT_EQ(low[6].number.value, 0);
  EXPECT_EQ(prior.rows[1][1].number.value, 0.3);
  EXPECT_EQ(prior.rows[1][6].number.value, 1);
}

TEST(UpdateTables, DifferencesOfOneKindOfPromptsAreAdjustedTogether) {
  TestRun run;
  const std::vector<std::string> variants = {"knowledge", "activation", "random", "other-fact"};
  for (int64_t id = 0; id < 12; ++id) {
    run.fact(id, id % 2 == 0 ? "P19" : "P36", "s", "o" + std::to_string(id), 4, 4);
    for (size_t v = 0; v < variants.size(); ++v) {
      add_edit(run, {id, variants[v]});
      // The first control does nearly as well, the last does nothing.
      const int64_t success = std::max<int64_t>(0, 4 - static_cast<int64_t>(v) - (id + 1) % 3);
      add_edit_effect(run, id, variants[v], "own", 4, 4, success);
      add_edit_effect(run, id, variants[v], "held-out", 4, 4, success / 2);
    }
  }
  RunStore store = run.write();
  const RunReport report = make_report(store, few_draws());
  const ReportTable& table = report_table(report, "update-difference");
  ASSERT_EQ(table.rows.size(), 6U);
  for (const std::string prompts : {"own prompts", "held-out prompts"}) {
    std::vector<double> p;
    std::vector<double> adjusted;
    for (const std::string control :
         {"activation baseline", "random neurons", "another fact's neurons"}) {
      p.push_back(value(table, {control, prompts}, "p"));
      adjusted.push_back(value(table, {control, prompts}, "p (Holm)"));
      EXPECT_GT(p.back(), 0);
    }
    EXPECT_EQ(adjusted, holm(p));
    EXPECT_GT(adjusted, p);
  }
}

TEST(UpdateTables, SweepIsSortedAndDrawn) {
  TestRun run;
  run.fact(0, "P19", "s", "o", 4, 4);
  for (const char* setting : {"l1=1,l2=8,n=all", "l1=1,l2=2,n=all", "l1=1,l2=16,n=all",
                              "l1=1,l2=8,n=2", "l1=0,l2=8,n=all", "nonsense"}) {
    const std::string variant = std::string("sweep/") + setting;
    add_edit(run, {0, variant});
    add_edit_effect(run, 0, variant, "own", 4, 2, 1);
  }
  RunStore store = run.write();
  const RunReport report = make_report(store, few_draws());
  const ReportTable& table = report_table(report, "update-sweep");
  std::vector<std::string> order;
  for (const auto& row : table.rows) {
    order.push_back(row[0].text + "/" + row[1].text + "/" + row[2].text);
  }
  EXPECT_EQ(order,
            (std::vector<std::string>{"0/8/all", "1/2/all", "1/8/2", "1/8/all", "1/16/all"}));
  EXPECT_EQ(table.rows[1][4].number.value, 0.5);
  const std::string html = report_html(report);
  EXPECT_NE(html.find("id=\"update-sweep-lambda2-chart\""), std::string::npos);
  // One fact is nothing to resample.
  EXPECT_TRUE(std::isnan(table.rows[1][4].number.low));
}

// --- erasure -------------------------------------------------------------------------------------

void add_erase(TestRun& run, const std::string& relation, const std::string& source, int64_t draw,
               int64_t neurons, const std::string& scope, double rise,
               const std::string& mode = "zero") {
  run.add("erase", {{"relation", relation},
                    {"source", source},
                    {"draw", draw},
                    {"mode", mode},
                    {"neurons", neurons},
                    {"scope", scope},
                    {"prompts", int64_t{10}},
                    {"log_p_before", -20.0},
                    {"log_p_after", -20 - 10 * rise},
                    {"p_before", 5.0},
                    {"p_after", 2.0},
                    {"top_before", int64_t{8}},
                    {"top_after", int64_t{3}},
                    {"log_rank_before", 0.0},
                    {"log_rank_after", 10 * rise},
                    {"log_odds_before", 5.0},
                    {"log_odds_after", 5.0 - 20 * rise}});
}

TEST(EraseTables, FactorsByHand) {
  TestRun run;
  run.fact(0, "P19", "a", "x", 4, 4).fact(1, "P36", "b", "y", 4, 4);
  add_erase(run, "P19", "relation", 0, 5, "own", 0.1);
  add_erase(run, "P19", "relation", 0, 20, "own", 0.4);
  add_erase(run, "P36", "relation", 0, 5, "own", 0.2);
  add_erase(run, "P36", "relation", 0, 12, "own", 0.8);  // it has no more than twelve
  add_erase(run, "P19", "relation", 0, 20, "own known", 0.3);
  add_erase(run, "P19", "random-layer", 0, 20, "own", 0.0);
  add_erase(run, "P19", "random-layer", 1, 20, "own", 0.2);
  add_erase(run, "P19", "relation", 0, 20, "own", 0.5, "unk");
  RunStore store = run.write();
  const RunReport report = make_report(store, few_draws());
  const ReportTable& table = report_table(report, "erase");
  const std::vector<std::string> own = {"zero", "own prompts"};
  EXPECT_EQ(value(table, own, "relations"), 2);
  EXPECT_NEAR(value(table, own, "perplexity before"), std::exp(2), 1e-9);
  expect_around(cell(table, own, "factor"), std::exp(0.6));
  EXPECT_NEAR(value(table, own, "change of accuracy"), -0.5, 1e-12);
  EXPECT_NEAR(value(table, {"[UNK] embedding", "own prompts"}, "factor"), std::exp(0.5), 1e-12);
  const ReportTable& controls = report_table(report, "erase-controls");
  // Mean of both draws; beyond it over P19 alone.
  EXPECT_NEAR(value(controls, {"random: same layer", "own prompts"}, "perplexity factor"),
              std::exp(0.1), 1e-12);
  EXPECT_NEAR(
      value(controls, {"random: same layer", "own prompts"}, "relation's neurons beyond this"),
      std::exp(0.3), 1e-12);
  EXPECT_NEAR(value(controls, {"the relation's neurons", "own prompts"}, "change of log-odds"),
              -2 * 0.6, 1e-12);
  EXPECT_NEAR(value(controls, {"random: same layer", "own prompts"},
                    "relation's neurons beyond this, log-odds"),
              -2 * 0.3, 1e-12);
  const ReportTable& audit = report_table(report, "erase-audit");
  EXPECT_NEAR(value(audit, own, "change of log-odds"), -2 * 0.6, 1e-12);
  EXPECT_NEAR(value(audit, own, "rank before"), 1, 1e-12);
  EXPECT_NEAR(value(audit, {own[0], own[1], "known"}, "change of log-odds"), -2 * 0.3, 1e-12);
  const ReportTable& relations = report_table(report, "erase-relations");
  EXPECT_NEAR(value(relations, {"P19"}, "after: zero"), std::exp(2.4), 1e-9);
  EXPECT_EQ(value(relations, {"P36"}, "neurons"), 12);
  EXPECT_EQ(value(relations, {"P19"}, "ACL 2022 (zero): after"), 2996);
  const ReportTable& sweep = report_table(report, "erase-sweep");
  EXPECT_NEAR(value(sweep, {"the relation's neurons"}, "own prompts: factor"), std::exp(0.15),
              1e-12);
  ASSERT_FALSE(sweep.notes.empty());
  EXPECT_NE(sweep.notes[0].find("Unions"), std::string::npos);
}

// --- texts ---------------------------------------------------------------------------------------

TEST(TextTables, FactsCountTheSameAndDifferencesAreOverFactsWithBoth) {
  TestRun run;
  run.fact(0, "P19", "a", "x", 4, 0).fact(1, "P19", "b", "y", 4, 0);
  const auto add = [&](int64_t fact, const std::string& source, const std::string& kind,
                       int64_t draw, int64_t texts, double sum) {
    run.add("text_activation", {{"fact", fact},
                                {"source", source},
                                {"kind", kind},
                                {"mask", std::string("released")},
                                {"draw", draw},
                                {"texts", texts},
                                {"sum", sum}});
  };
  add(0, "ig", "both", 0, 10, 5);
  add(1, "ig", "both", 0, 2, 2);
  add(0, "ig", "head", 0, 4, 1);
  add(0, "random-layer", "both", 0, 10, 1);
  add(0, "random-layer", "both", 1, 10, 3);
  // The model knows the first fact, and never gives the second one's answer.
  for (int64_t fact = 0; fact < 2; ++fact) {
    run.add("attribution", {{"method", std::string("ig")},
                            {"fact", fact},
                            {"prompt", int64_t{0}},
                            {"p", 0.25},
                            {"answer_rank", 1 + fact},
                            {"converged", int64_t{1}}});
  }
  RunStore store = run.write();
  const RunReport report = make_report(store, few_draws());
  const ReportTable& table = report_table(report, "texts");
  const std::vector<std::string> both = {"head and tail, as released (tail asked for)"};
  expect_around(cell(table, both, "knowledge neurons"), 0.75);
  EXPECT_EQ(value(table, both, "facts"), 2);
  EXPECT_EQ(value(table, both, "number of texts"), 12);
  EXPECT_NEAR(value(table, both, "random: same layer"), 0.2, 1e-12);
  EXPECT_NEAR(value(table, both, "knowledge minus random"), 0.3, 1e-12);
  EXPECT_NEAR(value(table, {both.front(), "known"}, "knowledge neurons"), 0.5, 1e-12);
  EXPECT_NEAR(value(table, {both.front(), "never"}, "knowledge neurons"), 1.0, 1e-12);
  const ReportTable& contrast = report_table(report, "texts-contrast");
  EXPECT_NEAR(value(contrast, {"head only"}, "knowledge neurons"), 0.25, 1e-12);
  EXPECT_EQ(value(contrast, {"head only"}, "facts"), 1);
}

TEST(TextTables, TheRegressionKeepsTheLogOddsApartFromTheKind) {
  TestRun run;
  run.fact(0, "P19", "a", "x", 4, 0).fact(1, "P19", "b", "y", 4, 0);
  run.add("text_activation", {{"fact", int64_t{0}},
                              {"source", std::string("ig")},
                              {"kind", std::string("both")},
                              {"mask", std::string("released")},
                              {"draw", int64_t{0}},
                              {"texts", int64_t{2}},
                              {"sum", 8.0}});
  struct Sums {
    int64_t texts;
    double x, y, xx, xy;
  };
  const auto add = [&](int64_t fact, const std::string& source, const std::string& kind,
                       const std::string& mask, int64_t draw, const Sums& sums) {
    run.add("text_odds", {{"fact", fact},
                          {"source", source},
                          {"kind", kind},
                          {"mask", mask},
                          {"draw", draw},
                          {"texts", sums.texts},
                          {"log_odds", sums.x},
                          {"activation", sums.y},
                          {"log_odds_squared", sums.xx},
                          {"product", sums.xy}});
  };
  // Worked out by hand: y = 1 + 2 k + x/2 on (k, x) = (1, 1), (1, 3), (0, 0), (0, 2) for the one
  // fact, y = 5 + 2 k + x/2 on (1, 2), (0, 0), (0, 4) for the other. Without x the kind has (2.5 +
  // 4/3) / (1 + 2/3) = 2.3.
  add(0, "ig", "both", "released", 0, {2, 4, 8, 10, 17});
  add(0, "ig", "tail", "object", 0, {2, 2, 3, 4, 4});
  add(1, "ig", "both", "released", 0, {1, 2, 8, 4, 16});
  add(1, "ig", "tail", "object", 0, {2, 4, 12, 16, 28});
  // Two random draws of the one fact are averaged: y = 3 x and y = x.
  for (const int64_t draw : {0, 1}) {
    const double slope = draw == 0 ? 3 : 1;
    add(0, "random-layer", "both", "released", draw, {2, 4, slope * 4, 10, slope * 10});
    add(0, "random-layer", "tail", "object", draw, {2, 2, slope * 2, 4, slope * 4});
  }
  RunStore store = run.write();
  const RunReport report = make_report(store, few_draws());
  const ReportTable& table = report_table(report, "texts-regression");
  EXPECT_EQ(value(table, {"tail only"}, "facts"), 2);
  EXPECT_NEAR(value(table, {"tail only"}, "knowledge neurons: difference"), 2.3, 1e-12);
  EXPECT_NEAR(value(table, {"tail only"}, "knowledge neurons: at equal log-odds"), 2, 1e-12);
  EXPECT_NEAR(value(table, {"tail only"}, "knowledge neurons: per unit of log-odds"), 0.5, 1e-12);
  EXPECT_NEAR(value(table, {"tail only"}, "random: same layer: at equal log-odds"), 0, 1e-12);
  EXPECT_NEAR(value(table, {"tail only"}, "random: same layer: per unit of log-odds"), 2, 1e-12);
  EXPECT_TRUE(std::isnan(value(table, {"tail only"}, "activation baseline: at equal log-odds")));
}

// --- the whole -----------------------------------------------------------------------------------

TEST(Report, TheSameRunGivesTheSameBytes) {
  TestRun run;
  testing::fill_demo(run);
  RunStore store = run.write();
  const std::string first = report_json(make_report(store, few_draws()));
  EXPECT_EQ(first, report_json(make_report(store, few_draws())));
  ReportOptions other = few_draws();
  other.bootstrap.seed = 1;
  EXPECT_NE(first, report_json(make_report(store, other)));
}

/// A fact whose answer is the top one on its own prompts, and on held-out ones until `k` neurons
/// are suppressed.
void add_sized_fact(TestRun& run, int64_t id, int64_t lost_at) {
  run.fact(id, "P" + std::to_string(id % 2), "subject " + std::to_string(id),
           "object " + std::to_string(id), 2, 4);
  for (int64_t prompt = 0; prompt < 2; ++prompt) {
    run.add("attribution", {{"method", std::string("ig")},
                            {"fact", id},
                            {"prompt", prompt},
                            {"p", 0.5},
                            {"answer_rank", int64_t{1}}});
  }
  for (const char* order : experiments::sizes::kOrders) {
    for (const int64_t k : experiments::sizes::kSizes) {
      const bool lost = order == experiments::sizes::kByScore && k >= lost_at;
      run.add("size_effect", {{"fact", id},
                              {"order", std::string(order)},
                              {"k", k},
                              {"prompts", int64_t{4}},
                              {"log_odds", 4.0},
                              {"top", int64_t{3}},
                              {"change_log_odds", lost ? -8.0 : -0.4},
                              {"change_p", -0.1},
                              {"top_after", int64_t{lost ? 1 : 2}}});
    }
  }
}

TEST(Report, SizesSayAtWhichKHalfOfTheKnownFactsAreLost) {
  TestRun run;
  for (int64_t id = 0; id < 20; ++id) add_sized_fact(run, id, id < 8 ? 4 : (id < 12 ? 10 : 100));
  RunStore store = run.write();
  const RunReport report = make_report(store, few_draws());
  const ReportTable& k50 = report_table(report, "sizes-k50");
  ASSERT_EQ(k50.rows.size(), 3U);
  // Eight of 20 known facts are lost at 4, twelve at 10.
  EXPECT_EQ(k50.rows[0][1].number.value, 20);
  EXPECT_EQ(k50.rows[0][2].number.value, 10);
  EXPECT_EQ(k50.rows[1][2].text, "more than 200");
  const ReportTable& table = report_table(report, "sizes");
  const auto row =
      std::ranges::find(table.rows, 5.0, [](const auto& cells) { return cells[0].number.value; });
  ASSERT_NE(row, table.rows.end());
  EXPECT_NEAR((*row)[1].number.value, (8 * -2.0 + 12 * -0.1) / 20, 1e-9);
  EXPECT_NEAR((*row)[4].number.value, 12.0 / 20, 1e-9);
  EXPECT_NEAR((*row)[5].number.value, 1, 1e-9);
}

TEST(Report, MemoriesCountKeysByLayerAndInRangesOfP) {
  TestRun run;
  const auto add = [&](int64_t layer, int64_t neuron, bool pattern, int64_t rank) {
    TestRun::Named row = {{"layer", layer},
                          {"neuron", neuron},
                          {"triggers", rank > 0 ? int64_t{25} : int64_t{0}},
                          {"shared", pattern ? 3 + neuron : int64_t{1}},
                          {"has_pattern", int64_t{pattern ? 1 : 0}},
                          {"direction_pattern", int64_t{0}},
                          {"shuffled_pattern", int64_t{1}},
                          {"top_p", 0.1 * static_cast<double>(neuron)}};
    const TestRun::Named of_trigger = {{"pattern", std::string("a b")},
                                       {"agrees", int64_t{rank == 1 ? 1 : 0}},
                                       {"rank", rank},
                                       {"chance", 0.25},
                                       {"chance_rank", int64_t{10}},
                                       {"trigger", std::string("in a b")},
                                       {"next", std::string("c")}};
    for (const auto& [name, value] : of_trigger) {
      row[name] = rank > 0 ? value : Value(std::monostate{});
    }
    run.add("memory_key", row);
  };
  add(0, 0, true, 1);
  add(0, 1, true, 5);
  add(0, 2, false, 0);  // no trigger: no part of the agreement
  add(1, 4, false, 3);
  RunStore store = run.write();
  const RunReport report = make_report(store, few_draws());
  const ReportTable& table = report_table(report, "memories");
  ASSERT_EQ(table.rows.size(), 3U);
  const auto value = [&](size_t row, size_t column) {
    return table.rows[row][column].number.value;
  };
  EXPECT_EQ(value(0, 1), 3);
  EXPECT_NEAR(value(0, 2), 2.0 / 3, 1e-12);
  EXPECT_EQ(value(0, 3), 0);
  EXPECT_EQ(value(0, 4), 1);
  EXPECT_EQ(value(0, 5), 0.5);
  EXPECT_EQ(value(0, 7), 3);
  EXPECT_EQ(table.rows[2][0].text, "all");
  EXPECT_NEAR(value(2, 2), 0.5, 1e-12);
  EXPECT_NEAR(value(2, 5), 1.0 / 3, 1e-12);
  EXPECT_NEAR(value(2, 6), 0.25, 1e-12);
  const ReportTable& bins = report_table(report, "memories-by-p");
  ASSERT_EQ(bins.rows.size(), 3U);  // as many as there are keys
  EXPECT_NEAR(bins.rows[2][0].number.value, 0.4, 1e-12);
  const ReportTable& examples = report_table(report, "memories-examples");
  ASSERT_EQ(examples.rows.size(), 1U);  // layer 1 has no pattern
  EXPECT_EQ(examples.rows[0][0].text, "0:1");
}

TEST(Report, NothingIsSkippedInAFullRunAndRowsFitTheirColumns) {
  TestRun run;
  testing::fill_demo(run);
  RunStore store = run.write();
  const RunReport report = make_report(store, few_draws());
  for (const ReportSection& section : report.sections) {
    for (const ReportBlock& block : section.blocks) {
      const auto* table = std::get_if<ReportTable>(&block);
      if (table == nullptr) continue;
      EXPECT_EQ(table->skipped, "") << table->id;
      EXPECT_FALSE(table->meaning.empty()) << table->id;
      for (const auto& row : table->rows) EXPECT_EQ(row.size(), table->columns.size()) << table->id;
    }
  }
}

TEST(Report, TheSummaryRepeatsTheTables) {
  TestRun run;
  testing::fill_demo(run);
  RunStore store = run.write();
  const RunReport report = make_report(store, few_draws());
  const ReportTable& summary = report_table(report, "summary");
  EXPECT_EQ(summary.rows.size(), 21U);
  const ReportCell& change =
      cell(report_table(report, "suppress"), {"held-out prompts", "all"}, "knowledge neurons");
  const auto& line = summary.rows.at(4);
  EXPECT_EQ(cell_text(line[1], CellFormat::kNumber), cell_text(change, CellFormat::kSigned));
  EXPECT_EQ(line[1].number.low, change.number.low);
  EXPECT_EQ(cell_text(summary.rows.at(7)[2], CellFormat::kNumber), "-29.0 %");
  EXPECT_EQ(cell_text(line[2], CellFormat::kNumber), "-");
}

TEST(Cells, AreWrittenAsNumbersWithTheDigitsOfTheirInterval) {
  EXPECT_EQ(cell_text(number_cell(0.5), CellFormat::kPercent), "50.0 %");
  EXPECT_EQ(cell_text(number_cell(0.0034), CellFormat::kPercent), "0.34 %");
  EXPECT_EQ(cell_text(number_cell(-0.2903), CellFormat::kSignedPercent), "-29.0 %");
  EXPECT_EQ(cell_text(number_cell(0.12), CellFormat::kSignedPercent), "+12.0 %");
  EXPECT_EQ(cell_text(number_cell(-0.000001), CellFormat::kSignedPercent), "0.00 %");
  EXPECT_EQ(cell_text(number_cell(1234567), CellFormat::kCount), "1,234,567");
  EXPECT_EQ(cell_text(number_cell(200), CellFormat::kSeconds), "3 min 20 s");
  EXPECT_EQ(cell_text(number_cell(NAN), CellFormat::kNumber), "-");
  EXPECT_EQ(cell_text(number_cell(INFINITY), CellFormat::kNumber), "∞");
  EXPECT_EQ(cell_text(number_cell(0), CellFormat::kSigned), "0.000");
  EXPECT_EQ(cell_text(number_cell(3e-6), CellFormat::kNumber), "3.00e-06");
  const ReportCell wide = interval_cell({0.002, -0.5, 12});
  EXPECT_EQ(cell_text(wide, CellFormat::kSigned), "0.00");
  EXPECT_EQ(interval_text(wide, CellFormat::kSigned), "[-0.50, +12.00]");
  EXPECT_EQ(interval_text(interval_cell({0.2, NAN, NAN}), CellFormat::kNumber), "");
  EXPECT_EQ(interval_text(text_cell("x"), CellFormat::kNumber), "");
  EXPECT_EQ(cell_text(text_cell(""), CellFormat::kText), "-");
}

TEST(Cells, CsvQuotesTextsAndKeepsNumbersWhole) {
  ReportTable table;
  table.columns = {{"a,b", CellFormat::kText}, {"value", CellFormat::kPercent}};
  table.rows = {{text_cell("say \"hi\"\n"), interval_cell({0.1, 0.05, 1.0 / 3})},
                {text_cell("plain"), number_cell(NAN)}};
  EXPECT_EQ(table_csv(table),
            "\"a,b\",value,value low,value high\r\n"
            "\"say \"\"hi\"\"\n\",0.1,0.05,0.33333333333333331\r\n"
            "plain,,,\r\n");
}

}  // namespace
}  // namespace engram
