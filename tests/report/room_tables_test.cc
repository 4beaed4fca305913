// Tables of texts, sizes and memories against numbers worked out by hand.
#include "engram/report/tables.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "experiments/sizes/rows.h"
#include "report/table_cells.h"
#include "report/test_run.h"

namespace engram {
namespace {

using testing::cell;
using testing::expect_around;
using testing::few_draws;
using testing::TestRun;
using testing::value;

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

}  // namespace
}  // namespace engram
