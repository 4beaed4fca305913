#pragma once

#include "report/sections.h"

namespace engram::experiments::locate {

/// How exact the scores are.
ReportSection attribution_section(const ReportInput& input);

}  // namespace engram::experiments::locate
