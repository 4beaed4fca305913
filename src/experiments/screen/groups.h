#pragma once

#include <cstdint>
#include <map>
#include <set>

#include "engram/statistics/effect_report.h"
#include "experiments/screen/rows.h"
#include "store/typed_rows.h"

namespace engram::experiments::screen {

/// Of every screened fact: known, never given, or neither (FactGroup::kAll).
inline std::map<int64_t, FactGroup> fact_groups(RunStore& run) {
  std::map<int64_t, FactGroup> groups;
  read_rows<ScreenRow>(
      run, {}, [&](const ScreenRow& row) { groups[row.fact] = group_of(row.prompts, row.top); });
  return groups;
}

/// The screened facts that the model knows.
inline std::set<int64_t> known_facts(RunStore& run) {
  std::set<int64_t> known;
  for (const auto& [fact, group] : fact_groups(run)) {
    if (group == FactGroup::kKnown) known.insert(fact);
  }
  return known;
}

}  // namespace engram::experiments::screen
