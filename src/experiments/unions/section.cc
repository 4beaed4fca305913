#include "report/sections.h"

namespace engram::experiments::unions {

/// None of its own: the section of "erase" shows the unions beside the relations' own neurons.
std::vector<ReportSection> sections(const ReportInput& /*input*/) { return {}; }

}  // namespace engram::experiments::unions
