#include "experiments/amplify/rows.h"

#include "store/experiment_tables.h"

namespace engram::experiments::amplify {

ExperimentTables tables() { return {{table_of<PushRow>()}}; }

}  // namespace engram::experiments::amplify
