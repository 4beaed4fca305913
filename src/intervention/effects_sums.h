#pragma once

// What an evaluation adds up over prompts and facts, before anything is estimated.

#include <array>
#include <span>
#include <vector>

#include "engram/intervention/effects.h"
#include "statistics/effect_sums.h"

namespace engram {

/// What is done to which neurons.
struct EffectTreatment {
  Intervention intervention;
  std::span<const EffectFact> facts;
  int64_t draws = 0;  ///< random sets per fact and strength; 0: no control at all
};

/// The first half of measure_effects(), everything but the estimates, for several treatments of the
/// same facts, which may differ in their neurons: every prompt runs once without changes for all of
/// them, and those with the same neurons have the same controls. `options` without its intervention
/// and draws. Sums in the order of the treatments.
std::vector<EffectSums> measure_effect_sums(const Model& model,
                                            std::span<const EffectTreatment> treatments,
                                            const EffectOptions& options,
                                            const EffectContext& context,
                                            const EffectProgress& progress = {});

/// What summarise_effects() needs of facts, and of options.
std::vector<SummarisedFact> summarised(std::span<const EffectFact> facts);
SummaryOptions summary_options(const EffectOptions& options, bool with_text);

}  // namespace engram
