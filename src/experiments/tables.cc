#include "experiments/sizes/rows.h"
#include "store/experiment_tables.h"

namespace engram {

std::vector<Table> experiment_tables() {
  std::vector<Table> all;
#define ENGRAM_EXPERIMENT(name) \
  for (Table & table : name::tables()) all.push_back(std::move(table));
#include "experiments/list.inc"
#undef ENGRAM_EXPERIMENT
  return all;
}

}  // namespace engram
