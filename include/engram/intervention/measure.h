#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <vector>

#include "engram/model/model.h"
#include "engram/neuron.h"
#include "engram/text/cloze.h"

namespace engram {

/// What is done to one neuron at every target position of a prompt: a becomes factor * a + summand.
struct NeuronChange {
  NeuronId id;
  float factor = 0.0F;   ///< 0 sets
  float summand = 0.0F;  ///< the new value where factor is 0
};

/// One run of a prompt with a set of changes.
struct Trial {
  uint32_t cloze = 0;  ///< index of the prompt
  uint32_t set = 0;    ///< index of the changes
};

/// How the model answers.
struct Answered {
  /// Of the answer at its mask; the mean over the masks for several tokens. Not finite where the
  /// changes were too large for float32; the answer is then never the top one.
  double log_p = 0;
  double p = 0;      ///< exp of log_p
  int64_t rank = 1;  ///< 1 + tokens with a larger logit; the worst of the masks for several
                     ///< tokens; the last one where log_p is not finite
  /// log(p / (1 - p)): the answer's logit minus the logsumexp of all other logits, so that it is
  /// exact where P is nearly 1 as well. Several tokens: the same of p, the geometric mean.
  double log_odds = 0;
  [[nodiscard]] bool top() const { return rank == 1; }
};

struct MeasureOptions {
  int threads = 0;           ///< workers, one BLAS thread each; 0: one per core
  int64_t memory_bytes = 0;  ///< budget for the buffers of all workers; 0: half of what is free
  int64_t batch_bytes = 0;   ///< cuts batches by this instead, for the same bits whatever
                             ///< memory_bytes, which then bounds the workers only; 0: not
};

/// What measure() found.
struct Measured {
  std::vector<Answered> before;  ///< [clozes] without changes
  std::vector<Answered> after;   ///< [trials]
};

/// Runs every prompt once as it is and then every trial: a prompt with its changes at the masks.
/// The layers below a trial's lowest changed one are those of the unchanged run and computed once;
/// prompts of about equal length share batches. Results do not depend on `threads` at all, and on
/// the batches (the memory budget) only within rounding. A trial with an empty set gives `before`.
/// Throws InputError (a prompt or neuron that the model does not have, a neuron twice in a set),
/// Interrupted.
Measured measure(const Model& model, std::span<const Cloze> clozes,
                 std::span<const std::vector<NeuronChange>> sets, std::span<const Trial> trials,
                 const MeasureOptions& options = {});

/// Activations at the target positions, mean over a prompt's masks: [clozes, layers, d_ff] float32
/// on the CPU. `answers`, where it is given, becomes how the model answers each. Throws as
/// measure().
at::Tensor mask_activations(const Model& model, std::span<const Cloze> clozes,
                            const MeasureOptions& options = {},
                            std::vector<Answered>* answers = nullptr);

/// Activations and gradients on some prompts, with their signs.
struct ActivationProfile {
  at::Tensor activation;  ///< [groups, layers, d_ff] float32, CPU: mean a over the group's prompts
  at::Tensor gradient;    ///< the same of dF/da, F as in attribution with target prob
  at::Tensor product;     ///< the same of a dF/da, gradient x activation
};

/// Profiles of groups of prompts: prompt i belongs to group[i] in 0..groups-1; a prompt's value is
/// the mean over its masks. A group without prompts is zero. Throws as measure().
ActivationProfile activation_profiles(const Model& model, std::span<const Cloze> clozes,
                                      std::span<const int64_t> group, int64_t groups,
                                      const MeasureOptions& options = {});

}  // namespace engram
