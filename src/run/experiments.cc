#include "engram/run/experiment.h"
#include "run/rooms.h"

namespace engram {

std::vector<std::unique_ptr<Experiment>> make_experiments() {
  std::vector<std::unique_ptr<Experiment>> all;
  all.push_back(make_locate_experiment());
  all.push_back(make_stability_experiment());
  all.push_back(make_effects_experiment());
  all.push_back(make_update_experiment());
  all.push_back(make_erase_experiment());
  all.push_back(make_texts_experiment());
  all.push_back(make_examples_experiment());
  all.push_back(make_unions_experiment());
  for (auto& experiment : make_room_experiments()) all.push_back(std::move(experiment));
  return all;
}

}  // namespace engram
