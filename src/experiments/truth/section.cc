#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <vector>

#include "experiments/truth/rows.h"
#include "report/hypotheses.h"
#include "report/sections.h"

namespace engram::experiments::truth {
namespace {

constexpr std::array<const char*, kMethods.size()> kTitles = {"integrated gradients",
                                                              "attribution patching",
                                                              "RelP",
                                                              "activation",
                                                              "activation x value norm",
                                                              "value norm",
                                                              "ceiling: the other prompt"};
constexpr size_t kIg = 0, kPatching = 1;

// Sums by method, with how many prompts they are over.
enum Column : size_t { kPrompts, kZeroRank, kZeroTop, kMeanRank, kMeanTop, kColumns };
constexpr size_t kDifference = kMethods.size() * kColumns;

void estimate(std::span<const double> total, std::span<double> out) {
  const auto mean = [&](size_t method, size_t column) {
    return ratio(total[method * kColumns + column], total[method * kColumns + kPrompts]);
  };
  for (size_t m = 0; m < kMethods.size(); ++m) {
    for (size_t column = 0; column < kColumns; ++column) {
      out[m * kColumns + column] = mean(m, column);
    }
  }
  out[kDifference] = mean(kPatching, kZeroRank) - mean(kIg, kZeroRank);
}

}  // namespace

std::vector<ReportSection> sections(const ReportInput& input) {
  if (input.option("audit").empty()) return {};
  ReportSection section{"truth",
                        "Which score is near the truth?",
                        "",
                        "engram audit MODEL ... --truth-facts N --only truth",
                        {}};
  FactSums sums(input.facts, kMethods.size() * kColumns);
  int64_t prompts = 0;
  read_rows<TruthScoreRow>(input.run, {}, [&](const TruthScoreRow& row) {
    const auto* place = std::ranges::find(kMethods, row.method);
    if (place == kMethods.end()) return;
    const auto m = static_cast<size_t>(place - kMethods.begin());
    const std::span<double> of = sums.of(row.fact).subspan(m * kColumns, kColumns);
    of[kPrompts] += 1;
    of[kZeroRank] += row.zero_correlation;
    of[kZeroTop] += row.zero_top;
    of[kMeanRank] += row.mean_correlation;
    of[kMeanTop] += row.mean_top;
    prompts += m == kIg ? 1 : 0;
  });
  if (sums.empty()) {
    section.blocks.emplace_back(
        skipped_table(input, "truth", "truth-verdict", "Which score is near the truth?"));
    return {std::move(section)};
  }
  const std::vector<Interval> found =
      bootstrap_totals(sums, kDifference + 1, estimate, input.options.bootstrap);
  const Hypothesis hypotheses[] = {
      {"H: attribution patching is nearer to single neurons' effects than integrated gradients",
       found[kDifference], decide_at_least(found[kDifference], 0),
       "One gradient says more of what a neuron does alone than the integral.",
       "The integral says more of what a neuron does alone than one gradient."}};
  section.blocks.emplace_back(hypothesis_table(
      "truth-verdict", "Which score is near the truth?",
      "All neurons were put to zero one by one; no score is needed to know what each does.",
      hypotheses));
  ReportTable table = make_table(
      "truth", "Scores beside the effects of all neurons",
      "Over " + std::to_string(prompts) +
          " prompts, two of a fact. The ceiling is how far the "
          "effects on one prompt foretell those on another of the same fact.",
      "Rank: Spearman's correlation over all neurons with P less P with one neuron at zero, or at "
      "its mean activation. Top: share of the ten largest in common. Means over prompts.",
      {{"score", CellFormat::kText},
       {"zero: rank", CellFormat::kNumber},
       {"top", CellFormat::kNumber},
       {"mean: rank", CellFormat::kNumber},
       {"mean: top", CellFormat::kNumber}});
  for (size_t m = 0; m < kMethods.size(); ++m) {
    std::vector<ReportCell>& row = table.rows.emplace_back();
    row.push_back(text_cell(kTitles[m]));
    for (const Column column : {kZeroRank, kZeroTop, kMeanRank, kMeanTop}) {
      row.push_back(interval_cell(found[m * kColumns + column]));
    }
  }
  section.blocks.emplace_back(std::move(table));
  return {std::move(section)};
}

}  // namespace engram::experiments::truth
