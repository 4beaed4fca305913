#include <map>
#include <set>

#include "engram/sources.h"
#include "engram/statistics/effect_report.h"
#include "experiments/locate/rows.h"
#include "experiments/screen/groups.h"
#include "report/sections.h"

namespace engram::experiments::screen {

std::vector<ReportSection> sections(const ReportInput& input) {
  if (input.option("audit").empty()) return {};
  ReportTable table = make_table(
      "screen", "The facts that could be taken, and those that were",
      "Known: the answer is the top one on at least half of a fact's prompts; never given: on "
      "none. "
      "The audit's facts are a seeded sample of both, evenly over the relations.",
      "Left out before: facts whose subject holds the object, without a held-out prompt, or with "
      "fewer than three prompts that locate.",
      {{"facts", CellFormat::kText},
       {"screened", CellFormat::kCount},
       {"taken", CellFormat::kCount},
       {"their relations", CellFormat::kCount},
       {"their objects", CellFormat::kCount},
       {"neurons a fact", CellFormat::kNumber},
       {"without any", CellFormat::kCount},
       {"mean log-odds", CellFormat::kSigned}});
  struct Count {
    double screened = 0, taken = 0, log_odds = 0, neurons = 0, without = 0;
    std::set<size_t> relations, objects;
  };
  std::map<FactGroup, Count> counts;
  const std::map<int64_t, FactGroup> groups = fact_groups(input.run);
  read_rows<ScreenRow>(input.run, {}, [&](const ScreenRow& row) {
    Count& count = counts[group_of(row.prompts, row.top)];
    ++count.screened;
    count.log_odds += row.log_odds;
  });
  std::map<int64_t, double> neurons;
  read_rows<locate::NeuronRow>(input.run, {is(&locate::NeuronRow::source, sources::kIg)},
                               [&](const locate::NeuronRow& row) { ++neurons[row.fact]; });
  for (const FactIndex::Fact& fact : input.facts.facts()) {
    const auto group = groups.find(fact.id);
    if (group == groups.end()) continue;
    Count& count = counts[group->second];
    ++count.taken;
    count.relations.insert(fact.relation);
    count.objects.insert(fact.cluster);
    const auto located = neurons.find(fact.id);
    count.neurons += located == neurons.end() ? 0 : located->second;
    count.without += located == neurons.end() ? 1 : 0;
  }
  for (const auto& [group, name] : {std::pair{FactGroup::kKnown, "known"},
                                    {FactGroup::kNever, "never given"},
                                    {FactGroup::kAll, "on fewer than half of the prompts"}}) {
    const Count& count = counts[group];
    table.rows.push_back({text_cell(name), number_cell(count.screened), number_cell(count.taken),
                          number_cell(static_cast<double>(count.relations.size())),
                          number_cell(static_cast<double>(count.objects.size())),
                          number_cell(ratio(count.neurons, count.taken)),
                          number_cell(count.without),
                          number_cell(ratio(count.log_odds, count.screened))});
  }
  if (groups.empty()) {
    table.rows.clear();
    table.skipped = missing_reason(input, "screen");
  }
  ReportSection section{"screen", "The audit's facts", "", "engram audit MODEL ...", {}};
  section.blocks.emplace_back(std::move(table));
  return {std::move(section)};
}

}  // namespace engram::experiments::screen
