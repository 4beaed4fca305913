// Suppressing and amplifying, relation by relation.
#include <array>
#include <vector>

#include "experiments/effects/section.h"
#include "statistics/effect_sums.h"

namespace engram::experiments::effects {
namespace {

/// One relation's changes of log-odds with intervals, [own, held-out][kind], and the knowledge
/// neurons' ratios of means.
struct RelationChanges {
  std::array<std::array<Interval, kEffectKinds>, kNearScopes> log_odds;
  std::array<Interval, kNearScopes> ratio;
};

RelationChanges relation_changes(const ReportInput& input, const EffectRows& rows,
                                 const std::vector<size_t>& facts, size_t relation) {
  constexpr size_t kWidth = 2 + 2 * kEffectKinds;  // P, its change; then change and facts by kind
  constexpr size_t kOut = kEffectKinds + 1;
  FactSums sums(input.facts, kNearScopes * kWidth);
  for (const size_t f : facts) {
    const std::span<double> of = sums.of(input.facts.facts()[f].id);
    for (size_t scope = 0; scope < kNearScopes; ++scope) {
      const double prompts = rows.controls.facts[f][scope].prompts;
      if (prompts == 0) continue;
      of[scope * kWidth] += rows.controls.facts[f][scope].p;
      of[scope * kWidth + 1] += rows.controls.facts[f][scope].change[kLocated].p;
      for (size_t k = 0; k < kEffectKinds; ++k) {
        const Sums::Change& change = rows.change(f, scope, static_cast<EffectKind>(k));
        if (change.prompts == 0) continue;
        of[scope * kWidth + 2 + 2 * k] += change.log_odds / prompts;
        of[scope * kWidth + 3 + 2 * k] += 1;
      }
    }
  }
  const std::vector<Interval> found = bootstrap(
      sums.sums_of(relation), kNearScopes * kOut,
      [](std::span<const std::vector<double>> drawn, std::span<double> out) {
        const std::vector<double> total = total_of(drawn);
        for (size_t i = 0; i < out.size(); ++i) {
          const double* of = total.data() + i / kOut * kWidth;
          const size_t k = i % kOut;
          out[i] = k == kEffectKinds ? ratio(of[1], of[0]) : ratio(of[2 + 2 * k], of[3 + 2 * k]);
        }
      },
      input.options.bootstrap);
  RelationChanges changes;
  for (size_t scope = 0; scope < kNearScopes; ++scope) {
    for (size_t k = 0; k < kEffectKinds; ++k) {
      changes.log_odds[scope][k] = found[scope * kOut + k];
    }
    changes.ratio[scope] = found[scope * kOut + kEffectKinds];
  }
  return changes;
}

}  // namespace

void add_relations(const ReportInput& input, const EffectRows& rows, const std::string& id,
                   ReportSection& section) {
  ReportTable table = make_table(
      id + "-relations", "By relation", "Change of log-odds, relation by relation.",
      "Mean over the relation's facts; the interval resamples its objects, and there is none with "
      "fewer than 10. P: ratio of means of the knowledge neurons.",
      {{"relation", CellFormat::kRelation},
       {"facts", CellFormat::kCount},
       {"known", CellFormat::kCount},
       {"never", CellFormat::kCount},
       {"without neurons", CellFormat::kCount},
       {"P before", CellFormat::kNumber}});
  constexpr std::array<const char*, kNearScopes> kTitles = {"own", "held-out"};
  for (const char* scope : kTitles) {
    for (const char* title : kKindTitles) {
      table.columns.push_back({std::string(scope) + ": " + title, CellFormat::kSigned});
    }
    table.columns.push_back(
        {std::string(scope) + ": P, knowledge neurons", CellFormat::kSignedPercent});
  }
  constexpr std::array<EffectKind, 4> kCharted = {kKnowledgeSet, kGradientSet, kNextSet,
                                                  kOtherFactSet};
  std::array<Chart, kNearScopes> charts;
  for (size_t scope = 0; scope < kNearScopes; ++scope) {
    Chart& chart = charts[scope];
    chart.id = id + (scope == 0 ? "-own-chart" : "-held-out-chart");
    chart.title =
        scope == 0 ? "Change of log-odds on own prompts" : "Change of log-odds on held-out prompts";
    chart.meaning = "Change of log-odds by relation with 95 % intervals.";
    chart.kind = ChartKind::kRows;
    chart.x = {"change of log-odds", false, false};
    chart.y = {"relation", false, false};
    chart.relations = true;
    for (const EffectKind kind : kCharted) chart.series.push_back({kKindTitles[kind], {}});
  }
  for (size_t r = 0; r < input.facts.relations().size(); ++r) {
    std::vector<size_t> facts;
    std::array<double, kFactGroups> groups{};
    double empty = 0;
    double p = 0;
    double prompts = 0;
    for (size_t f = 0; f < rows.there.size(); ++f) {
      if (!rows.there[f] || input.facts.facts()[f].relation != r) continue;
      const Sums& own = rows.controls.facts[f][0];
      const FactGroup group = group_of(own);
      if (input.options.known_only && group != FactGroup::kKnown) continue;
      facts.push_back(f);
      groups[static_cast<size_t>(group)] += 1;
      empty += rows.empty[f] ? 1 : 0;
      p += own.p;
      prompts += own.prompts;
    }
    if (facts.empty()) continue;
    const RelationChanges changes = relation_changes(input, rows, facts, r);
    std::vector<ReportCell> cells = {text_cell(input.facts.relations()[r]),
                                     number_cell(static_cast<double>(facts.size())),
                                     number_cell(groups[static_cast<size_t>(FactGroup::kKnown)]),
                                     number_cell(groups[static_cast<size_t>(FactGroup::kNever)]),
                                     number_cell(empty),
                                     number_cell(ratio(p, prompts))};
    const auto place = static_cast<double>(table.rows.size());
    for (size_t scope = 0; scope < kNearScopes; ++scope) {
      for (const Interval& value : changes.log_odds[scope]) cells.push_back(interval_cell(value));
      cells.push_back(interval_cell(changes.ratio[scope]));
      charts[scope].categories.push_back(input.facts.relations()[r]);
      size_t s = 0;
      for (const EffectKind kind : kCharted) {
        charts[scope].series[s++].points.push_back({place, 0, changes.log_odds[scope][kind]});
      }
    }
    table.rows.push_back(std::move(cells));
  }
  section.blocks.emplace_back(std::move(charts[0]));
  section.blocks.emplace_back(std::move(charts[1]));
  section.blocks.emplace_back(std::move(table));
}

}  // namespace engram::experiments::effects
