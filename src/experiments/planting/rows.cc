#include "experiments/planting/rows.h"

#include "store/experiment_tables.h"

namespace engram::experiments::planting {

ExperimentTables tables() {
  return {{table_of<PlantingRow>(), table_of<PlantingScoreRow>(), table_of<PlantingTuningRow>()}};
}

}  // namespace engram::experiments::planting
