#pragma once

#include <string_view>

namespace engram::sources {

// Names that a run's tables give to scores (column `method`) and to the neuron sets that come of
// them or stand beside them (column `source`).

constexpr std::string_view kIg = "ig";                  ///< integrated gradients: the located sets
constexpr std::string_view kActivation = "activation";  ///< the baseline
constexpr std::string_view kHalf0 = "ig-half-0";        ///< from one half of a fact's prompts
constexpr std::string_view kHalf1 = "ig-half-1";        ///< from the other half
constexpr std::string_view kReleasedRule = "ig-riemann-left";  ///< the paper's released rule
/// What other ways to integrate than the run's own begin with; halves of the prompts, too.
constexpr std::string_view kIgVariants = "ig-";
constexpr std::string_view kHalves = "ig-half-";

// Controls of located sets.
constexpr std::string_view kRandomLayer = "random-layer";  ///< matched by layer
constexpr std::string_view kRandomActivation = "random-activation";
constexpr std::string_view kRandomGradient = "random-gradient";
constexpr std::string_view kNext = "next";  ///< the next neurons in line
constexpr std::string_view kOtherFact = "other-fact";
constexpr std::string_view kActivationSameK = "activation-same-k";

}  // namespace engram::sources
