#pragma once

#include <vector>

#include "engram/store/schema.h"

namespace engram {

/// What an experiment adds to a run's file.
struct ExperimentTables {
  std::vector<Table> tables;
  std::vector<View> views = {};
};

/// The tables and views of the experiments in src/experiments, in the order of its list; the store
/// knows nothing else of them. Defined there.
ExperimentTables experiment_tables();

}  // namespace engram
