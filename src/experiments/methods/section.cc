#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "experiments/methods/rows.h"
#include "report/hypotheses.h"
#include "report/sections.h"

namespace engram::experiments::methods {
namespace {

constexpr double kSmallest = 0.1;  ///< logit, of interest
constexpr double kReached = 0.8;   ///< H1

constexpr std::array<const char*, kMethods.size()> kTitles = {
    "integrated gradients",    "RelP",
    "attribution patching",    "activation",
    "activation x value norm", "single search, 200 candidates",
    "greedy search",           "random, matched with integrated gradients"};
constexpr size_t kIg = 0;
constexpr size_t kPatching = 2;
constexpr size_t kSearch = 6;  ///< the greedy one

/// What is summed over facts, by method; kFacts once.
enum MethodColumn : size_t { kHeldOut, kOwn, kTopBefore, kTopAfter, kMethodColumns };
constexpr size_t kFacts = kMethods.size() * kMethodColumns;

/// What is estimated: by method, in this order; then H2's difference.
enum Estimate : size_t { kChange, kShare, kOnOwn, kStillTop, kEstimates };
constexpr size_t kDifference = kMethods.size() * kEstimates;

const Interval& value(const std::vector<Interval>& found, size_t method, Estimate what) {
  return found[method * kEstimates + what];
}

void estimate(std::span<const double> total, std::span<double> out) {
  const auto mean = [&](size_t method, size_t column) {
    return ratio(total[method * kMethodColumns + column], total[kFacts]);
  };
  for (size_t m = 0; m < kMethods.size(); ++m) {
    out[m * kEstimates + kChange] = mean(m, kHeldOut);
    out[m * kEstimates + kShare] = ratio(-mean(m, kHeldOut), -mean(kSearch, kHeldOut));
    out[m * kEstimates + kOnOwn] = mean(m, kOwn);
    out[m * kEstimates + kStillTop] = ratio(mean(m, kTopAfter), mean(m, kTopBefore));
  }
  out[kDifference] = mean(kPatching, kHeldOut) - mean(kIg, kHeldOut);
}

}  // namespace

std::vector<ReportSection> sections(const ReportInput& input) {
  if (input.option("audit").empty()) return {};
  ReportSection section{
      "methods", "Would a search do better?", "", "engram audit MODEL ... --only methods", {}};
  FactSums sums(input.facts, kFacts + 1);
  read_rows<MethodRow>(input.run, {}, [&](const MethodRow& row) {
    const auto* place = std::ranges::find(kMethods, row.method);
    if (place == kMethods.end()) return;
    const auto m = static_cast<size_t>(place - kMethods.begin());
    const std::span<double> of = sums.of(row.fact);
    const auto prompts = static_cast<double>(row.prompts);
    of[m * kMethodColumns + (row.held_out ? kHeldOut : kOwn)] += row.change_log_odds / prompts;
    if (!row.held_out) return;
    of[m * kMethodColumns + kTopBefore] += row.top / prompts;
    of[m * kMethodColumns + kTopAfter] += row.top_after / prompts;
    if (m == kIg) of[kFacts] += 1;
  });
  if (sums.empty()) {
    section.blocks.emplace_back(
        skipped_table(input, "methods", "methods-verdict", "Would a search do better?"));
    return {std::move(section)};
  }
  const std::vector<Interval> found =
      bootstrap_totals(sums, kDifference + 1, estimate, input.options.bootstrap);

  const Interval& reached = value(found, kIg, kShare);
  const Hypothesis hypotheses[] = {
      {"H1: integrated gradients reach at least 0.8 of a greedy search", reached,
       decide_at_least(reached, kReached), "Integrated gradients find nearly what a search finds.",
       "A search finds neurons that do clearly more."},
      {"H2: attribution patching does as much as integrated gradients, within 0.1 logit",
       found[kDifference], decide_within(found[kDifference], kSmallest),
       "One backward pass finds neurons that do as much.",
       "The two scores find neurons that do not do the same."}};
  section.blocks.emplace_back(hypothesis_table(
      "methods-verdict", "Would a search do better?",
      "Scores are a detour if trying neurons one by one finds those that do more.", hypotheses));

  ReportTable table = make_table(
      "methods", "Five neurons by every method",
      "Chosen on the prompts that locate, and set to zero. On those prompts a search has the "
      "advantage of having chosen by them; held-out prompts decide.",
      "Change of the answer's log-odds, mean over a fact's prompts, then over known facts (half of "
      "the audit's). Share: of the greedy search's change. Still on top: held-out prompts whose "
      "answer is the top one, over those before.",
      {{"method", CellFormat::kText},
       {"held-out prompts", CellFormat::kSigned},
       {"share", CellFormat::kNumber},
       {"prompts that locate", CellFormat::kSigned},
       {"still on top", CellFormat::kPercent}});
  for (size_t m = 0; m < kMethods.size(); ++m) {
    table.rows.push_back({text_cell(kTitles[m]), interval_cell(value(found, m, kChange)),
                          interval_cell(value(found, m, kShare)),
                          interval_cell(value(found, m, kOnOwn)),
                          interval_cell(value(found, m, kStillTop))});
  }
  section.blocks.emplace_back(std::move(table));
  return {std::move(section)};
}

}  // namespace engram::experiments::methods
