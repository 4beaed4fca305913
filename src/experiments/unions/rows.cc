#include "experiments/unions/rows.h"

#include "store/experiment_tables.h"

namespace engram::experiments::unions {

ExperimentTables tables() { return {{table_of<TextPerplexityRow>()}}; }

}  // namespace engram::experiments::unions
