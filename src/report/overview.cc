// What the report opens with: the numbers behind the verdict and the forest plot, taken from the
// tables, so that nothing here can differ from them.
#include <algorithm>
#include <array>
#include <cmath>

#include "report/sections.h"
#include "report/verdict.h"

namespace engram {
namespace {

constexpr const char* kAllFacts = "all";
constexpr const char* kOwnPrompts = "own prompts";
constexpr const char* kHeldOutPrompts = "held-out prompts";
constexpr const char* kLocatedTitle = "knowledge neurons";
constexpr const char* kOtherFactTitle = "another fact's";
/// What located neurons must do more than. The activation baseline is no control: its sets are of
/// other sizes.
constexpr std::array<const char*, 5> kControlTitles = {
    "random: same layer", "random: + activation, value", "random: + gradient", "next neurons",
    "activation, same number"};

Interval number_of(const RunReport& report, const std::string& id,
                   const std::vector<std::string>& labels, const std::string& title) {
  const std::optional<ReportCell> cell = find_cell(report, id, labels, title);
  return cell ? cell->number : VerdictInput::kNone;
}

VerdictInput::Effect effect_on(const RunReport& report, const char* prompts) {
  VerdictInput::Effect effect;
  effect.change = number_of(report, "suppress", {prompts, kAllFacts}, kLocatedTitle);
  const auto against = [&](const char* title) {
    return number_of(report, "suppress-difference", {prompts, kAllFacts, title}, "difference");
  };
  for (const char* title : kControlTitles) effect.controls.push_back({title, against(title)});
  effect.other_set = against(kOtherFactTitle);
  return effect;
}

}  // namespace

std::optional<ReportCell> find_cell(const RunReport& report, const std::string& id,
                                    const std::vector<std::string>& labels,
                                    const std::string& title) {
  for (const ReportSection& section : report.sections) {
    for (const ReportBlock& block : section.blocks) {
      const auto* table = std::get_if<ReportTable>(&block);
      if (table == nullptr || table->id != id) continue;
      const auto column = std::ranges::find(table->columns, title, &ReportColumn::title);
      if (column == table->columns.end()) return {};
      for (const auto& row : table->rows) {
        bool same = row.size() >= labels.size();
        for (size_t i = 0; same && i < labels.size(); ++i) same = row[i].text == labels[i];
        if (same) return row.at(static_cast<size_t>(column - table->columns.begin()));
      }
    }
  }
  return {};
}

VerdictInput verdict_input(const RunReport& report) {
  VerdictInput input;
  input.own = effect_on(report, kOwnPrompts);
  input.held_out = effect_on(report, kHeldOutPrompts);
  input.other_facts =
      number_of(report, "suppress", {"other facts of the relation", kAllFacts}, kLocatedTitle);
  input.known = number_of(report, "suppress", {kOwnPrompts, "known"}, kLocatedTitle);
  input.never = number_of(report, "suppress", {kOwnPrompts, "never"}, kLocatedTitle);
  input.update_rate = number_of(report, "update", {kLocatedTitle, kHeldOutPrompts}, "success rate");
  constexpr const char* kEqualWrite = "random activated neurons, equal write";
  input.update = VerdictInput::Control{
      kEqualWrite,
      number_of(report, "update-difference", {kEqualWrite, kHeldOutPrompts}, "success rate")};
  return input;
}

Chart forest_chart(const RunReport& report) {
  Chart chart;
  chart.id = "forest";
  chart.title = "Suppression, beside its controls";
  chart.meaning =
      "Change of the answer's log-odds when neurons are set to zero, mean over facts with 95 % "
      "intervals; further left is a stronger effect.";
  chart.kind = ChartKind::kRows;
  chart.x = {"change of log-odds", false, false};
  chart.y = {"neurons", false, false};
  std::vector<const char*> titles = {kLocatedTitle};
  titles.insert(titles.end(), kControlTitles.begin(), kControlTitles.end());
  titles.push_back(kOtherFactTitle);
  std::array<ChartSeries, 2> series = {ChartSeries{kOwnPrompts, {}},
                                       ChartSeries{kHeldOutPrompts, {}}};
  for (const char* title : titles) {
    const std::array<Interval, 2> found = {
        number_of(report, "suppress", {kOwnPrompts, kAllFacts}, title),
        number_of(report, "suppress", {kHeldOutPrompts, kAllFacts}, title)};
    if (std::ranges::all_of(found, [](const Interval& i) { return std::isnan(i.value); })) continue;
    const auto place = static_cast<double>(chart.categories.size());
    chart.categories.emplace_back(title);
    for (size_t s = 0; s < found.size(); ++s) series[s].points.push_back({place, 0, found[s]});
  }
  if (!chart.categories.empty()) chart.series.assign(series.begin(), series.end());
  return chart;
}

}  // namespace engram
