#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "engram/model/model.h"
#include "engram/text/cloze.h"

namespace engram {

/// What the residual stream has just passed.
enum class LensPlace { kEmbedding, kAttention, kFfn };

struct LensToken {
  int64_t id = 0;
  double p = 0;
};

/// The stream at one place, as the LM head reads it.
struct LensStage {
  LensPlace place = LensPlace::kEmbedding;
  int64_t layer = -1;  ///< -1: the embedding
  double logit = 0;    ///< of the answer
  double p = 0;        ///< of the answer: softmax over the whole vocabulary
  int64_t rank = 0;    ///< of the answer, 1: no row of the decoder is likelier
  /// The logit minus that of the stage before; of the embedding the logit itself. All of them sum
  /// to the last logit.
  double change = 0;
  /// What the embedding or the sublayer adds to the last logit, without its output bias, when the
  /// final norm divides by what it divides by at the end. Pre-norm models only, else NaN.
  double share = 0;
  std::vector<LensToken> top;  ///< the likeliest, largest first, equals by id
};

/// The logit lens at the position that predicts an answer.
struct Lens {
  std::vector<LensStage>
      stages;  ///< [1 + 2 layers] embedding, then attention and FFN of each layer
  /// What hangs on no token: output biases of the sublayers, bias of the final norm, of the
  /// decoder. It and all shares sum to the last logit. Pre-norm models only.
  std::optional<double> bias_share;
};

/// Reads the stream behind the embedding, every attention and every FFN through the model's own LM
/// head (nostalgebraist, "interpreting GPT: the logit lens", 2020): in pre-norm models final norm
/// and output embedding, in masked ones the head's transform and the decoder. Behind a sublayer
/// means behind its norm in post-norm models. Of a layer whose FFN reads the layer's input
/// (parallel residual) attention counts first.
///
/// Reads at the first of `cloze`'s positions and follows the first token of its answer. Each stage
/// keeps the `top` likeliest rows of the decoder, of those that `named` lets in (empty: all).
/// Computes in float32 on the model's device, softmax and shares in float64. Throws InputError
/// where the prompt does not fit the model. REQUIRES: top >= 0.
Lens logit_lens(const Model& model, const Cloze& cloze, int64_t top,
                const std::function<bool(int64_t id)>& named = {});

}  // namespace engram
