#pragma once

#include <cstdint>
#include <span>

#include "engram/edit/values.h"
#include "engram/model/model.h"
#include "engram/text/cloze.h"

namespace engram {

/// Those of the fine-tuning that editors are compared with (Meng et al. 2022, 2202.05262, appendix
/// E.1: one FFN matrix, stopped early).
struct FineTuneOptions {
  int64_t steps = 25;    ///< of Adam, at most
  double rate = 5e-4;    ///< its learning rate
  double enough = 0.05;  ///< a loss below it ends the training
};

/// The layer's second FFN matrix trained on the answers of `prompts`, all of them in every step: as
/// the value vectors of all its neurons. Deterministic on one machine. Throws InputError (no
/// prompt, no such layer, a loss that is no number), Interrupted.
ValueEdit fine_tuned_values(const Model& model, int64_t layer, std::span<const Cloze> prompts,
                            const FineTuneOptions& options = {});

}  // namespace engram
