#pragma once

#include <ATen/ATen.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engram/intervention/measure.h"
#include "engram/neuron.h"

namespace engram {

/// What is done to neurons at the target positions (METHOD section 4).
enum class InterventionKind {
  kZero,      ///< set to 0: suppress
  kMean,      ///< set to the neuron's mean over a reference
  kResample,  ///< set to the neuron's value on another prompt
  kDouble,    ///< times 2: amplify
  kScale,     ///< times a given factor
};

/// What is done, with its factor.
struct Intervention {
  InterventionKind kind = InterventionKind::kZero;
  double factor = 1.0;  ///< of kScale
};

/// "zero", "mean", "resample", "double" or "scale:X" with X a finite number. Throws UsageError.
Intervention parse_intervention(std::string_view text);
/// The text that parse_intervention() takes.
std::string intervention_name(const Intervention& intervention);
/// True where values of a reference are needed: kMean and kResample.
bool needs_reference(const Intervention& intervention);

/// The changes that `intervention` makes to `neurons`. `values` [layers, d_ff] float32 on the CPU
/// holds the mean or the other prompt's activations and may be undefined where needs_reference() is
/// false. REQUIRES: the neurons exist, each once.
std::vector<NeuronChange> changes_of(const Intervention& intervention,
                                     std::span<const NeuronId> neurons, const at::Tensor& values);

}  // namespace engram
