#include "run/rooms.h"

namespace engram {

#define ENGRAM_EXPERIMENT(name)                  \
  namespace experiments::name {                  \
  std::unique_ptr<Experiment> make_experiment(); \
  }
#include "experiments/list.inc"
#undef ENGRAM_EXPERIMENT

std::vector<std::unique_ptr<Experiment>> make_room_experiments() {
  std::vector<std::unique_ptr<Experiment>> all;
#define ENGRAM_EXPERIMENT(name) all.push_back(experiments::name::make_experiment());
#include "experiments/list.inc"
#undef ENGRAM_EXPERIMENT
  return all;
}

}  // namespace engram
