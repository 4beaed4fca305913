#pragma once

#include "engram/intervention/effects.h"
#include "engram/neurons/locate.h"
#include "engram/run/experiment.h"

namespace engram {

/// What the experiment "locate" of a run has found, relation by relation, as locate() hands it out:
/// the same facts, sets and statistics. Prompts' rows count on through the run. `sink.on_scores`
/// is not called. REQUIRES: the experiment is done for all relations of the run.
LocateSummary replay_located(const RunContext& run, const LocateSink& sink);

/// The effects that the experiment "effects" of a run has measured for one of its operations
/// ("zero"), with their estimates, as measure_effects() gives them; `trials` and `prompts` are not
/// stored and empty. Of `how` the bootstrap, known_only and keep_details count. Facts are those of
/// replayed_facts(). REQUIRES: the experiment is done for all relations of the run.
EffectReport replay_effects(const RunContext& run, std::string_view operation,
                            const EffectOptions& how);

/// Ids of the facts that replay_effects() numbers.
std::vector<int64_t> replayed_facts(const RunContext& run);

}  // namespace engram
