#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cstdint>
#include <span>
#include <unordered_set>
#include <vector>

#include "engram/model/model.h"
#include "engram/neuron.h"

namespace engram {

/// How random neurons are chosen (METHOD section 4).
enum class MatchStrength {
  kLayer,       ///< any of the same layer
  kActivation,  ///< its nearest neighbours in signed activation and value norm
  kGradient,    ///< and in signed activation x gradient; may absorb the effect itself
};
constexpr std::array<MatchStrength, 3> kMatchStrengths = {
    MatchStrength::kLayer, MatchStrength::kActivation, MatchStrength::kGradient};
const char* match_name(MatchStrength strength);  ///< "layer", "activation", "gradient"

/// Decile 0..9 of each value within its row, by rank; ties by index. `values` [layers, d_ff].
at::Tensor deciles(const at::Tensor& values);

/// In what located neurons and others are compared.
enum class Covariate {
  kActivation,  ///< mean a on the fact's own prompts
  kValueNorm,   ///< norm of the value vector
  kProduct,     ///< mean a dF/da on the fact's own prompts
};
constexpr size_t kCovariates = 3;

/// Random sets of one strength for one fact.
struct MatchedSets {
  std::vector<std::vector<NeuronId>> draws;
  /// Located neurons for which not even the layer has a neuron left: the sets are smaller.
  int64_t missing = 0;
  /// Mean over located neurons and draws of (located - drawn) / standard deviation in the layer, by
  /// Covariate. NaN: the covariate was not given, or nothing was drawn.
  std::array<double, kCovariates> difference{};
};

/// Draws random sets that match located ones neuron by neuron. Immutable after construction.
class MatchedSampler {
 public:
  /// `never`: neurons that are never drawn, those located for any fact.
  MatchedSampler(const Model& model, std::unordered_set<NeuronId> never);

  /// `draws` sets for `neurons` (each once), which are never drawn themselves. Each neuron's
  /// counterpart is drawn among its max(2 draws, 20) nearest neighbours in the layer, by the
  /// Euclidean distance of covariates standardised within the layer. `activation` and `product`
  /// [layers, d_ff] are the fact's profile; both may be undefined for kLayer, `product` for
  /// kActivation. Within a set no neuron occurs twice. Throws InputError for a neuron that the
  /// model does not have.
  [[nodiscard]] MatchedSets draw(std::span<const NeuronId> neurons, MatchStrength strength,
                                 const at::Tensor& activation, const at::Tensor& product,
                                 int64_t draws, uint64_t seed) const;

  /// The neurons with the largest `product`, per layer as many as `neurons` has there, without
  /// those. Fewer where the layer has no more.
  [[nodiscard]] std::vector<NeuronId> next(std::span<const NeuronId> neurons,
                                           const at::Tensor& product) const;

 private:
  [[nodiscard]] bool barred(NeuronId id, std::span<const NeuronId> neurons) const;

  int64_t layers_ = 0;
  int64_t d_ff_ = 0;
  at::Tensor value_norms_;  ///< [layers, d_ff] float32
  std::unordered_set<NeuronId> never_;
};

/// The `count` neurons with the largest values over all layers, ascending by id. `values`
/// [layers, d_ff].
std::vector<NeuronId> largest_neurons(const at::Tensor& values, size_t count);

}  // namespace engram
