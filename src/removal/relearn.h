#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engram/model/model.h"
#include "engram/text/cloze.h"

namespace engram {

struct RelearnOptions {
  std::vector<int64_t> steps;  ///< after which the model is looked at, ascending
  double rate = 5e-5;          ///< of Adam
  int64_t prompts = 32;        ///< a step
  uint64_t seed = 0;
};

/// Trains a copy of the model on the answers of prompts: Adam on -log P, mean over a step's prompts
/// and their tokens, for all weights but embeddings and decoder. A step's prompts are the next ones
/// of a seeded order, which is drawn anew when it ends. `look` gets the number of steps done and
/// the model as it is then, to be used within the call. Throws Interrupted.
void relearn(const Model& model, std::span<const Cloze> prompts, const RelearnOptions& options,
             const std::function<void(int64_t steps, const Model& model)>& look);

}  // namespace engram
