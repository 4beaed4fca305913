#include "experiments/sizes/rows.h"

#include "store/experiment_tables.h"

namespace engram::experiments::sizes {

ExperimentTables tables() { return {{table_of<Ranked>(), table_of<Effect>()}}; }

}  // namespace engram::experiments::sizes
