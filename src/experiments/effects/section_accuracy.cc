// Accuracy and how much: which share of the right answers is lost with the neurons off.
#include <array>
#include <cmath>
#include <vector>

#include "experiments/effects/section.h"
#include "report/hypotheses.h"
#include "statistics/effect_sums.h"

namespace engram::experiments::effects {
namespace {

constexpr double kThird = 1.0 / 3;

constexpr std::array<EffectKind, 5> kShown = {kKnowledgeSet, kGradientSet, kNextSet, kOtherFactSet,
                                              kBaselineSet};

/// By scope, own and held out, and set: lost answers over those that were right, of known facts.
struct LostAnswers {
  std::array<double, kNearScopes> facts{}, right{};
  std::array<std::array<Interval, kShown.size()>, kNearScopes> lost;
};

LostAnswers lost_answers(const ReportInput& input, const EffectRows& rows) {
  constexpr size_t kWidth = 2 * kShown.size();  // right before and lost, by set
  LostAnswers found;
  FactSums sums(input.facts, kNearScopes * kWidth);
  constexpr auto kOwn = static_cast<size_t>(Scope::kOwn);
  for (size_t f = 0; f < input.facts.facts().size(); ++f) {
    if (!rows.there[f]) continue;
    if (group_of(rows.controls.facts[f][kOwn]) != FactGroup::kKnown) continue;
    const std::span<double> of = sums.of(input.facts.facts()[f].id);
    for (size_t scope = 0; scope < kNearScopes; ++scope) {
      const Sums& before = rows.controls.facts[f][scope];
      if (before.prompts == 0) continue;
      found.facts[scope] += 1;
      found.right[scope] += before.top;
      for (size_t k = 0; k < kShown.size(); ++k) {
        const Sums::Change& change = rows.change(f, scope, kShown[k]);
        if (change.prompts == 0) continue;
        of[scope * kWidth + 2 * k] += before.top / before.prompts;
        of[scope * kWidth + 2 * k + 1] -= change.top / before.prompts;
      }
    }
  }
  if (sums.empty()) return found;
  const std::vector<Interval> all = bootstrap_totals(
      sums, kNearScopes * kShown.size(),
      [](std::span<const double> total, std::span<double> out) {
        for (size_t i = 0; i < out.size(); ++i) out[i] = ratio(total[2 * i + 1], total[2 * i]);
      },
      input.options.bootstrap);
  for (size_t scope = 0; scope < kNearScopes; ++scope) {
    for (size_t k = 0; k < kShown.size(); ++k) {
      found.lost[scope][k] = all[scope * kShown.size() + k];
    }
  }
  return found;
}

}  // namespace

void add_accuracy(const ReportInput& input, const EffectRows& rows, ReportSection& section) {
  const LostAnswers found = lost_answers(input, rows);
  if (found.facts[0] == 0) return;
  if (found.facts[1] > 0) {
    const Interval& held_out = found.lost[1][0];
    const Hypothesis hypotheses[] = {
        {"H: on held-out prompts less than a third of the known facts' right answers is lost",
         held_out, decide_below(held_out, kThird),
         "Most answers stay: the neurons make an answer less probable, and seldom another one the "
         "top.",
         "At least a third of the answers is lost."}};
    section.blocks.emplace_back(hypothesis_table(
        "suppress-lost-verdict", "Are answers lost?",
        "The paper counts the change of the answer's probability, not answers.", hypotheses));
  }
  ReportTable table = make_table(
      "suppress-lost", "Right answers lost", "How many answers does it take away?",
      "Of the prompts of known facts whose answer is the top one, the share for which it no longer "
      "is, less those that become right: mean over a fact's prompts, then over facts.",
      {{"prompts", CellFormat::kText},
       {"facts", CellFormat::kCount},
       {"right before", CellFormat::kCount}});
  for (const EffectKind kind : kShown) {
    table.columns.push_back({kKindTitles[kind], CellFormat::kPercent});
  }
  constexpr std::array<const char*, kNearScopes> kScopeNames = {"own prompts", "held-out prompts"};
  for (size_t scope = 0; scope < kNearScopes; ++scope) {
    if (found.facts[scope] == 0) continue;
    std::vector<ReportCell> row = {text_cell(kScopeNames[scope]), number_cell(found.facts[scope]),
                                   number_cell(found.right[scope])};
    for (size_t k = 0; k < kShown.size(); ++k) row.push_back(interval_cell(found.lost[scope][k]));
    table.rows.push_back(std::move(row));
  }
  section.blocks.emplace_back(std::move(table));
}

}  // namespace engram::experiments::effects
