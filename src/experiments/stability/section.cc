// Would other prompts, or another way to integrate, have given the same neurons?
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "engram/sources.h"
#include "experiments/locate/rows.h"
#include "report/neuron_sets.h"
#include "report/sections.h"

namespace engram::experiments::stability {
namespace {

using locate::AttributionRow;
using locate::SelectionRow;

/// Both halves of a fact's prompts must hold at least this many: with fewer there is no refinement.
constexpr int64_t kHalf = 3;

struct Agreement {
  double facts = 0, both_empty = 0, same = 0;
  Interval jaccard;
  Interval no_hubs;
};

/// `eligible` facts that have both; `hubs` are those of the run's own sets.
Agreement agreement(const ReportInput& input, const SetFamily& a, const SetFamily& b,
                    const std::vector<NeuronFacts>& hubs,
                    const std::function<bool(int64_t)>& eligible) {
  Agreement found;
  FactSums sums(input.facts, 4);  // facts and Jaccard, the same without hubs
  const SetFamily a_rest = without(a, hubs);
  const SetFamily b_rest = without(b, hubs);
  std::map<int64_t, size_t> of_b;
  for (size_t f = 0; f < b.ids.size(); ++f) of_b.emplace(b.ids[f], f);
  for (size_t f = 0; f < a.ids.size(); ++f) {
    const auto other = of_b.find(a.ids[f]);
    if (other == of_b.end() || !eligible(a.ids[f])) continue;
    const double all = jaccard(a.facts[f].neurons, b.facts[other->second].neurons);
    const double rest = jaccard(a_rest.facts[f].neurons, b_rest.facts[other->second].neurons);
    const std::span<double> of = sums.of(a.ids[f]);
    if (std::isnan(all)) {
      found.both_empty += 1;
    } else {
      of[0] += 1;
      of[1] += all;
      found.facts += 1;
      found.same += all == 1 ? 1 : 0;
    }
    if (!std::isnan(rest)) {
      of[2] += 1;
      of[3] += rest;
    }
  }
  const std::vector<Interval> means = bootstrap(
      sums.sums(), 2,
      [](std::span<const std::vector<double>> drawn, std::span<double> out) {
        const std::vector<double> total = total_of(drawn);
        out[0] = ratio(total[1], total[0]);
        out[1] = ratio(total[3], total[2]);
      },
      input.options.bootstrap);
  found.jaccard = means[0];
  found.no_hubs = means[1];
  return found;
}

/// Sources that another quadrature rule or option has made: "ig-" and its name.
std::vector<std::string> other_rules(const ReportInput& input) {
  std::set<std::string> found;
  read_rows<SelectionRow>(input.run, {},
                          [&](const SelectionRow& row) { found.insert(row.source); });
  std::vector<std::string> rules;
  for (const std::string& source : found) {
    if (source.starts_with(sources::kIgVariants) && !source.starts_with(sources::kHalves)) {
      rules.push_back(source);
    }
  }
  return rules;
}

/// Facts with scores of this method: another rule is tried on a sample.
std::set<int64_t> attributed_facts(const ReportInput& input, const std::string& method) {
  std::set<int64_t> ids;
  read_rows<AttributionRow>(input.run, {is(&AttributionRow::method, method)},
                            [&](const AttributionRow& row) { ids.insert(row.fact); });
  return ids;
}

ReportTable stability_table(const ReportInput& input, const SetFamily& located) {
  ReportTable table = make_table(
      "stability", "Stability of the sets",
      "Would other prompts, or another way to integrate, have given the same neurons?",
      std::string(
          "Jaccard index of a fact's two sets, mean over facts; facts where both sets are "
          "empty have none and are left out. Halves are disjoint and hold at least 3 prompts "
          "each. Hubs here are those of the knowledge neurons. ") +
          kHubsDefined,
      {{"compared", CellFormat::kText},
       {"facts", CellFormat::kCount},
       {"both sets empty", CellFormat::kCount},
       {"Jaccard index", CellFormat::kNumber},
       {"without hubs", CellFormat::kNumber},
       {"identical sets", CellFormat::kPercent}});
  const std::vector<NeuronFacts> hubs = hubs_of(located);
  const auto add = [&](const std::string& name, const SetFamily& a, const SetFamily& b,
                       const std::function<bool(int64_t)>& eligible) {
    if (a.ids.empty() || b.ids.empty()) return;
    const Agreement found = agreement(input, a, b, hubs, eligible);
    table.rows.push_back({text_cell(name), number_cell(found.facts), number_cell(found.both_empty),
                          interval_cell(found.jaccard), interval_cell(found.no_hubs),
                          number_cell(ratio(found.same, found.facts))});
  };
  add("two halves of the prompts", read_family(input, sources::kHalf0),
      read_family(input, sources::kHalf1),
      [&](int64_t id) { return input.facts.fact(id).prompts / 2 >= kHalf; });
  for (const std::string& rule : other_rules(input)) {
    const std::set<int64_t> sample = attributed_facts(input, rule);
    add("default rule and " + rule.substr(sources::kIgVariants.size()), located,
        read_family(input, rule), [&](int64_t id) { return sample.contains(id); });
  }
  if (table.rows.empty()) table.skipped = missing_reason(input, "stability");
  return table;
}

}  // namespace

/// Stands in the section "neurons" of "locate".
std::vector<ReportSection> sections(const ReportInput& input) {
  const SetFamily located = read_family(input, sources::kIg);
  if (located.ids.empty()) return {};
  return {{"neurons", "", "", "", {stability_table(input, located)}}};
}

}  // namespace engram::experiments::stability
