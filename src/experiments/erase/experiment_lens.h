#pragma once

#include <span>
#include <vector>

#include "engram/intervention/measure.h"
#include "engram/model/model.h"

namespace engram::experiments::erase {

/// The logit lens (nostalgebraist): the answer as it would be if the hidden state at the mask after
/// each layer were the last one, read through the LM head. [clozes][layers + 1]; 0 is after the
/// embedding, l after layer l - 1, the last one is the model's own output. Results do not depend on
/// `options`. Throws InputError (a prompt that the model does not take), Interrupted.
std::vector<std::vector<Answered>> answers_by_layer(const Model& model,
                                                    std::span<const Cloze> clozes,
                                                    const MeasureOptions& options = {});

}  // namespace engram::experiments::erase
