// The answer after every layer, read through the LM head.
#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <vector>

#include "experiments/erase/section.h"

namespace engram::experiments::erase {
namespace {

/// [mode][held_out][layer]: sums by relation of the means over prompts.
struct Lens {
  struct Place {
    double rank = 0, p = 0, top = 0;
  };
  std::map<std::string, std::array<std::vector<std::map<std::string, Place>>, 2>> modes;
};

Lens read_lens(const ReportInput& input) {
  Lens lens;
  read_rows<LensRow>(input.run, {}, [&](const LensRow& row) {
    const auto n = static_cast<double>(row.prompts);
    if (!(n > 0)) return;
    auto& layers = lens.modes[row.mode][row.held_out ? 1 : 0];
    const auto l = static_cast<size_t>(row.layer);
    if (layers.size() <= l) layers.resize(l + 1);
    layers[l][row.relation] = {row.log_rank / n, row.log_p / n, static_cast<double>(row.top) / n};
  });
  return lens;
}

/// Geometric mean of the rank, and accuracy, over relations.
std::array<Interval, 2> lens_means(const ReportInput& input,
                                   const std::map<std::string, Lens::Place>& relations) {
  FactSums sums(input.facts, 3);
  for (const auto& [relation, place] : relations) {
    const std::span<double> of = sums.of_relation(relation);
    of[0] += 1;
    of[1] += place.rank;
    of[2] += place.top;
  }
  const std::vector<Interval> found = bootstrap(
      sums.sums(), 2,
      [](std::span<const std::vector<double>> drawn, std::span<double> out) {
        const std::vector<double> total = total_of(drawn);
        out[0] = std::exp(total[1] / total[0]);
        out[1] = total[2] / total[0];
      },
      input.options.bootstrap);
  return {found[0], found[1]};
}

}  // namespace

void add_lens(const ReportInput& input, ReportSection& section) {
  const Lens lens = read_lens(input);
  ReportTable table = make_table(
      "erase-lens", "The answer after every layer",
      "If the answer comes up in the middle layers and only the last ones push it down, the "
      "knowledge is still there.",
      "Logit lens: the hidden state at the position that predicts the answer, after "
      "each layer, read through the LM head. Layer 0 is the embedding. Geometric mean "
      "of the answer's rank, and accuracy; means over relations.",
      {{"prompts", CellFormat::kText}, {"layers passed", CellFormat::kCount}});
  if (lens.modes.empty()) {
    table.skipped = missing_reason(input, "erase");
    section.blocks.emplace_back(std::move(table));
    return;
  }
  Chart chart;
  chart.id = "erase-lens-chart";
  chart.title = "Rank of the answer after every layer, held-out prompts";
  chart.meaning = "Lower is nearer to the top. Before erasing, and after it by mode.";
  chart.kind = ChartKind::kLines;
  chart.x = {"layers passed", false, false};
  chart.y = {"rank of the answer (geometric mean)", true, false};
  std::vector<std::pair<std::string, std::string>> modes;
  for (const auto& [mode, title] :
       {std::pair{"none", "before erasing"}, std::pair{"zero", "zero"},
        std::pair{"unk", "[UNK] embedding"}, std::pair{"mean", "mean"}}) {
    if (lens.modes.contains(mode)) modes.emplace_back(mode, title);
  }
  size_t layers = 0;
  for (const auto& [mode, title] : modes) {
    table.columns.push_back({title + ": rank", CellFormat::kNumber});
    table.columns.push_back({title + ": accuracy", CellFormat::kPercent});
    for (const auto& of : lens.modes.at(mode)) layers = std::max(layers, of.size());
    chart.series.push_back({title, {}});
  }
  for (const size_t held_out : {size_t{0}, size_t{1}}) {
    for (size_t l = 0; l < layers; ++l) {
      std::vector<ReportCell> row = {text_cell(held_out == 1 ? "held-out" : "own"),
                                     number_cell(static_cast<double>(l))};
      bool any = false;
      for (size_t m = 0; m < modes.size(); ++m) {
        const auto& of = lens.modes.at(modes[m].first)[held_out];
        std::array<Interval, 2> means = {ReportCell{}.number, ReportCell{}.number};
        if (l < of.size() && !of[l].empty()) {
          means = lens_means(input, of[l]);
          any = true;
        }
        row.push_back(interval_cell(means[0]));
        row.push_back(interval_cell(means[1]));
        if (held_out == 1) {
          chart.series[m].points.push_back({static_cast<double>(l), 0, means[0]});
        }
      }
      if (any) table.rows.push_back(std::move(row));
    }
  }
  section.blocks.emplace_back(std::move(chart));
  section.blocks.emplace_back(std::move(table));
}

}  // namespace engram::experiments::erase
