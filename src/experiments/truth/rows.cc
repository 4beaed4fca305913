#include "experiments/truth/rows.h"

#include "store/experiment_tables.h"

namespace engram::experiments::truth {

ExperimentTables tables() { return {{table_of<TruthRow>(), table_of<TruthScoreRow>()}}; }

}  // namespace engram::experiments::truth
