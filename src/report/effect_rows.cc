#include "report/effect_rows.h"

#include <algorithm>
#include <optional>

namespace engram {
namespace {

constexpr std::array<const char*, kEffectKinds> kKindNames = {
    "ig",   "activation", "random-layer",     "random-activation", "random-gradient",
    "next", "other-fact", "activation-same-k"};

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
  const Table& table = run_table("effect");
  const auto column = [&](const char* name) { return table.column(name); };
  const size_t source = column("source"), fact = column("fact"), scope = column("scope"),
               neurons = column("neurons"), prompts = column("prompts"),
               log_odds = column("log_odds"), p = column("p"), log_p = column("log_p"),
               top = column("top"), log_rank = column("log_rank"), known = column("known"),
               known_p = column("known_p"), change_log_odds = column("change_log_odds"),
               change_p = column("change_p"), change_log_p = column("change_log_p"),
               change_top = column("change_top"), change_log_rank = column("change_log_rank"),
               change_known_p = column("change_known_p"), pairs = column("pairs");
  for_rows(input.run, "effect", {{"operation", operation}}, [&](const Cells& row) {
    const std::optional<size_t> at = effect_scope(row.text(scope));
    const std::optional<EffectKind> kind = effect_kind(row.text(source));
    if (!at || !kind) return;
    const size_t place = input.facts.place(row.integer(fact));
    const auto put = [&](EffectSums& sums, size_t of_source) {
      Sums& to = sums.facts[place][*at];
      to.prompts = row.real(prompts);
      to.log_odds = row.real(log_odds);
      to.p = row.real(p);
      to.log_p = row.real(log_p);
      to.top = row.real(top);
      to.log_rank = row.real(log_rank);
      to.known = row.real(known);
      to.known_p = row.real(known_p);
      to.change[of_source] = {row.real(change_log_odds), row.real(change_p),
                              row.real(change_log_p),    row.real(change_top),
                              row.real(change_log_rank), row.real(change_known_p),
                              row.real(prompts)};
      if (const std::span<const std::byte> bytes = row.blob(pairs); !bytes.empty()) {
        read_pair_bytes(bytes, of_source, to.pairs);
      }
    };
    if (*kind != kBaselineSet) put(rows.controls, control_source(*kind));
    if (*kind == kKnowledgeSet) put(rows.baseline, 0);
    if (*kind == kBaselineSet) put(rows.baseline, 1);
    if (*kind == kKnowledgeSet) rows.empty[place] = row.integer(neurons) == 0;
    rows.there[place] = true;
    rows.any = true;
    rows.text = rows.text || static_cast<Scope>(*at) == Scope::kText;
  });
}

void read_sets(const ReportInput& input, const std::string& operation, EffectRows& rows) {
  const Table& table = run_table("effect_set");
  const auto column = [&](const char* name) { return table.column(name); };
  const size_t source = column("source"), fact = column("fact"), sets = column("sets"),
               neurons = column("neurons"), overlap = column("overlap"),
               missing = column("missing"), activation = column("difference_activation"),
               value = column("difference_value"), product = column("difference_product");
  for_rows(input.run, "effect_set", {{"operation", operation}}, [&](const Cells& row) {
    const std::optional<EffectKind> kind = effect_kind(row.text(source));
    if (!kind || *kind < kLayerSet) return;
    rows.controls.match[input.facts.place(row.integer(fact))][*kind - kLayerSet] = {
        row.real(sets),
        row.real(neurons),
        row.real(overlap),
        row.real(missing),
        {row.real(activation), row.real(value), row.real(product)}};
  });
}

void read_draws(const ReportInput& input, const std::string& operation, EffectRows& rows) {
  const Table& table = run_table("effect_draw");
  const size_t source = table.column("source"), relation = table.column("relation"),
               scope = table.column("scope"), draw = table.column("draw"),
               change = table.column("change_log_odds");
  for (auto& of_scope : rows.controls.draws) {
    for (auto& of_source : of_scope) of_source.resize(input.facts.relations().size());
  }
  for_rows(input.run, "effect_draw", {{"operation", operation}}, [&](const Cells& row) {
    const std::optional<size_t> at = effect_scope(row.text(scope));
    const std::optional<EffectKind> kind = effect_kind(row.text(source));
    if (!at || *at >= kNearScopes || !kind || *kind < kLayerSet || *kind > kGradientSet) return;
    auto& sums =
        rows.controls.draws[*at][*kind - kLayerSet][input.facts.relation(row.text(relation))];
    const auto d = static_cast<size_t>(row.integer(draw));
    sums.resize(std::max(sums.size(), d + 1), 0.0);
    sums[d] += row.real(change);
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
