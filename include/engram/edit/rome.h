#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "engram/edit/moments.h"
#include "engram/edit/values.h"
#include "engram/model/model.h"
#include "engram/text/cloze.h"

namespace engram {

/// What ROME is to write (Meng et al. 2022, 2202.05262, section 3.1).
struct RomeRequest {
  /// The prompt to rewrite, then the same behind other texts. Their answer is the new object, their
  /// neurons are at the last token of the subject (Cloze::neurons_at).
  std::vector<Cloze> prompts;
  /// "SUBJECT is a", neurons likewise: what it predicts is to stay. Unset: nothing is kept so.
  std::optional<Cloze> essence;
};

/// The published settings for GPT-2 (its appendix E.5 and code).
struct RomeOptions {
  int64_t steps = 20;         ///< of Adam, at most
  double rate = 0.5;          ///< its learning rate
  double weight_decay = 0.5;  ///< factor of |delta| / |v|^2 in the loss
  double kl_factor = 0.0625;  ///< factor of KL(after, before) of the essence prompt
  double clamp = 4;           ///< |delta| at most so many times |v|
  double enough = 0.05;       ///< a loss below it ends the search
};

/// A step of the search for the new value.
struct RomeStep {
  double loss = 0;            ///< what is minimised
  double negative_log_p = 0;  ///< of the new object, mean over prompts and its tokens
  double kl = 0;              ///< of the essence prompt, weighted; 0 without one
  double length = 0;          ///< |delta|
};

/// A rank-one edit of one layer's second FFN matrix: W' = W + delta u^T / (k u), u = C^-1 k*.
struct RomeEdit {
  ValueEdit edit;               ///< all neurons of the layer
  at::Tensor key;               ///< k* [d_ff] float32: mean key at the subject over the prompts
  at::Tensor delta;             ///< [d_model] float32: v* - v
  double value_length = 0;      ///< |v|, v = what the FFN writes at the subject, bias included
  std::vector<RomeStep> steps;  ///< before each step, and at the end
};

/// The layer in which the paper edits GPT-2 XL, 17 of 48, in a model of other depth.
int64_t usual_rome_layer(const ModelConfig& config);

/// Makes the edit in layer `moments.layer`. Deterministic on one machine. Throws InputError: no
/// prompt, one without a place of its neurons, moments of other sizes than the model's or without
/// an inverse, the last layer, numbers that are not finite; Interrupted. `progress` gets every
/// step.
RomeEdit rome_edit(const Model& model, const KeyMoments& moments, const RomeRequest& request,
                   const RomeOptions& options = {},
                   const std::function<void(const RomeStep&)>& progress = {});

}  // namespace engram
