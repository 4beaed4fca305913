#include "experiments/examples/rows.h"

#include "store/experiment_tables.h"

namespace engram::experiments::examples {

ExperimentTables tables() { return {{table_of<CandidateRow>(), table_of<ExampleRow>()}}; }

}  // namespace engram::experiments::examples
