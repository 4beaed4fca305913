#include <algorithm>
#include <iterator>

#include "store/experiment_tables.h"

namespace engram {

#define ENGRAM_EXPERIMENT(name) \
  namespace experiments::name { \
  ExperimentTables tables();    \
  }
#include "experiments/list.inc"
#undef ENGRAM_EXPERIMENT

ExperimentTables experiment_tables() {
  ExperimentTables all;
  const auto add = [&](ExperimentTables of) {
    std::ranges::move(of.tables, std::back_inserter(all.tables));
    std::ranges::move(of.views, std::back_inserter(all.views));
  };
#define ENGRAM_EXPERIMENT(name) add(experiments::name::tables());
#include "experiments/list.inc"
#undef ENGRAM_EXPERIMENT
  return all;
}

}  // namespace engram
