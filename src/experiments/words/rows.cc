#include "experiments/words/rows.h"

#include "store/experiment_tables.h"

namespace engram::experiments::words {

ExperimentTables tables() { return {{table_of<WordRow>()}}; }

}  // namespace engram::experiments::words
