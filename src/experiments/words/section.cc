#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "experiments/screen/groups.h"
#include "experiments/words/rows.h"
#include "report/hypotheses.h"
#include "report/sections.h"

namespace engram::experiments::words {
namespace {

constexpr double kSmallest = 0.1;  ///< logit, of interest
constexpr double kTransfer = 0.3;  ///< H2
constexpr double kSpecific = 0.2;  ///< T of fact-specific neurons

constexpr std::array<FactGroup, 2> kGroups = {FactGroup::kKnown, FactGroup::kNever};
constexpr std::array<const char*, 2> kGroupTitles = {"known", "never given"};
constexpr std::array<const char*, kConditions.size()> kConditionTitles = {
    "its held-out prompts", "another subject's prompts, for the fact's answer",
    "another subject's prompts, for their own answer", "other facts with the same object",
    "its held-out prompts without the subject"};
constexpr std::array<const char*, kSets.size()> kSetTitles = {"located", "matched", "next"};

/// Columns of a fact's sums, for one group and set.
enum WordColumn : size_t {
  kMeans = 0,                      ///< per condition: facts, sum of their mean changes
  kBoth = 2 * kConditions.size(),  ///< facts with both conditions of T
  kBothHeldOut,                    ///< their changes
  kBothOther,
  kWordColumns
};

size_t column(size_t group, size_t set, size_t of) {
  return (group * kSets.size() + set) * kWordColumns + of;
}
constexpr size_t kAllColumns = kGroups.size() * kSets.size() * kWordColumns;

/// What is estimated: means by group, set and condition; T by group and set; H1's difference by
/// set.
struct Estimates {
  std::vector<Interval> values;
  [[nodiscard]] const Interval& mean(size_t group, size_t set, size_t condition) const {
    return values[(group * kSets.size() + set) * kConditions.size() + condition];
  }
  static constexpr size_t kTransfers = kGroups.size() * kSets.size() * kConditions.size();
  [[nodiscard]] const Interval& transfer(size_t group, size_t set) const {
    return values[kTransfers + group * kSets.size() + set];
  }
  static constexpr size_t kDifferences = kTransfers + kGroups.size() * kSets.size();
  [[nodiscard]] const Interval& difference(size_t set) const { return values[kDifferences + set]; }
  static constexpr size_t kCount = kDifferences + kSets.size();
};

/// Mean changes of a fact by condition and set; NaN: not measured.
using OfFact = std::array<std::array<double, kConditions.size()>, kSets.size()>;

std::map<int64_t, OfFact> read(const ReportInput& input) {
  std::map<int64_t, OfFact> facts;
  read_rows<WordRow>(input.run, {}, [&](const WordRow& row) {
    const auto [it, fresh] = facts.try_emplace(row.fact);
    if (fresh) {
      for (auto& of_set : it->second) of_set.fill(std::nan(""));
    }
    const auto* set = std::ranges::find(kSets, row.source);
    const auto* condition = std::ranges::find(kConditions, row.condition);
    if (set == kSets.end() || condition == kConditions.end()) return;
    it->second[static_cast<size_t>(set - kSets.begin())]
              [static_cast<size_t>(condition - kConditions.begin())] =
        row.change_log_odds / static_cast<double>(row.prompts);
  });
  return facts;
}

Estimates estimate(const ReportInput& input, const std::map<int64_t, OfFact>& facts,
                   const std::map<int64_t, FactGroup>& groups) {
  FactSums sums(input.facts, kAllColumns);
  for (const auto& [id, of] : facts) {
    const auto group = groups.find(id);
    if (group == groups.end()) continue;
    const auto* place = std::ranges::find(kGroups, group->second);
    if (place == kGroups.end()) continue;
    const auto g = static_cast<size_t>(place - kGroups.begin());
    const std::span<double> out = sums.of(id);
    for (size_t s = 0; s < kSets.size(); ++s) {
      for (size_t c = 0; c < kConditions.size(); ++c) {
        if (std::isnan(of[s][c])) continue;
        out[column(g, s, kMeans + 2 * c)] += 1;
        out[column(g, s, kMeans + 2 * c + 1)] += of[s][c];
      }
      if (std::isnan(of[s][0]) || std::isnan(of[s][1])) continue;
      out[column(g, s, kBoth)] += 1;
      out[column(g, s, kBothHeldOut)] += of[s][0];
      out[column(g, s, kBothOther)] += of[s][1];
    }
  }
  return {bootstrap_totals(
      sums, Estimates::kCount,
      [](std::span<const double> total, std::span<double> out) {
        size_t at = 0;
        std::array<std::array<double, kSets.size()>, kGroups.size()> held_out{};
        for (size_t g = 0; g < kGroups.size(); ++g) {
          for (size_t s = 0; s < kSets.size(); ++s) {
            for (size_t c = 0; c < kConditions.size(); ++c) {
              out[at++] = ratio(total[column(g, s, kMeans + 2 * c + 1)],
                                total[column(g, s, kMeans + 2 * c)]);
            }
            held_out[g][s] = out[at - kConditions.size()];
          }
        }
        for (size_t g = 0; g < kGroups.size(); ++g) {
          for (size_t s = 0; s < kSets.size(); ++s) {
            // Of what suppression lowers; where it raises there is no T.
            out[at++] = ratio(-total[column(g, s, kBothOther)], -total[column(g, s, kBothHeldOut)]);
          }
        }
        for (size_t s = 0; s < kSets.size(); ++s) out[at++] = held_out[0][s] - held_out[1][s];
      },
      input.options.bootstrap)};
}

ReportTable verdict_table(const Estimates& found) {
  const Interval& difference = found.difference(0);
  const Interval& transfer = found.transfer(0, 0);
  const Hypothesis hypotheses[] = {
      {"H1: known and never given facts change by the same, within 0.1 logit", difference,
       decide_within(difference, kSmallest),
       "The neurons do as much for facts that the model does not know.",
       "The neurons do not do the same for facts that the model does not know."},
      {"H2: the same answer changes for other subjects by at least 0.3 of it (T, known facts)",
       transfer, decide_at_least(transfer, kTransfer),
       "A good part of the effect is on the word, whatever the subject.",
       "Little of the effect is on the word for other subjects."},
      {"fact-specific: T below 0.2, and known facts change more than never given ones", transfer,
       decide_both(decide_below(transfer, kSpecific), decide_below(difference, 0)),
       "The neurons are specific to facts that the model knows.",
       "They may not be called fact-specific."}};
  return hypothesis_table(
      "words-verdict", "Knowledge, or a word?",
      "Knowledge neurons may carry the answer's word and not the fact. Then they do as much for "
      "facts that the model does not know, and for other subjects.",
      hypotheses);
}

/// How many prompts are answered, by condition and group.
ReportTable answers_table(const ReportInput& input, const std::map<int64_t, FactGroup>& groups) {
  ReportTable table = make_table(
      "words-answers", "Prompts whose answer is the top one", "The same in answers. Exploratory.",
      "Prompts of all facts of the group together; before anything is changed, and with each set "
      "at zero (matched: mean over draws).",
      {{"prompts", CellFormat::kText},
       {"facts", CellFormat::kText},
       {"number of facts", CellFormat::kCount},
       {"number of prompts", CellFormat::kCount},
       {"before", CellFormat::kCount}});
  for (const char* set : kSetTitles) table.columns.push_back({set, CellFormat::kCount});
  struct Count {
    double facts = 0, prompts = 0, before = 0;
    std::array<double, kSets.size()> after{};
  };
  std::map<std::pair<std::string, FactGroup>, Count> counts;
  read_rows<WordRow>(input.run, {}, [&](const WordRow& row) {
    const auto group = groups.find(row.fact);
    const auto* set = std::ranges::find(kSets, row.source);
    if (group == groups.end() || set == kSets.end()) return;
    Count& count = counts[{row.condition, group->second}];
    count.after[static_cast<size_t>(set - kSets.begin())] += row.top_after;
    if (set != kSets.begin()) return;
    count.facts += 1;
    count.prompts += static_cast<double>(row.prompts);
    count.before += row.top;
  });
  for (size_t c = 0; c < kConditions.size(); ++c) {
    for (size_t g = 0; g < kGroups.size(); ++g) {
      const auto found = counts.find({std::string(kConditions[c]), kGroups[g]});
      if (found == counts.end()) continue;
      const Count& count = found->second;
      std::vector<ReportCell> row = {text_cell(kConditionTitles[c]), text_cell(kGroupTitles[g]),
                                     number_cell(count.facts), number_cell(count.prompts),
                                     number_cell(count.before)};
      for (const double after : count.after) row.push_back(number_cell(after));
      table.rows.push_back(std::move(row));
    }
  }
  return table;
}

}  // namespace

std::vector<ReportSection> sections(const ReportInput& input) {
  if (input.option("audit").empty()) return {};
  ReportSection section{
      "words", "Knowledge, or a word?", "", "engram audit MODEL ... --only words", {}};
  const std::map<int64_t, OfFact> facts = read(input);
  if (facts.empty()) {
    section.blocks.emplace_back(
        skipped_table(input, "words", "words-verdict", "Knowledge, or a word?"));
    return {std::move(section)};
  }
  const std::map<int64_t, FactGroup> groups = screen::fact_groups(input.run);
  const Estimates found = estimate(input, facts, groups);
  section.blocks.emplace_back(verdict_table(found));

  ReportTable means = make_table(
      "words", "Change of the answer's log-odds by prompt, group and set",
      "The sets are set to zero. Exploratory but for the rows of the hypotheses.",
      "Mean over a fact's prompts, then over facts; facts without located neurons count with no "
      "change. Matched: nearest neighbours in signed activation, value norm and activation x "
      "gradient, three draws; next: the next ones by activation x gradient; both in the same "
      "layers, never a neuron that was located for a fact of the run.",
      {{"prompts", CellFormat::kText}, {"facts", CellFormat::kText}});
  for (const char* set : kSetTitles) means.columns.push_back({set, CellFormat::kSigned});
  for (size_t c = 0; c < kConditions.size(); ++c) {
    for (size_t g = 0; g < kGroups.size(); ++g) {
      if (std::isnan(found.mean(g, 0, c).value)) continue;  // no prompts of the kind
      std::vector<ReportCell> row = {text_cell(kConditionTitles[c]), text_cell(kGroupTitles[g])};
      for (size_t s = 0; s < kSets.size(); ++s) {
        row.push_back(interval_cell(found.mean(g, s, c)));
      }
      means.rows.push_back(std::move(row));
    }
  }
  section.blocks.emplace_back(std::move(means));

  ReportTable transfer = make_table(
      "words-transfer", "Transfer T",
      "How much of the change of the answer shows for subjects that have another one.",
      "Mean change of the fact's answer on prompts of other subjects, over that on its held-out "
      "prompts; facts with both.",
      {{"facts", CellFormat::kText}});
  for (const char* set : kSetTitles) transfer.columns.push_back({set, CellFormat::kSigned});
  for (size_t g = 0; g < kGroups.size(); ++g) {
    std::vector<ReportCell> row = {text_cell(kGroupTitles[g])};
    for (size_t s = 0; s < kSets.size(); ++s) row.push_back(interval_cell(found.transfer(g, s)));
    transfer.rows.push_back(std::move(row));
  }
  section.blocks.emplace_back(std::move(transfer));
  section.blocks.emplace_back(answers_table(input, groups));
  return {std::move(section)};
}

}  // namespace engram::experiments::words
