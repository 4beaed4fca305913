#include <map>

#include "engram/statistics/effect_report.h"
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
       {"mean log-odds", CellFormat::kSigned}});
  struct Count {
    double screened = 0, taken = 0, log_odds = 0;
  };
  std::map<FactGroup, Count> counts;
  const std::map<int64_t, FactGroup> groups = fact_groups(input.run);
  read_rows<ScreenRow>(input.run, {}, [&](const ScreenRow& row) {
    Count& count = counts[group_of(row.prompts, row.top)];
    ++count.screened;
    count.log_odds += row.log_odds;
  });
  for (const FactIndex::Fact& fact : input.facts.facts()) {
    const auto group = groups.find(fact.id);
    if (group != groups.end()) ++counts[group->second].taken;
  }
  for (const auto& [group, name] : {std::pair{FactGroup::kKnown, "known"},
                                    {FactGroup::kNever, "never given"},
                                    {FactGroup::kAll, "on fewer than half of the prompts"}}) {
    const Count& count = counts[group];
    table.rows.push_back({text_cell(name), number_cell(count.screened), number_cell(count.taken),
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
