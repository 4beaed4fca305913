#pragma once

#include <cstdint>
#include <vector>

#include "engram/run/experiment.h"

namespace engram::experiments::screen {

/// The facts of the audit: RunOptions::audit's numbers of those that the model knows and of those
/// that it never gives, evenly over the relations, by the run's seed. Ids, ascending. Throws
/// InputError where there is none. REQUIRES: the run has been screened.
std::vector<int64_t> audit_sample(const RunContext& run);

}  // namespace engram::experiments::screen
