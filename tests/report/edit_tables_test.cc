// Tables of updates and erasures against numbers worked out by hand.
#include "engram/report/tables.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engram/error.h"
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

TEST(EraseTables, WhatStandsInTheValuesPlaceIsDecidedOnText) {
  // In text tokens do as [UNK] does, give or take a hundredth; on the relations' own prompts less.
  for (const double apart : {0.01, 1.0}) {
    TestRun run;
    for (int64_t r = 0; r < 8; ++r) {
      const std::string relation = "P" + std::to_string(r);
      run.fact(r, relation, "a", "x" + std::to_string(r), 4, 4);
      add_erase(run, relation, "relation", 0, 20, "text", 0.5, "unk");
      add_erase(run, relation, "relation", 0, 20, "text", 0.5 + apart, "token");
      add_erase(run, relation, "relation", 1, 20, "text", 0.5 - apart / 2, "token");
      add_erase(run, relation, "relation", 0, 20, "own", 0.5 + 0.1 * static_cast<double>(r), "unk");
      add_erase(run, relation, "relation", 0, 20, "own", 0.4, "token");
      // Without a token beside it a relation does not count.
      add_erase(run, relation, "relation", 0, 20, "held-out", 0.4, "unk");
    }
    RunStore store = run.write();
    const RunReport report = make_report(store, few_draws());
    const ReportTable& table = report_table(report, "erase-value");
    EXPECT_EQ(table.rows.size(), 2U);
    EXPECT_EQ(value(table, {"own prompts"}, "relations"), 8);
    EXPECT_NEAR(value(table, {"own prompts"}, "ratio, minus 1"), 2.85 / 2.4 - 1, 1e-12);
    EXPECT_NEAR(value(table, {"ordinary text"}, "random tokens"), 2.5 + apart / 4, 1e-12);
    const ReportTable& verdict = report_table(report, "erase-value-verdict");
    ASSERT_EQ(verdict.rows.size(), 1U);
    EXPECT_EQ(verdict.rows[0][2].text, apart < 0.1 ? "supported" : "refuted");
  }
}

}  // namespace
}  // namespace engram
