#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "experiments/amplify/rows.h"
#include "experiments/screen/groups.h"
#include "report/hypotheses.h"
#include "report/sections.h"

namespace engram::experiments::amplify {
namespace {

constexpr double kReached = 0.8;

constexpr std::array<FactGroup, 2> kGroups = {FactGroup::kKnown, FactGroup::kNever};
constexpr std::array<const char*, 2> kGroupTitles = {"known", "never given"};
constexpr std::array<const char*, kPushes.size()> kTitles = {
    "located, doubled", "along the gradient, as long", "matched, as long"};

/// What is summed over facts, by group and push.
enum PushColumn : size_t { kFacts, kChange, kTopBefore, kTopAfter, kPushColumns };
size_t column(size_t group, size_t push, PushColumn of) {
  return (group * kPushes.size() + push) * kPushColumns + of;
}
constexpr size_t kAllColumns = kGroups.size() * kPushes.size() * kPushColumns;

/// What is estimated, in the same order.
enum Estimate : size_t { kMean, kReaches, kTop, kEstimates };
size_t place(size_t group, size_t push, Estimate of) {
  return (group * kPushes.size() + push) * kEstimates + of;
}

void estimate(std::span<const double> total, std::span<double> out) {
  for (size_t g = 0; g < kGroups.size(); ++g) {
    for (size_t p = 0; p < kPushes.size(); ++p) {
      const double facts = total[column(g, p, kFacts)];
      out[place(g, p, kMean)] = ratio(total[column(g, p, kChange)], facts);
      out[place(g, p, kReaches)] =
          ratio(total[column(g, p, kChange)], total[column(g, 0, kChange)]);
      out[place(g, p, kTop)] =
          ratio(total[column(g, p, kTopAfter)] - total[column(g, p, kTopBefore)], facts);
    }
  }
}

}  // namespace

std::vector<ReportSection> sections(const ReportInput& input) {
  if (input.option("audit").empty()) return {};
  ReportSection section{
      "amplify", "How to push: amplification", "", "engram audit MODEL ... --only amplify", {}};
  const std::map<int64_t, FactGroup> groups = screen::fact_groups(input.run);
  FactSums sums(input.facts, kAllColumns);
  double length = 0;
  double measured = 0;
  read_rows<PushRow>(input.run, {}, [&](const PushRow& row) {
    const auto group = groups.find(row.fact);
    if (group == groups.end()) return;
    const auto* g = std::ranges::find(kGroups, group->second);
    const auto* p = std::ranges::find(kPushes, row.source);
    if (g == kGroups.end() || p == kPushes.end()) return;
    const std::span<double> of = sums.of(row.fact);
    const auto prompts = static_cast<double>(row.prompts);
    const auto add = [&](PushColumn what, double value) {
      of[column(static_cast<size_t>(g - kGroups.begin()), static_cast<size_t>(p - kPushes.begin()),
                what)] += value;
    };
    add(kFacts, 1);
    add(kChange, row.change_log_odds / prompts);
    add(kTopBefore, row.top / prompts);
    add(kTopAfter, row.top_after / prompts);
    if (p == kPushes.begin() && row.neurons > 0) {
      length += row.length;
      measured += 1;
    }
  });
  if (sums.empty()) {
    section.blocks.emplace_back(
        skipped_table(input, "amplify", "amplify-verdict", "How to push: amplification"));
    return {std::move(section)};
  }
  const std::vector<Interval> found = bootstrap_totals(
      sums, kGroups.size() * kPushes.size() * kEstimates, estimate, input.options.bootstrap);

  const Interval& reached = found[place(0, 1, kReaches)];
  const Hypothesis hypotheses[] = {
      {"H: the gradient's neurons reach at least 0.8 of doubling, known facts", reached,
       decide_at_least(reached, kReached),
       "Any push of this length that the gradient chooses does as much.",
       "Doubling the located neurons does more than a push along the gradient."}};
  section.blocks.emplace_back(hypothesis_table("amplify-verdict", "How to push: amplification",
                                               "If any push that the gradient chooses raises the "
                                               "answer as much, the rise says nothing about "
                                               "where the fact is.",
                                               hypotheses));

  ReportTable table = make_table(
      "amplify-pushes", "Pushes of one length",
      "Located neurons are doubled; the others are moved so far that every layer's FFN output "
      "changes by as much.",
      "Change of the answer's log-odds on held-out prompts, mean over a fact's prompts, then over "
      "facts; reaches: over that of doubling; on top: change of the share of prompts whose answer "
      "is the top one. Gradient: in each layer the neurons with the largest one on the prompts "
      "that locate, moved by its sign.",
      {{"facts", CellFormat::kText},
       {"push", CellFormat::kText},
       {"log-odds", CellFormat::kSigned},
       {"reaches", CellFormat::kNumber},
       {"on top", CellFormat::kSignedPercent}});
  for (size_t g = 0; g < kGroups.size(); ++g) {
    for (size_t p = 0; p < kPushes.size(); ++p) {
      if (std::isnan(found[place(g, p, kMean)].value)) continue;
      table.rows.push_back({text_cell(kGroupTitles[g]), text_cell(kTitles[p]),
                            interval_cell(found[place(g, p, kMean)]),
                            interval_cell(found[place(g, p, kReaches)]),
                            interval_cell(found[place(g, p, kTop)])});
    }
  }
  table.notes.push_back("Where neurons were located, the change of all layers' FFN outputs is " +
                        cell_text(number_cell(ratio(length, measured)), CellFormat::kNumber) +
                        " long on the average.");
  section.blocks.emplace_back(std::move(table));
  return {std::move(section)};
}

}  // namespace engram::experiments::amplify
