#include <algorithm>
#include <iterator>

#include "report/sections.h"

namespace engram {

#define ENGRAM_EXPERIMENT(name)                                  \
  namespace experiments::name {                                  \
  std::vector<ReportSection> sections(const ReportInput& input); \
  }
#include "experiments/list.inc"
#undef ENGRAM_EXPERIMENT

std::vector<ReportSection> experiment_sections(const ReportInput& input) {
  std::vector<ReportSection> all;
  const auto add = [&](std::vector<ReportSection> sections) {
    for (ReportSection& section : sections) {
      const auto same = std::ranges::find(all, section.id, &ReportSection::id);
      if (same == all.end()) {
        all.push_back(std::move(section));
      } else {
        std::ranges::move(section.blocks, std::back_inserter(same->blocks));
      }
    }
  };
#define ENGRAM_EXPERIMENT(name) add(experiments::name::sections(input));
#include "experiments/list.inc"
#undef ENGRAM_EXPERIMENT
  return all;
}

}  // namespace engram
