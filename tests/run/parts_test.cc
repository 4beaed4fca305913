// Parts of a run: how they are cut, and that what comes out does not depend on it.
#include "run/parts.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engram/attribution/cost.h"
#include "engram/run/run.h"
#include "run/prepared_run.h"

namespace engram {
namespace {

using testing::first_facts;
using testing::PreparedRun;
using testing::shipped;

TEST(Parts, AreCutByTheBudgetAndByTheirNumber) {
  const std::vector<double> costs = {3, 3, 3, 20, 1, 1, 1, 1};
  const std::vector<PartRange> expected = {{0, 3}, {3, 4}, {4, 7}, {7, 8}};
  EXPECT_EQ(cut_parts(costs, 3, 10), expected);
  EXPECT_EQ(cut_parts(costs, 3, 0).size(), costs.size());
  EXPECT_EQ(cut_parts(costs, 100, 1e9), (std::vector<PartRange>{{0, 8}}));
  EXPECT_TRUE(cut_parts({}, 3, 10).empty());
}

/// What bert-base-cased takes on prompts of 12 tokens, as ParaRel's are.
TEST(Parts, OfBertBaseAreShort) {
  ModelConfig config;
  config.layers = 12;
  config.d_model = 768;
  config.d_ff = 3072;
  config.heads = 12;
  config.head_size = 64;
  config.vocabulary = 28996;
  LayerReport report;
  report.nodes = 3;
  const std::vector<LayerReport> reports(12, report);
  const double prompt = attribution_flops(config, 12, 1, reports);
  // docs/performance.md: 61.7 GFLOP a prompt.
  EXPECT_GT(prompt, 40e9);
  EXPECT_LT(prompt, 120e9);
  EXPECT_LT(kPartFlops / prompt, 40);  // prompts of a part
  report.nodes = 20;
  const double released = attribution_flops(config, 12, 1, std::vector<LayerReport>(12, report));
  EXPECT_LT(released, kPartFlops);  // a prompt is the least that a part can hold
  const double plain = plain_flops(config, 12, 1);
  EXPECT_NEAR(plain, 12 * 2 * 85e6, 0.3e9);
}

/// A key as text, for maps of rows.
std::string key_of(const Table& table, const Row& row) {
  std::string key;
  for (size_t i = 0; i < table.key; ++i) {
    key += std::visit(
        [](const auto& value) -> std::string {
          using T = std::decay_t<decltype(value)>;
          if constexpr (std::is_same_v<T, std::string>) return value;
          if constexpr (std::is_same_v<T, int64_t>) return std::to_string(value);
          return "?";
        },
        row[i]);
    key += '|';
  }
  return key;
}

void expect_same(const std::string& table, const std::vector<Row>& a, const std::vector<Row>& b) {
  ASSERT_EQ(a.size(), b.size()) << table;
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(key_of(run_table(table), a[i]), key_of(run_table(table), b[i])) << table;
    for (size_t c = 0; c < a[i].size(); ++c) {
      const std::string where =
          table + " " + key_of(run_table(table), a[i]) + " " + run_table(table).columns[c].name;
      if (std::holds_alternative<double>(a[i][c])) {
        const double value = std::get<double>(a[i][c]);
        // A gap is a difference of sums that nearly agree: rounding is all of it.
        const bool gap = std::string_view(run_table(table).columns[c].name) == "relative_gap";
        const double close = (gap ? 2e-3 : 2e-4) * std::max(1.0, std::abs(value));
        EXPECT_NEAR(value, real_of(b[i][c]), close) << where;
      } else if (std::string_view(run_table(table).columns[c].name) != "tokens") {
        EXPECT_EQ(a[i][c], b[i][c]) << where;
      }
    }
  }
}

class CutRun {
 public:
  CutRun(const std::string& name, double part_flops) : run_(first_facts({"P36", "P19"}, 4), name) {
    run_.options.texts = (shipped().folder / "texts").string();
    run_.options.draws = 2;
    run_.options.side_draws = 1;
    run_.options.stability_facts = 2;
    run_.options.update_facts = 4;
    run_.options.text_positions = 6;
    run_.options.locate.attribution.bitwise = true;
    run_.write_corpus(
        "The king was born in the town.\nIt lies on the river, they say.\n"
        "Music is an art.\nThe capital is old.\nHe was born in Rome.\n");
    RunContext context = run_.context();
    context.part_flops = part_flops;
    summary_ = execute_run(context, {});
  }
  [[nodiscard]] int64_t units(std::string_view experiment) const {
    return std::ranges::count(run_.store->units(), experiment, &Unit::experiment);
  }
  [[nodiscard]] std::vector<Row> rows(std::string_view table) { return run_.store->read(table); }
  [[nodiscard]] const RunSummary& summary() const { return summary_; }

 private:
  PreparedRun run_;
  RunSummary summary_;
};

TEST(Parts, WhatComesOutDoesNotDependOnTheCut) {
  CutRun whole("whole_parts", 1e6 * kPartFlops);  // as few parts as there can be
  CutRun pieces("small_parts", 3e9);              // some prompts of the small model
  for (const auto& experiment : make_experiments()) {
    if (experiment->of_audit()) continue;            // no part of a plain run
    if (experiment->name() == "memories") continue;  // all layers read the same lines
    EXPECT_GT(pieces.units(experiment->name()), whole.units(experiment->name()))
        << experiment->name();
  }
  for (const char* table :
       {"relation", "fact", "prompt", "attribution", "score", "selection", "neuron",
        "relation_neuron", "edit", "edit_effect", "erase", "lens", "text_activation", "text_count",
        "text_problem", "text_example", "text_perplexity", "memory_key"}) {
    const std::vector<Row> rows = whole.rows(table);
    EXPECT_EQ(rows.empty(), std::string_view(table) == "text_problem") << table;
    expect_same(table, rows, pieces.rows(table));
  }
  // Witnesses are drawn for a part, draws added up over it; a fact's own prompts are its own.
  const Table& effect = run_table("effect");
  const auto own = [&](CutRun& run) {
    std::vector<Row> rows = run.rows("effect");
    std::erase_if(rows, [&](const Row& row) {
      const std::string& scope = text_of(row[effect.column("scope")]);
      return scope != "own" && scope != "held-out";
    });
    return rows;
  };
  EXPECT_FALSE(own(whole).empty());
  expect_same("effect", own(whole), own(pieces));
}

TEST(Parts, EveryFactIsDoneOnce) {
  PreparedRun run(first_facts({"P36", "P19"}, 5), "part_facts");
  run.options.text_positions = 6;
  run.write_corpus("The king was born in the town.\n");
  for (const double budget : {1e7, 3e9, kPartFlops}) {
    RunContext context = run.context();
    context.part_flops = budget;
    for (const auto& experiment : make_experiments()) {
      // Those that take a sample of the facts, or none.
      const std::string_view name = experiment->name();
      if (name == "stability" || name == "update" || name == "examples" || name == "memories" ||
          name == "methods" || name == "editors" || name == "planting" || name == "nonfacts" ||
          name == "truth") {
        continue;
      }
      int64_t facts = 0;
      for (const std::string& relation :
           experiment->across() ? std::vector<std::string>{""} : run.facts.relations()) {
        const int64_t parts = experiment->parts(context, relation);
        for (int64_t part = 0; part < parts; ++part) {
          facts += experiment->facts(context, relation, part);
        }
      }
      EXPECT_EQ(facts, 10) << name << " at " << budget;
    }
  }
}

}  // namespace
}  // namespace engram
