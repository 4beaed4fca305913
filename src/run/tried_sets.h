#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "engram/intervention/measure.h"
#include "engram/model/model.h"
#include "engram/neuron.h"
#include "engram/text/cloze.h"

namespace engram {

/// Every prompt as it is, and with every set of neurons at zero.
struct TriedSets {
  std::vector<Answered> before;              ///< [prompts]
  std::vector<std::vector<Answered>> after;  ///< [sets][prompts]
  /// Change of the log-odds, mean over the prompts.
  [[nodiscard]] double change(size_t set) const;
};

/// Throws as measure().
TriedSets try_sets(const Model& model, std::span<const Cloze> prompts,
                   std::span<const std::vector<NeuronId>> sets, const MeasureOptions& options);

}  // namespace engram
