#include "experiments/nonfacts/rows.h"

#include "store/experiment_tables.h"

namespace engram::experiments::nonfacts {

ExperimentTables tables() { return {{table_of<NonFactRow>(), table_of<NonFactNeuronRow>()}}; }

}  // namespace engram::experiments::nonfacts
