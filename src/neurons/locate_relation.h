#pragma once

#include <span>
#include <vector>

#include "engram/neurons/locate.h"
#include "engram/neurons/selection.h"
#include "engram/statistics/neuron_sets.h"

namespace engram {

/// Chooses the neurons of a relation's facts, all of them attributed: `bags` holds what passed on
/// their prompts. Fills the facts' sets, appends these to `sets`, and adds the relation up.
/// REQUIRES: as many bags as facts, at least one.
LocatedRelation close_relation(std::vector<LocatedFact>& facts, std::span<const Bag> bags,
                               const LocateOptions& options, std::vector<FactNeurons>& sets);

}  // namespace engram
