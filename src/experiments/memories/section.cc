#include "engram/statistics/memories.h"

#include <algorithm>
#include <map>

#include "experiments/memories/rows.h"
#include "report/sections.h"

namespace engram::experiments::memories {
namespace {

MemoryOutcome outcome_of(const KeyRow& row) {
  MemoryOutcome outcome;
  outcome.has_pattern = row.has_pattern;
  outcome.direction_pattern = row.direction_pattern;
  outcome.shuffled_pattern = row.shuffled_pattern;
  outcome.top_p = row.top_p;
  outcome.triggered = row.agrees.has_value();
  if (!outcome.triggered) return outcome;
  outcome.agrees = *row.agrees;
  outcome.rank = row.rank.value_or(0);
  outcome.chance = row.chance;
  outcome.chance_rank = row.chance_rank.value_or(0);
  return outcome;
}

std::vector<ReportCell> means_row(const MemoryMeans& means) {
  return {text_cell(means.layer < 0 ? "all" : std::to_string(means.layer)),
          number_cell(static_cast<double>(means.keys)),
          interval_cell(means.pattern),
          interval_cell(means.direction_pattern),
          interval_cell(means.shuffled_pattern),
          interval_cell(means.agreement),
          interval_cell(means.chance),
          interval_cell(means.rank),
          interval_cell(means.chance_rank)};
}

ReportTable layers_table() {
  return make_table(
      "memories", "Keys and values of a sample of neurons",
      "Do keys answer to patterns of text, and do their values predict what follows? (Geva et al. "
      "2021)",
      "Pattern: the share of keys of whose 25 most active texts at least 3 share an n-gram of 1 to "
      "3 tokens that at most 1 % of random ones hold; beside it random directions in the keys' "
      "places, and texts shuffled between the keys of a layer. Agreement: the share of keys whose "
      "value raises the token most that follows the most active text (that was masked there), and "
      "the mean rank of that token in the value's distribution; by chance: of other keys' values. "
      "Intervals by a bootstrap over keys. Published for a decoder of 16 layers: people found a "
      "pattern in every key of 10 a layer; agreement near 0 in layers 1 to 10 and up to 3.5 % "
      "above, 0.0004 % by chance over the vocabulary (their own measures, docs/method.md says how "
      "ours differ).",
      {{"layer", CellFormat::kText},
       {"keys", CellFormat::kCount},
       {"pattern", CellFormat::kPercent},
       {"random directions", CellFormat::kPercent},
       {"shuffled", CellFormat::kPercent},
       {"agreement", CellFormat::kPercent},
       {"agreement by chance", CellFormat::kPercent},
       {"mean rank", CellFormat::kCount},
       {"mean rank by chance", CellFormat::kCount}});
}

ReportTable bins_table() {
  return make_table("memories-by-p", "Agreement by the value's largest P",
                    "Are values that are sure of a token right more often?",
                    "The keys of all layers that have a text, in ten ranges of the largest P of "
                    "their value's distribution with about equally many in each.",
                    {{"P from", CellFormat::kNumber},
                     {"to", CellFormat::kNumber},
                     {"keys", CellFormat::kCount},
                     {"agreement", CellFormat::kPercent},
                     {"by chance", CellFormat::kPercent}});
}

/// Of each layer the pattern that most triggers share.
ReportTable examples_table(const std::map<int64_t, std::vector<KeyRow>>& layers) {
  ReportTable table =
      make_table("memories-examples", "The clearest pattern of each layer",
                 "Of each layer the key whose pattern most texts share, to look at.", "",
                 {{"neuron", CellFormat::kText},
                  {"shared by", CellFormat::kText},
                  {"pattern", CellFormat::kText},
                  {"most active text", CellFormat::kText},
                  {"next", CellFormat::kText},
                  {"value raises", CellFormat::kText}});
  for (const auto& [layer, rows] : layers) {
    const auto best = std::ranges::max_element(rows, {}, &KeyRow::shared);
    if (!best->has_pattern) continue;
    table.rows.push_back(
        {text_cell(std::to_string(layer) + ":" + std::to_string(best->neuron)),
         text_cell(std::to_string(best->shared) + " of " + std::to_string(best->triggers)),
         text_cell(best->pattern.value_or("")), text_cell(best->trigger.value_or("")),
         text_cell(best->next.value_or("")), text_cell(best->top_token.value_or(""))});
  }
  return table;
}

}  // namespace

std::vector<ReportSection> sections(const ReportInput& input) {
  std::map<int64_t, std::vector<KeyRow>> layers;
  read_rows<KeyRow>(input.run, {},
                    [&](KeyRow row) { layers[row.layer].push_back(std::move(row)); });
  ReportTable table = layers_table();
  ReportSection section{
      "memories", "Keys and values", "", "engram reproduce MODEL ... --only memories", {}};
  if (layers.empty()) {
    table.skipped = missing_reason(input, "memories");
    section.blocks.emplace_back(std::move(table));
    return {std::move(section)};
  }
  Chart chart;
  chart.id = "memories-by-layer";
  chart.title = "Keys with a pattern, by layer";
  chart.meaning = "Share of sampled keys whose triggers share a rare n-gram.";
  chart.kind = ChartKind::kLines;
  chart.x = {"layer", false, false};
  chart.y = {"share of keys", false, true};
  chart.series = {{"keys", {}}, {"random directions", {}}, {"shuffled", {}}};
  std::vector<MemoryOutcome> all;
  for (const auto& [layer, rows] : layers) {
    std::vector<MemoryOutcome> keys;
    for (const KeyRow& row : rows) keys.push_back(outcome_of(row));
    const MemoryMeans means = memory_means(keys, layer, input.options.bootstrap);
    const auto x = static_cast<double>(layer);
    chart.series[0].points.push_back({x, x, means.pattern});
    chart.series[1].points.push_back({x, x, means.direction_pattern});
    chart.series[2].points.push_back({x, x, means.shuffled_pattern});
    table.rows.push_back(means_row(means));
    all.insert(all.end(), keys.begin(), keys.end());
  }
  table.rows.push_back(means_row(memory_means(all, -1, input.options.bootstrap)));
  ReportTable bins = bins_table();
  for (const MemoryBin& bin : memory_bins(all, input.options.bootstrap)) {
    bins.rows.push_back({number_cell(bin.low), number_cell(bin.high),
                         number_cell(static_cast<double>(bin.keys)), interval_cell(bin.agreement),
                         interval_cell(bin.chance)});
  }
  section.blocks.emplace_back(std::move(chart));
  section.blocks.emplace_back(std::move(table));
  section.blocks.emplace_back(std::move(bins));
  section.blocks.emplace_back(examples_table(layers));
  return {std::move(section)};
}

}  // namespace engram::experiments::memories
