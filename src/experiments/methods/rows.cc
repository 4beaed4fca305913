#include "experiments/methods/rows.h"

#include "store/experiment_tables.h"

namespace engram::experiments::methods {

ExperimentTables tables() { return {{table_of<MethodRow>(), table_of<MethodNeuronRow>()}}; }

}  // namespace engram::experiments::methods
