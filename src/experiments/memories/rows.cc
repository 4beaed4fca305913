#include "experiments/memories/rows.h"

#include "store/experiment_tables.h"

namespace engram::experiments::memories {

ExperimentTables tables() { return {{table_of<KeyRow>()}}; }

}  // namespace engram::experiments::memories
