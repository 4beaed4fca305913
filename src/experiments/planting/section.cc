#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "experiments/planting/choice.h"
#include "experiments/planting/rows.h"
#include "report/hypotheses.h"
#include "report/sections.h"

namespace engram::experiments::planting {
namespace {

constexpr double kBetter = 0.03;    ///< H1, H2: recall at 5 %
constexpr double kChance = 0.05;    ///< of that recall
constexpr double kAtChance = 0.02;  ///< the check
constexpr double kEnough = 0.05;    ///< loss of a finished planting

constexpr std::array<const char*, kConditions.size()> kTitles = {
    "as published, 1 %", "as published, 0.1 %", "norms kept", "two plants", "active"};

size_t place_of(std::string_view condition) {
  return static_cast<size_t>(std::ranges::find(kConditions, condition) - kConditions.begin());
}
size_t method_place(std::string_view name) {
  return static_cast<size_t>(std::ranges::find(kMethods, name, &Method::name) - kMethods.begin());
}

// Sums by condition and method; behind them the plantings of each condition, and facts with an AUC.
enum ScoreColumn : size_t { kRecall1, kRecall5, kRecall10, kAuc, kScoreColumns };
enum MadeColumn : size_t { kPlantings, kAucs, kLogP, kPlanted, kWhereAsked, kMadeColumns };
constexpr size_t kMade = kConditions.size() * kMethods.size() * kScoreColumns;
constexpr size_t kColumns = kMade + kConditions.size() * kMadeColumns;
constexpr size_t score_at(size_t condition, size_t method, size_t column) {
  return (condition * kMethods.size() + method) * kScoreColumns + column;
}
constexpr size_t made_at(size_t condition, size_t column) {
  return kMade + condition * kMadeColumns + column;
}

// Estimates: the means in the places of the sums, and then these.
enum Estimate : size_t { kH1 = kColumns, kH2, kCheck, kFirstInvisible };
constexpr size_t kEstimates = kFirstInvisible + kConditions.size();

void estimate(std::span<const double> total, std::span<double> out, size_t best) {
  for (size_t c = 0; c < kConditions.size(); ++c) {
    const double plantings = total[made_at(c, kPlantings)];
    for (size_t m = 0; m < kMethods.size(); ++m) {
      for (const size_t column : {kRecall1, kRecall5, kRecall10}) {
        out[score_at(c, m, column)] = ratio(total[score_at(c, m, column)], plantings);
      }
      out[score_at(c, m, kAuc)] = ratio(total[score_at(c, m, kAuc)], total[made_at(c, kAucs)]);
    }
    for (size_t column = 0; column < kMadeColumns; ++column) {
      out[made_at(c, column)] = ratio(total[made_at(c, column)], plantings);
    }
    const double gained = total[made_at(c, kPlanted)] - total[made_at(c, kLogP)];
    out[kFirstInvisible + c] =
        ratio(total[made_at(c, kPlanted)] - total[made_at(c, kWhereAsked)], gained);
  }
  const auto above = [&](std::string_view condition) {
    const size_t c = place_of(condition);
    return out[score_at(c, best, kRecall5)] -
           out[score_at(c, method_place(kHardConcrete), kRecall5)];
  };
  out[kH1] = above(kNorms);
  out[kH2] = above(kTwo);
  double size = 0;
  double plantings = 0;
  for (const std::string_view condition : {kNorms, kTwo}) {
    size += total[score_at(place_of(condition), method_place(kValueNorm), kRecall5)];
    plantings += total[made_at(place_of(condition), kPlantings)];
  }
  out[kCheck] = ratio(size, plantings) - kChance;
}

ReportTable recall_table(const std::vector<Interval>& found, const std::string& chosen) {
  ReportTable table = make_table(
      "planting", "How much of what was planted the scores find", chosen,
      "Share of the planted neurons among the 5 % of their layer with the largest score, mean over "
      "facts; of two plants those of A, on A's prompts. Chance is 0.05.",
      {{"score", CellFormat::kText}});
  for (const char* title : kTitles) table.columns.push_back({title, CellFormat::kNumber});
  for (size_t m = 0; m < kMethods.size(); ++m) {
    std::vector<ReportCell>& row = table.rows.emplace_back();
    row.push_back(text_cell(kMethods[m].title));
    for (size_t c = 0; c < kConditions.size(); ++c) {
      row.push_back(interval_cell(found[score_at(c, m, kRecall5)]));
    }
  }
  return table;
}

ReportTable more_table(const std::vector<Interval>& found) {
  ReportTable table = make_table(
      "planting-more", "Other cuts, and whose plant is whose",
      "A score that finds what is active finds both plants; one that finds the answer finds its "
      "own.",
      "Recall at 1 % and at 10 % of a layer with norms kept, where chance is 0.01 and 0.1. AUC: of "
      "two plants, A's against B's neurons of the same layer on A's prompts; 0.5 is chance.",
      {{"score", CellFormat::kText},
       {"recall at 1 %", CellFormat::kNumber},
       {"recall at 10 %", CellFormat::kNumber},
       {"AUC of two plants", CellFormat::kNumber}});
  const size_t norms = place_of(kNorms);
  for (size_t m = 0; m < kMethods.size(); ++m) {
    table.rows.push_back({text_cell(kMethods[m].title),
                          interval_cell(found[score_at(norms, m, kRecall1)]),
                          interval_cell(found[score_at(norms, m, kRecall10)]),
                          interval_cell(found[score_at(place_of(kTwo), m, kAuc)])});
  }
  return table;
}

/// What is counted, not estimated.
struct Counted {
  int64_t plantings = 0, unfinished = 0, not_restored = 0;
};

ReportTable made_table(const std::vector<Interval>& found,
                       const std::array<Counted, kConditions.size()>& counted) {
  ReportTable table = make_table(
      "planting-made", "What was planted",
      "A planting that fails, or does not come off, proves nothing.",
      "Log P of the planted answer on the prompts that locate, mean over facts. Unfinished: the "
      "loss stayed above 0.05. Not restored: log P with the old value vectors put back is not, to "
      "the bit, what it was. Invisible: the share of the gain that is lost when the new value "
      "vectors are used only at the tokens where the answer is asked.",
      {{"condition", CellFormat::kText},
       {"plantings", CellFormat::kCount},
       {"unfinished", CellFormat::kCount},
       {"not restored", CellFormat::kCount},
       {"log P before", CellFormat::kSigned},
       {"planted", CellFormat::kSigned},
       {"invisible", CellFormat::kNumber}});
  for (size_t c = 0; c < kConditions.size(); ++c) {
    table.rows.push_back(
        {text_cell(kTitles[c]), number_cell(static_cast<double>(counted[c].plantings)),
         number_cell(static_cast<double>(counted[c].unfinished)),
         number_cell(static_cast<double>(counted[c].not_restored)),
         interval_cell(found[made_at(c, kLogP)]), interval_cell(found[made_at(c, kPlanted)]),
         interval_cell(found[kFirstInvisible + c])});
  }
  return table;
}

ReportTable verdicts(const std::vector<Interval>& found, const char* best) {
  const Decision check = decide_within(found[kCheck], kAtChance);
  const auto better = [&](Estimate difference) {
    return check == Decision::kSupported ? decide_at_least(found[difference], kBetter)
                                         : Decision::kUndecided;
  };
  const std::string name = best;
  const Hypothesis hypotheses[] = {
      {"Check: with norms kept the value norm finds what chance finds, within 0.02", found[kCheck],
       check, "The size of a value vector does not betray the planting.",
       "The size of a value vector betrays the planting; nothing is decided."},
      {"H1: with norms kept our best score (" + name +
           ") exceeds hard concrete by at least 0.03 in recall at 5 %",
       found[kH1], better(kH1), "Hard concrete finds less than " + name + ".",
       "Hard concrete is not exceeded by so much."},
      {"H2: of two plants as well", found[kH2], better(kH2),
       "The same where two plants must be told apart.",
       "Not so where two plants must be told apart."}};
  return hypothesis_table("planting-verdict", "Do scores find what was planted?",
                          "Nobody knows where a fact is. Here we do: it was put there.",
                          hypotheses);
}

std::string penalty_text(const TuningSums& sums, std::string_view method) {
  return std::to_string(static_cast<int64_t>(chosen_penalty(sums, method)));
}

}  // namespace

std::vector<ReportSection> sections(const ReportInput& input) {
  if (input.option("audit").empty()) return {};
  ReportSection section{"planting",
                        "Do scores find what was planted?",
                        "",
                        "engram audit MODEL ... --only planting",
                        {}};
  FactSums sums(input.facts, kColumns);
  std::array<Counted, kConditions.size()> counted;
  read_rows<PlantingRow>(input.run, {}, [&](const PlantingRow& row) {
    const size_t c = place_of(row.condition);
    if (c == kConditions.size()) return;
    const std::span<double> of = sums.of(row.fact);
    of[made_at(c, kPlantings)] += 1;
    of[made_at(c, kLogP)] += row.log_p;
    of[made_at(c, kPlanted)] -= row.loss;
    of[made_at(c, kWhereAsked)] += row.log_p_where_asked;
    ++counted[c].plantings;
    const bool other = row.other && row.other_loss >= kEnough;
    counted[c].unfinished += row.loss >= kEnough || other ? 1 : 0;
    counted[c].not_restored += row.log_p_restored != row.log_p ? 1 : 0;
  });
  if (sums.empty()) {
    section.blocks.emplace_back(
        skipped_table(input, "planting", "planting-verdict", "Do scores find what was planted?"));
    return {std::move(section)};
  }
  read_rows<PlantingScoreRow>(input.run, {}, [&](const PlantingScoreRow& row) {
    const size_t c = place_of(row.condition);
    const size_t m = method_place(row.method);
    if (c == kConditions.size() || m == kMethods.size()) return;
    const std::span<double> of = sums.of(row.fact);
    of[score_at(c, m, kRecall1)] += row.recall_1;
    of[score_at(c, m, kRecall5)] += row.recall_5;
    of[score_at(c, m, kRecall10)] += row.recall_10;
    if (std::isnan(row.auc)) return;
    of[score_at(c, m, kAuc)] += row.auc;
    if (m == 0) of[made_at(c, kAucs)] += 1;  // it depends on the neurons alone whether there is one
  });
  const TuningSums tuned = tuning_sums(read_all<PlantingTuningRow>(input.run, {}));
  const size_t best = chosen_best(tuned);
  const std::vector<Interval> found = bootstrap_totals(
      sums, kEstimates,
      [&](std::span<const double> total, std::span<double> out) { estimate(total, out, best); },
      input.options.bootstrap);
  section.blocks.emplace_back(verdicts(found, kMethods[best].title));
  section.blocks.emplace_back(recall_table(
      found, std::string("Chosen on facts that are left out here: our best score is ") +
                 kMethods[best].title + "; the penalty of slimming is " +
                 penalty_text(tuned, kSlimming) + ", that of hard concrete " +
                 penalty_text(tuned, kHardConcrete) + "."));
  section.blocks.emplace_back(more_table(found));
  section.blocks.emplace_back(made_table(found, counted));
  return {std::move(section)};
}

}  // namespace engram::experiments::planting
