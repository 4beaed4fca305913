#pragma once

#include <vector>

#include "engram/store/schema.h"

namespace engram {

/// The tables of the experiments in src/experiments, which the store knows nothing else of. Defined
/// there.
std::vector<Table> experiment_tables();

}  // namespace engram
