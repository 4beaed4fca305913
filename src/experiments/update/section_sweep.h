#pragma once

#include "report/edits.h"

namespace engram::experiments::update {

/// The sweep over strength and number of neurons: its table, then its charts.
void add_update_sweep(const ReportInput& input, const Edits& edits, ReportSection& section);

}  // namespace engram::experiments::update
