#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>

#include "edit/padded.h"
#include "engram/model/model.h"
#include "engram/text/cloze.h"

// Scores that come from a gate on every value vector, in all layers and at all tokens at once
// (METHOD section 9). Each is [layers, d_ff] float32 on the CPU: the larger, the more the neuron
// is needed for the answers. All throw InputError where there is no prompt, and Interrupted.
namespace engram {

/// -log P of the prompts' answers as a function of the gates.
class GatedLoss {
 public:
  GatedLoss(const Model& model, std::span<const Cloze> prompts);
  /// Mean over prompts and their tokens, a scalar that is differentiable in `gates` [layers, d_ff].
  at::Tensor operator()(const at::Tensor& gates);
  /// Of log P by the gates, [layers, d_ff].
  at::Tensor gradient(const at::Tensor& gates);
  /// Gates that are all `value`, [layers, d_ff].
  [[nodiscard]] at::Tensor all(double value) const;

 private:
  const Model& model_;
  Model gated_;
  AskedPrompts prompts_;
};

/// The integral of the gradient between all gates at 0 and all at 1, by midpoints.
at::Tensor integrated_gates(GatedLoss& loss, int64_t steps);

/// Mean of the gradients under seeded draws of open and closed gates; in each draw a share of open
/// ones, which is even between 0 and 1, is the probability of every gate.
at::Tensor expected_gates(GatedLoss& loss, int64_t draws, uint64_t seed);

/// How gates are learned.
struct GateTraining {
  int64_t steps = 200;  ///< of Adam
  double rate = 0.01;   ///< its learning rate
  double penalty = 1;   ///< of open gates, on their mean
};

/// Network slimming: gates in [0, 1], from 1 on, learn loss + penalty x mean gate. The gate is the
/// score.
at::Tensor slimmed_gates(GatedLoss& loss, const GateTraining& training);

/// Hard concrete gates (Louizos et al. 2018, 1712.01312, section 2): loss + penalty x mean
/// probability of being open. The score is log alpha.
at::Tensor hard_concrete_gates(GatedLoss& loss, const GateTraining& training, uint64_t seed);

}  // namespace engram
