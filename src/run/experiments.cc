#include "engram/error.h"
#include "engram/run/experiment.h"
#include "run/rooms.h"

namespace engram {

std::vector<std::unique_ptr<Experiment>> make_experiments() {
  std::vector<std::unique_ptr<Experiment>> all;
  all.push_back(make_locate_experiment());
  all.push_back(make_stability_experiment());
  for (auto& experiment : make_room_experiments()) all.push_back(std::move(experiment));
  return all;
}

std::unique_ptr<Experiment> make_experiment(std::string_view name) {
  for (auto& experiment : make_experiments()) {
    if (experiment->name() == name) return std::move(experiment);
  }
  throw UsageError("there is no experiment \"" + std::string(name) + "\"");
}

}  // namespace engram
