#include <algorithm>
#include <cmath>
#include <map>

#include "experiments/sizes/rows.h"
#include "report/sections.h"

namespace engram::experiments::sizes {
namespace {

constexpr std::array<const char*, 3> kTitles = {"by score", "the next k", "another fact's"};
constexpr std::array<int64_t, 9> kShown = {1, 2, 5, 10, 20, 50, 100, 160, 200};

/// Rows of one order, by k and fact.
using OfOrder = std::map<int64_t, std::map<int64_t, Effect>>;

std::array<OfOrder, kOrders.size()> read(const ReportInput& input) {
  std::array<OfOrder, kOrders.size()> all;
  read_rows<Effect>(input.run, {}, [&](const Effect& row) {
    const auto* order = std::ranges::find(kOrders, row.order);
    if (order == kOrders.end()) return;
    all[static_cast<size_t>(order - kOrders.begin())][row.k][row.fact] = row;
  });
  return all;
}

/// The answer is the top one on at least half of the prompts.
bool answered(int64_t top, int64_t prompts) { return 2 * top >= prompts; }

/// Change of the log-odds for one k: mean over a fact's prompts, then over facts.
Interval change(const ReportInput& input, const std::map<int64_t, Effect>& facts) {
  FactSums sums(input.facts, 2);
  for (const auto& [id, row] : facts) {
    const std::span<double> of = sums.of(id);
    of[0] += 1;
    of[1] += row.change_log_odds / static_cast<double>(row.prompts);
  }
  return bootstrap(
             sums.sums(), 1,
             [](std::span<const std::vector<double>> drawn, std::span<double> out) {
               const std::vector<double> total = total_of(drawn);
               out[0] = ratio(total[1], total[0]);
             },
             input.options.bootstrap)
      .front();
}

/// Shares of known facts that are still answered after each k, in the order of kSizes, and k50
/// behind them; in the same draws.
std::vector<Interval> answered_shares(const ReportInput& input, const OfOrder& order,
                                      const std::vector<FactGroup>& groups) {
  constexpr size_t kColumns = 2 * kSizes.size();  // facts, and those answered, by k
  FactSums sums(input.facts, kColumns);
  for (size_t s = 0; s < kSizes.size(); ++s) {
    const auto found = order.find(kSizes[s]);
    if (found == order.end()) continue;
    for (const auto& [id, row] : found->second) {
      if (groups[input.facts.place(id)] != FactGroup::kKnown) continue;
      if (!answered(row.top, row.prompts)) continue;
      const std::span<double> of = sums.of(id);
      of[2 * s] += 1;
      of[2 * s + 1] += answered(row.top_after, row.prompts) ? 1 : 0;
    }
  }
  return bootstrap(
      sums.sums(), kSizes.size() + 1,
      [](std::span<const std::vector<double>> drawn, std::span<double> out) {
        const std::vector<double> total = total_of(drawn);
        out[kSizes.size()] = total.empty() || !(total[0] > 0) ? std::nan("") : kLargest + 1;
        for (size_t s = kSizes.size(); s-- > 0;) {
          out[s] = total.empty() ? std::nan("") : ratio(total[2 * s + 1], total[2 * s]);
          if (out[s] <= 0.5) out[kSizes.size()] = static_cast<double>(kSizes[s]);
        }
      },
      input.options.bootstrap);
}

}  // namespace

std::vector<ReportSection> sections(const ReportInput& input) {
  ReportTable table = make_table(
      "sizes", "The k best neurons suppressed",
      "Two to five neurons are what the rules select. How far does one get with more of them, and "
      "do they do more than as many others?",
      "Change of the answer's log-odds on held-out prompts: mean over a fact's prompts, then over "
      "facts. Neurons are ranked by integrated gradients, mean over the prompts that locate. The "
      "next k stand behind them in the ranking; another fact's are the k best of a fact of the "
      "relation with another object. Still answered: of the facts that the model knows and answers "
      "on at least half of their held-out prompts, the share for which it still does.",
      {{"k", CellFormat::kCount}});
  for (const char* title : kTitles) {
    table.columns.push_back({title, CellFormat::kSigned});
  }
  for (const char* title : kTitles) {
    table.columns.push_back({std::string("still answered: ") + title, CellFormat::kPercent});
  }
  ReportTable halves = make_table(
      "sizes-k50", "k50: how many neurons it takes",
      "The smallest k at which half of the known facts are no longer answered.",
      "Over the k that are tried (1 to 200, in steps of a fifth to a third); 201 at the end of an "
      "interval stands for more than 200. Intervals from the same draws of facts.",
      {{"neurons", CellFormat::kText},
       {"known facts", CellFormat::kCount},
       {"k50", CellFormat::kCount}});
  Chart chart;
  chart.id = "sizes-by-k";
  chart.title = "Suppressing the k best neurons";
  chart.meaning = "Change of the answer's log-odds on held-out prompts.";
  chart.kind = ChartKind::kLines;
  chart.x = {"neurons suppressed", true, false};
  chart.y = {"change of log-odds", false, false};

  const std::array<OfOrder, kOrders.size()> orders = read(input);
  const std::vector<FactGroup> groups = fact_groups(input.run, input.facts);
  std::array<std::map<int64_t, Interval>, kOrders.size()> changes;
  std::array<std::vector<Interval>, kOrders.size()> shares;
  for (size_t o = 0; o < kOrders.size(); ++o) {
    ChartSeries series{kTitles[o], {}};
    for (const auto& [k, facts] : orders[o]) {
      const Interval value = change(input, facts);
      changes[o][k] = value;
      series.points.push_back({static_cast<double>(k), static_cast<double>(k), value});
    }
    if (!series.points.empty()) chart.series.push_back(std::move(series));
    if (orders[o].empty()) continue;
    shares[o] = answered_shares(input, orders[o], groups);
    int64_t known = 0;
    for (const auto& [id, row] : orders[o].begin()->second) {
      if (groups[input.facts.place(id)] == FactGroup::kKnown && answered(row.top, row.prompts)) {
        ++known;
      }
    }
    const Interval& k50 = shares[o].back();
    halves.rows.push_back({text_cell(kTitles[o]), number_cell(static_cast<double>(known)),
                           k50.value > kLargest ? text_cell("more than 200") : interval_cell(k50)});
  }
  for (const int64_t k : kShown) {
    const auto s = static_cast<size_t>(std::ranges::find(kSizes, k) - kSizes.begin());
    std::vector<ReportCell> row = {number_cell(static_cast<double>(k))};
    for (const auto& change : changes) {
      const auto found = change.find(k);
      row.push_back(found == change.end() ? number_cell(std::nan(""))
                                          : interval_cell(found->second));
    }
    for (const std::vector<Interval>& share : shares) {
      row.push_back(share.empty() ? number_cell(std::nan("")) : interval_cell(share[s]));
    }
    table.rows.push_back(std::move(row));
  }
  if (chart.series.empty()) {
    table.rows.clear();
    table.skipped = missing_reason(input, "sizes");
    halves.skipped = table.skipped;
  }
  ReportSection section{
      "sizes", "How many neurons?", "", "engram reproduce MODEL ... --only sizes", {}};
  if (!chart.series.empty()) section.blocks.emplace_back(std::move(chart));
  section.blocks.emplace_back(std::move(table));
  section.blocks.emplace_back(std::move(halves));
  return {std::move(section)};
}

}  // namespace engram::experiments::sizes
