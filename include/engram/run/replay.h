#pragma once

#include "engram/evaluation/effects.h"
#include "engram/evaluation/locate.h"
#include "engram/run/experiment.h"

namespace engram {

/// What the experiment "locate" of a run has found, relation by relation, as locate() hands it out:
/// the same facts, sets and statistics. Prompts' rows count on through the run. `sink.on_scores`
/// is not called. REQUIRES: the experiment is done for all relations of the run.
LocateSummary replay_located(const RunContext& run, const LocateSink& sink);

/// The effects that the experiment "effects" of a run has measured for one of its operations
/// ("zero"), with their estimates, as measure_effects() gives them; `weakened`, `missing` and
/// `trials` are not stored and 0. REQUIRES: the experiment is done for all relations of the run.
EffectReport replay_effects(const RunContext& run, std::string_view operation,
                            const BootstrapOptions& bootstrap);

}  // namespace engram
