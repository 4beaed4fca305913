#include "experiments/locate/section_attribution.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "experiments/locate/rows.h"

namespace engram::experiments::locate {
namespace {

/// One method's prompts.
struct Attributed {
  std::vector<double> gaps;
  double prompts = 0, p = 0, nodes = 0, with_nodes = 0, converged = 0, top = 0, ranked = 0;
};

double quantile(const std::vector<double>& sorted, double q) {
  if (sorted.empty()) return NAN;
  return sorted[std::min(sorted.size() - 1,
                         static_cast<size_t>(q * static_cast<double>(sorted.size())))];
}

std::map<std::string, Attributed> read_attributions(RunStore& run) {
  std::map<std::string, Attributed> methods;
  read_rows<AttributionRow>(run, {}, [&](const AttributionRow& row) {
    Attributed& of = methods[row.method];
    of.prompts += 1;
    of.p += row.p;
    of.converged += row.converged ? 1 : 0;
    if (!std::isnan(row.relative_gap)) of.gaps.push_back(row.relative_gap);
    if (!std::isnan(row.nodes)) {
      of.nodes += row.nodes;
      of.with_nodes += 1;
    }
    if (row.answer_rank) {
      of.ranked += 1;
      of.top += row.answer_rank == 1 ? 1 : 0;
    }
  });
  for (auto& [name, of] : methods) std::ranges::sort(of.gaps);
  return methods;
}

ReportTable gap_table(const std::map<std::string, Attributed>& methods) {
  ReportTable table = make_table(
      "completeness", "How exact the attribution is",
      "Integrated gradients must add up to the change of P that they explain; the gap is what they "
      "miss.",
      "Relative gap of a prompt: the largest over the layers of |sum of scores - change of P| / "
      "max(|change of P|, 0.001 P). Activations have no such check.",
      {{"scores", CellFormat::kText},
       {"prompts", CellFormat::kCount},
       {"mean P", CellFormat::kNumber},
       {"answer is the top one", CellFormat::kPercent},
       {"exact nodes a layer", CellFormat::kNumber},
       {"gap: median", CellFormat::kPercent},
       {"95 %", CellFormat::kPercent},
       {"99 %", CellFormat::kPercent},
       {"largest", CellFormat::kPercent},
       {"prompts with a gap under 1 %", CellFormat::kPercent},
       {"all layers within the tolerance", CellFormat::kPercent}});
  for (const auto& [name, of] : methods) {
    const auto small = std::ranges::lower_bound(of.gaps, 0.01) - of.gaps.begin();
    const bool exact = !of.gaps.empty();
    table.rows.push_back(
        {text_cell(name), number_cell(of.prompts), number_cell(of.p / of.prompts),
         number_cell(ratio(of.top, of.ranked)), number_cell(ratio(of.nodes, of.with_nodes)),
         number_cell(quantile(of.gaps, 0.5)), number_cell(quantile(of.gaps, 0.95)),
         number_cell(quantile(of.gaps, 0.99)), number_cell(exact ? of.gaps.back() : NAN),
         number_cell(ratio(static_cast<double>(small), static_cast<double>(of.gaps.size()))),
         number_cell(exact ? of.converged / of.prompts : NAN)});
  }
  table.notes.emplace_back(
      "The paper and its code do not report the gap. Twenty left Riemann steps, as in that code, "
      "are the method ig-riemann-left where it is there.");
  return table;
}

Chart gap_chart(const std::map<std::string, Attributed>& methods) {
  Chart chart;
  chart.id = "completeness-chart";
  chart.title = "Completeness gap of the prompts";
  chart.meaning = "Further left is more exact. Each half decade is one bin.";
  chart.kind = ChartKind::kLines;
  chart.x = {"relative gap (upper end of the bin)", true, false};
  chart.y = {"share of prompts up to there (%)", false, true};
  constexpr int kFrom = -16;  // half decades: 1e-8
  constexpr int kTo = 4;      // 1e2
  for (const auto& [name, of] : methods) {
    if (of.gaps.empty()) continue;
    ChartSeries series{name, {}};
    for (int half = kFrom; half <= kTo; ++half) {
      const double end = std::pow(10.0, 0.5 * half);
      const auto below = std::ranges::upper_bound(of.gaps, end) - of.gaps.begin();
      const double share = static_cast<double>(below) / static_cast<double>(of.gaps.size());
      series.points.push_back({end, 0, {share, NAN, NAN}});
      if (below == static_cast<int64_t>(of.gaps.size())) break;
    }
    // A long run of zeros says nothing.
    const auto first = std::ranges::find_if(
        series.points, [](const ChartPoint& point) { return point.value.value > 0; });
    if (first != series.points.begin()) {
      series.points.erase(series.points.begin(), std::prev(first));
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
}

}  // namespace

ReportSection attribution_section(const ReportInput& input) {
  ReportSection section{"attribution",
                        "Attribution",
                        "Scores of all neurons on the prompts that locate.",
                        "engram reproduce ... --only locate,stability",
                        {}};
  const std::map<std::string, Attributed> methods = read_attributions(input.run);
  if (methods.empty()) {
    section.blocks.emplace_back(
        skipped_table(input, "locate", "completeness", "How exact the attribution is"));
    return section;
  }
  section.blocks.emplace_back(gap_table(methods));
  Chart chart = gap_chart(methods);
  if (!chart.series.empty()) section.blocks.emplace_back(std::move(chart));
  return section;
}

}  // namespace engram::experiments::locate
