#include "report/sections.h"

namespace engram {

#define ENGRAM_EXPERIMENT(name)                    \
  namespace name {                                 \
  ReportSection section(const ReportInput& input); \
  }
#include "experiments/list.inc"
#undef ENGRAM_EXPERIMENT

std::vector<ReportSection> room_sections(const ReportInput& input) {
  std::vector<ReportSection> all;
#define ENGRAM_EXPERIMENT(name) all.push_back(name::section(input));
#include "experiments/list.inc"
#undef ENGRAM_EXPERIMENT
  return all;
}

}  // namespace engram
