// Tables against numbers worked out by hand.
#include "engram/report/tables.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engram/error.h"
#include "engram/statistics/neuron_sets.h"
#include "report/table_cells.h"
#include "report/test_run.h"

namespace engram {
namespace {

using testing::cell;
using testing::expect_around;
using testing::few_draws;
using testing::row_of;
using testing::TestRun;
using testing::value;

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
  // Of half an answer each a quarter and a tenth are lost; on held-out prompts nothing is asked.
  EXPECT_NEAR(value(report_table(report, "suppress-lost"), {"own prompts"}, "knowledge neurons"),
              0.35, 1e-12);
  EXPECT_NEAR(value(report_table(report, "suppress-lost"), {"own prompts"}, "activation baseline"),
              0.05 - 0.04, 1e-12);
  EXPECT_EQ(report_table(report, "suppress-lost").rows.size(), 1U);
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
