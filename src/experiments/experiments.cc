#include "engram/error.h"
#include "engram/run/experiment.h"

namespace engram {

#define ENGRAM_EXPERIMENT(name)                  \
  namespace experiments::name {                  \
  std::unique_ptr<Experiment> make_experiment(); \
  }
#include "experiments/list.inc"
#undef ENGRAM_EXPERIMENT

std::vector<std::unique_ptr<Experiment>> make_experiments() {
  std::vector<std::unique_ptr<Experiment>> all;
#define ENGRAM_EXPERIMENT(name) all.push_back(experiments::name::make_experiment());
#include "experiments/list.inc"
#undef ENGRAM_EXPERIMENT
  return all;
}

std::unique_ptr<Experiment> make_experiment(std::string_view name) {
  for (auto& experiment : make_experiments()) {
    if (experiment->name() == name) return std::move(experiment);
  }
  throw UsageError("there is no experiment \"" + std::string(name) + "\"");
}

}  // namespace engram
