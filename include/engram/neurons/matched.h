#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cstdint>
#include <span>
#include <unordered_set>
#include <vector>

#include "engram/model/model.h"
#include "engram/model/neuron.h"

namespace engram {

/// How closely random neurons resemble the located ones. Each strength's candidates are among those
/// of the one before (METHOD section 4).
enum class MatchStrength {
  kLayer,       ///< same layer
  kActivation,  ///< and same decile of |activation| and of the value's norm in the layer
  kGradient,    ///< and same decile of |gradient|; may absorb the effect itself
};
constexpr std::array<MatchStrength, 3> kMatchStrengths = {
    MatchStrength::kLayer, MatchStrength::kActivation, MatchStrength::kGradient};
const char* match_name(MatchStrength strength);  ///< "layer", "activation", "gradient"

/// Decile 0..9 of each value within its row, by rank; ties by index. `values` [layers, d_ff].
at::Tensor deciles(const at::Tensor& values);

/// Random sets of one strength for one fact.
struct MatchedSets {
  std::vector<std::vector<NeuronId>> draws;
  /// Located neurons (of one draw) whose cell was too small, so that a weaker match stands in.
  int64_t weakened = 0;
  /// Located neurons for which not even the layer has a neuron left: the sets are smaller.
  int64_t missing = 0;
};

/// Draws random sets that match located ones neuron by neuron. Immutable after construction.
class MatchedSampler {
 public:
  /// `located`: every neuron located for any fact; none of them is ever drawn.
  MatchedSampler(const Model& model, std::unordered_set<NeuronId> located);

  /// `draws` sets for `neurons` (each once), which are never drawn themselves. `activation` and
  /// `gradient` [layers, d_ff] are the fact's profile; `gradient` may be undefined but for
  /// kGradient. Within a set no neuron occurs twice.
  [[nodiscard]] MatchedSets draw(std::span<const NeuronId> neurons, MatchStrength strength,
                                 const at::Tensor& activation, const at::Tensor& gradient,
                                 int64_t draws, uint64_t seed) const;

  /// The neurons that may stand for `neuron`, ascending.
  [[nodiscard]] std::vector<int32_t> candidates(NeuronId neuron, MatchStrength strength,
                                                const at::Tensor& activation_deciles,
                                                const at::Tensor& gradient_deciles,
                                                std::span<const NeuronId> also_not = {}) const;

 private:
  int64_t layers_ = 0;
  int64_t d_ff_ = 0;
  at::Tensor value_deciles_;  ///< [layers, d_ff] uint8
  std::unordered_set<NeuronId> located_;
};

}  // namespace engram
