#pragma once

#include <memory>
#include <vector>

#include "engram/run/experiment.h"

namespace engram {

/// The experiments of src/experiments, in the order of its list. Defined there.
std::vector<std::unique_ptr<Experiment>> make_room_experiments();

}  // namespace engram
