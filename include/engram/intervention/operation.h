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
enum class Operation {
  kZero,      ///< set to 0: suppress
  kMean,      ///< set to the neuron's mean over a reference
  kResample,  ///< set to the neuron's value on another prompt
  kDouble,    ///< times 2: amplify
  kScale,     ///< times a given factor
};

/// An operation with its factor.
struct Manipulation {
  Operation operation = Operation::kZero;
  double factor = 1.0;  ///< of kScale
};

/// "zero", "mean", "resample", "double" or "scale:X" with X a finite number. Throws UsageError.
Manipulation parse_manipulation(std::string_view text);
/// The text that parse_manipulation() takes.
std::string manipulation_name(const Manipulation& manipulation);
/// True where values of a reference are needed: kMean and kResample.
bool needs_reference(const Manipulation& manipulation);

/// The changes that `manipulation` makes to `neurons`. `values` [layers, d_ff] float32 on the CPU
/// holds the mean or the other prompt's activations and may be undefined where needs_reference() is
/// false. REQUIRES: the neurons exist, each once.
std::vector<NeuronChange> changes_of(const Manipulation& manipulation,
                                     std::span<const NeuronId> neurons, const at::Tensor& values);

}  // namespace engram
