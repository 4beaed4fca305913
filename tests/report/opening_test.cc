// What the page opens with: names, warnings, the verdict and the forest plot of a run.
#include <gtest/gtest.h>

#include <cmath>

#include "engram/report/tables.h"
#include "report/relations.h"
#include "report/sections.h"
#include "report/test_run.h"
#include "report/verdict.h"

namespace engram {
namespace {

using testing::TestRun;

ReportOptions opening_draws() {
  ReportOptions options;
  options.bootstrap.draws = 100;
  return options;
}

RunReport opening_demo() {
  TestRun run;
  testing::fill_demo(run);
  RunStore store = run.write();
  return make_report(store, opening_draws());
}

TEST(Report, NamesTheModelAndTheRelations) {
  TestRun run;
  testing::fill_demo(run);
  RunStore store = run.write();
  const RunReport report = make_report(store, opening_draws());
  EXPECT_EQ(report.title, "Knowledge neurons of engram-base");
  EXPECT_NE(report.subtitle.find("6 layers of 512 FFN neurons; 60 facts of 5 relations"),
            std::string::npos)
      << report.subtitle;
  EXPECT_TRUE(report.warnings.empty());
  for (const std::string& text : {report_html(report), report_markdown(report)}) {
    EXPECT_NE(text.find("P19 (place of birth)"), std::string::npos);
    EXPECT_NE(text.find("P1412 (languages spoken, written or signed)"), std::string::npos);
  }
  // Machines get the name alone.
  EXPECT_EQ(report_json(report).find("place of birth"), std::string::npos);
  const ReportTable& neurons = report_table(report, "relations");
  EXPECT_NE(table_csv(neurons).find("\nP19,"), std::string::npos);
}

TEST(Report, SaysOneFactOfOneRelationAndWarns) {
  TestRun run;
  run.fact(0, "P178", "a", "x", 8, 0);
  RunStore store = run.write();
  const RunReport report = make_report(store, opening_draws());
  EXPECT_NE(report.subtitle.find("1 fact of 1 relation: P178 (developer)"), std::string::npos)
      << report.subtitle;
  ASSERT_EQ(report.warnings.size(), 1U);
  EXPECT_NE(report.warnings[0].find("has 1 fact of 1 relation."), std::string::npos);
  EXPECT_NE(report_html(report).find(report.warnings[0]), std::string::npos);
}

TEST(Report, TakesTheModelsNameFromTheCommand) {
  const auto title = [](const std::string& command) {
    TestRun run;
    run.fact(0, "P178", "a", "x", 8, 0).command(command);
    RunStore store = run.write();
    return make_report(store, opening_draws()).title;
  };
  const std::string named = "Knowledge neurons of ";
  EXPECT_EQ(title("engram reproduce /models/bert-base-cased/ --facts x"),
            named + "bert-base-cased");
  EXPECT_EQ(title("engram locate my models/mine -f x"), named + "mine");
  EXPECT_EQ(title("engram reproduce /hub/models--org--a-b/snapshots/01ab --run r"),
            named + "org/a-b");
  EXPECT_EQ(title("engram reproduce /hub/models--bert/snapshots/01ab"), named + "bert");
  for (const char* none : {"", "engram", "engram reproduce", "engram reproduce --facts x m",
                           "engram reproduce . --facts x"}) {
    EXPECT_EQ(title(none), "Knowledge neurons: report of a run") << none;
  }
}

TEST(Report, WarnsUnder50FactsOr5Relations) {
  const auto warnings = [](int64_t facts, int64_t relations) {
    TestRun run;
    for (int64_t id = 0; id < facts; ++id) {
      run.fact(id, "R" + std::to_string(id % relations), "a", "x", 3, 0);
    }
    RunStore store = run.write();
    return make_report(store, opening_draws()).warnings.size();
  };
  EXPECT_EQ(warnings(50, 5), 0U);
  EXPECT_EQ(warnings(49, 5), 1U);
  EXPECT_EQ(warnings(50, 4), 1U);
}

TEST(Relations, HaveTheirLabels) {
  for (const auto& [name, label] : {std::pair{"P1001", "applies to jurisdiction"},
                                    {"P178", "developer"},
                                    {"P36", "capital"},
                                    {"P937", "work location"}}) {
    EXPECT_EQ(relation_label(name), label);
    EXPECT_EQ(relation_title(name), std::string(name) + " (" + label + ")");
  }
  for (const char* other : {"", "P", "P1", "P9999", "p178", "capital_of"}) {
    EXPECT_EQ(relation_label(other), "") << other;
    EXPECT_EQ(relation_title(other), other);
  }
}

TEST(Opening, TheVerdictsNumbersAreThoseOfTheTables) {
  const RunReport report = opening_demo();
  const VerdictInput input = verdict_input(report);
  const auto number = [&](const char* table, const std::vector<std::string>& labels,
                          const char* column) {
    const std::optional<ReportCell> cell = find_cell(report, table, labels, column);
    EXPECT_TRUE(cell.has_value()) << table << ": " << labels.front();
    return cell ? cell->number.value : NAN;
  };
  EXPECT_EQ(input.own.change.value,
            number("suppress", {"own prompts", "all"}, "knowledge neurons"));
  EXPECT_EQ(input.held_out.change.value,
            number("suppress", {"held-out prompts", "all"}, "knowledge neurons"));
  EXPECT_EQ(input.other_facts.value,
            number("suppress", {"other facts of the relation", "all"}, "knowledge neurons"));
  EXPECT_FALSE(std::isnan(input.known.value));
  for (const VerdictInput::Effect* effect : {&input.own, &input.held_out}) {
    EXPECT_FALSE(std::isnan(effect->change.value));
    EXPECT_FALSE(std::isnan(effect->other_set.value));
    ASSERT_EQ(effect->controls.size(), 5U);
    for (const VerdictInput::Control& control : effect->controls) {
      EXPECT_FALSE(std::isnan(control.difference.value)) << control.name;
    }
  }
  ASSERT_EQ(report.verdict.size(), 6U);
  EXPECT_NE(report_html(report).find("<section id=\"verdict\">"), std::string::npos);
  EXPECT_NE(report_markdown(report).find(report.verdict[0].question.substr(0, 20)),
            std::string::npos);
}

TEST(Opening, OneForestPlotShowsEverySetOnBothKindsOfPrompts) {
  const RunReport report = opening_demo();
  const Chart chart = forest_chart(report);
  const std::vector<std::string> expected = {
      "knowledge neurons",  "random: same layer", "random: + activation, value",
      "random: + gradient", "next neurons",       "activation, same number",
      "another fact's"};
  EXPECT_EQ(chart.categories, expected);
  ASSERT_EQ(chart.series.size(), 2U);
  for (const ChartSeries& series : chart.series) EXPECT_EQ(series.points.size(), expected.size());
  const auto& first = report.sections.front().blocks.front();
  ASSERT_TRUE(std::holds_alternative<Chart>(first));
  EXPECT_EQ(std::get<Chart>(first).id, "forest");
}

TEST(Opening, WithoutEffectsThereIsNoForestPlotAndNothingIsClaimed) {
  TestRun run;
  run.fact(0, "P178", "a", "x", 8, 0);
  RunStore store = run.write();
  const RunReport report = make_report(store, opening_draws());
  EXPECT_TRUE(forest_chart(report).series.empty());
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(report.verdict.at(i).answer.substr(0, 12), "Not measured");
  }
}

TEST(Opening, DrawsOfARandomSetAreOneEditTheirMean) {
  TestRun run;
  run.fact(0, "P178", "a", "x", 8, 4).fact(1, "P178", "b", "y", 8, 4);
  const auto edit = [&](int64_t fact, const std::string& variant, int64_t neurons,
                        int64_t success) {
    run.add("edit", {{"fact", fact},
                     {"variant", variant},
                     {"old", std::string("o")},
                     {"target", std::string("p")},
                     {"right", int64_t{1}},
                     {"neurons", neurons}});
    if (neurons == 0) return;
    run.add("edit_effect", {{"fact", fact},
                            {"variant", variant},
                            {"scope", std::string("held-out")},
                            {"prompts", int64_t{4}},
                            {"right", int64_t{4}},
                            {"changed", int64_t{4}},
                            {"success", success},
                            {"log_p_before", -1.0},
                            {"log_p_after", -2.0}});
  };
  edit(0, "knowledge", 2, 4);
  edit(1, "knowledge", 2, 2);
  edit(0, "random-equal-write/0", 2, 1);
  edit(0, "random-equal-write/1", 2, 3);
  edit(1, "random-equal-write/0", 0, 0);  // a draw without neurons is none
  edit(1, "random-equal-write/1", 2, 0);
  RunStore store = run.write();
  const RunReport report = make_report(store, opening_draws());
  const auto rate =
      find_cell(report, "update", {"random activated neurons, equal write", "held-out prompts"},
                "success rate");
  ASSERT_TRUE(rate.has_value());
  EXPECT_DOUBLE_EQ(rate->number.value, (2.0 + 0.0) / 8.0);
  const VerdictInput input = verdict_input(report);
  ASSERT_TRUE(input.update.has_value());
  EXPECT_DOUBLE_EQ(input.update->difference.value, 6.0 / 8.0 - 2.0 / 8.0);
  EXPECT_DOUBLE_EQ(input.update_rate.value, 6.0 / 8.0);
}

}  // namespace
}  // namespace engram
