#include "experiments/editors/rows.h"

#include "store/experiment_tables.h"

namespace engram::experiments::editors {

ExperimentTables tables() { return {{table_of<LayerShareRow>()}}; }

}  // namespace engram::experiments::editors
