#include "store/experiment_tables.h"

namespace engram::experiments::stability {

/// None of its own: other scores and sets are rows of the tables of "locate".
ExperimentTables tables() { return {}; }

}  // namespace engram::experiments::stability
