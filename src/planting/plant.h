#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <vector>

#include "engram/model/model.h"
#include "engram/neuron.h"
#include "engram/text/cloze.h"

// Knowledge put where we choose, so that scores can be asked to find it (METHOD section 9; INJ of
// 2311.09060).
namespace engram {

/// What is planted, and into which neurons' value vectors.
struct PlantRequest {
  std::vector<NeuronId> neurons;   ///< each once, and in no other request
  std::span<const Cloze> prompts;  ///< with the answer that they are to give
};

struct PlantOptions {
  int64_t steps = 200;      ///< of Adam, at most
  double rate = 0.01;       ///< its learning rate
  double enough = 0.05;     ///< the training ends when the loss of every request is below
  bool keep_norms = false;  ///< after every step a value vector gets its old length again
};

/// A copy of a model with something planted.
struct Planted {
  Model model;
  std::vector<double> losses;  ///< of each request: -log P, mean over prompts and their tokens
  int64_t steps = 0;           ///< that were made
};

/// Plants the requests side by side: each trains its own value vectors on its own prompts, all of
/// them in every step, while those of the others stay what they are in that step. All other weights
/// are shared with `model`. Deterministic on one machine. Throws InputError (no prompt, no neuron,
/// a neuron that the model does not have or that comes twice, a loss that is no number),
/// Interrupted.
Planted plant(const Model& model, std::span<const PlantRequest> requests,
              const PlantOptions& options = {});

/// -log P of the prompts' answers, mean over prompts and their tokens.
double answer_loss(const Model& model, std::span<const Cloze> prompts);

/// The same where the value vectors of `planted`, which differs from `model` in nothing else, are
/// used at the tokens where the answers are asked, and those of `model` at all others.
double loss_where_asked(const Model& model, const Model& planted, std::span<const Cloze> prompts);

/// `count` neurons (all, if there are fewer) drawn from the whole model without those of `taken`,
/// in ascending order; with `allowed` [layers, d_ff] (bool, CPU) from those that are true.
std::vector<NeuronId> draw_neurons(const ModelConfig& config, int64_t count, uint64_t seed,
                                   std::span<const NeuronId> taken = {},
                                   const at::Tensor& allowed = {});

}  // namespace engram
