#include "experiments/screen/rows.h"

#include "store/experiment_tables.h"

namespace engram::experiments::screen {

ExperimentTables tables() { return {{table_of<ScreenRow>()}}; }

}  // namespace engram::experiments::screen
