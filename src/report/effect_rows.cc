#include "report/effect_rows.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "engram/sources.h"
#include "experiments/effects/sums.h"

namespace engram {
namespace {

using experiments::effects::EffectDrawRow;
using experiments::effects::EffectSetRow;
using experiments::effects::EffectSumsRow;

constexpr std::array<std::string_view, kEffectKinds> kKindNames = {sources::kIg,
                                                                   sources::kActivation,
                                                                   sources::kRandomLayer,
                                                                   sources::kRandomActivation,
                                                                   sources::kRandomGradient,
                                                                   sources::kNext,
                                                                   sources::kOtherFact,
                                                                   sources::kActivationSameK};

std::optional<size_t> effect_scope(std::string_view name) {
  for (size_t s = 0; s < kScopes; ++s) {
    if (name == scope_name(static_cast<Scope>(s))) return s;
  }
  return {};
}

std::optional<EffectKind> effect_kind(std::string_view name) {
  const auto found = std::ranges::find(kKindNames, name);
  if (found == kKindNames.end()) return {};
  return static_cast<EffectKind>(found - kKindNames.begin());
}

void read_sums(const ReportInput& input, const std::string& operation, EffectRows& rows) {
  const Where where = {is(&EffectSumsRow::operation, operation)};
  read_rows<EffectSumsRow>(input.run, where, [&](const EffectSumsRow& row) {
    const std::optional<size_t> at = effect_scope(row.scope);
    const std::optional<EffectKind> kind = effect_kind(row.source);
    if (!at || !kind) return;
    const size_t place = input.facts.place(row.fact);
    const auto put = [&](EffectSums& sums, size_t source) {
      read_sums_row(row, source, sums.facts[place][*at]);
    };
    if (*kind != kBaselineSet) put(rows.controls, control_source(*kind));
    if (*kind == kKnowledgeSet) put(rows.baseline, 0);
    if (*kind == kBaselineSet) put(rows.baseline, 1);
    if (*kind == kKnowledgeSet) rows.empty[place] = row.neurons == 0;
    rows.there[place] = true;
    rows.any = true;
    rows.text = rows.text || static_cast<Scope>(*at) == Scope::kText;
  });
}

void read_sets(const ReportInput& input, const std::string& operation, EffectRows& rows) {
  const Where where = {is(&EffectSetRow::operation, operation)};
  read_rows<EffectSetRow>(input.run, where, [&](const EffectSetRow& row) {
    const std::optional<EffectKind> kind = effect_kind(row.source);
    if (!kind || *kind < kLayerSet) return;
    rows.controls.match[input.facts.place(row.fact)][*kind - kLayerSet] = match_of(row);
  });
}

void read_draws(const ReportInput& input, const std::string& operation, EffectRows& rows) {
  for (auto& of_scope : rows.controls.draws) {
    for (auto& of_source : of_scope) of_source.resize(input.facts.relations().size());
  }
  const Where where = {is(&EffectDrawRow::operation, operation)};
  read_rows<EffectDrawRow>(input.run, where, [&](const EffectDrawRow& row) {
    const std::optional<size_t> at = effect_scope(row.scope);
    const std::optional<EffectKind> kind = effect_kind(row.source);
    if (!at || *at >= kNearScopes || !kind || *kind < kLayerSet || *kind > kGradientSet) return;
    auto& sums = rows.controls.draws[*at][*kind - kLayerSet][input.facts.relation(row.relation)];
    const auto d = static_cast<size_t>(row.draw);
    sums.resize(std::max(sums.size(), d + 1), 0.0);
    sums[d] += row.change_log_odds;
    rows.draw_count = std::max(rows.draw_count, static_cast<int64_t>(d) + 1);
  });
  // A relation without any draw has no effect either, but a place.
  for (auto& of_scope : rows.controls.draws) {
    for (auto& of_source : of_scope) {
      for (auto& sums : of_source) sums.resize(static_cast<size_t>(rows.draw_count), 0.0);
    }
  }
}

}  // namespace

EffectRows read_effect_rows(const ReportInput& input, const std::string& operation) {
  const size_t facts = input.facts.facts().size();
  EffectRows rows;
  rows.there.resize(facts, false);
  rows.empty.resize(facts, false);
  for (EffectSums* sums : {&rows.controls, &rows.baseline}) {
    sums->facts.resize(facts);
    sums->match.resize(facts);
  }
  read_sums(input, operation, rows);
  if (!rows.any) return rows;
  read_sets(input, operation, rows);
  read_draws(input, operation, rows);
  return rows;
}

}  // namespace engram
