#pragma once

#include <memory>

#include "engram/intervention/intervention.h"
#include "engram/run/experiment.h"

namespace engram::experiments::effects {

/// The effects of one intervention, under the name "effects scale:0.5"; not among
/// make_experiments().
std::unique_ptr<Experiment> make_experiment(const Intervention& intervention);

}  // namespace engram::experiments::effects
