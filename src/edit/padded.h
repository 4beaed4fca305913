#pragma once

#include <ATen/ATen.h>

#include <span>

#include "engram/model/model.h"
#include "engram/text/cloze.h"

namespace engram {

/// Prompts of any length as one batch, padded behind.
struct PaddedPrompts {
  at::Tensor ids;   ///< [prompts, tokens] int64
  at::Tensor mask;  ///< [prompts, tokens] bool; undefined: none is shorter
};
PaddedPrompts pad_prompts(std::span<const Cloze> clozes, const at::Device& device);

/// The tokens that prompts ask for: every one of every answer.
struct AskedTokens {
  at::Tensor prompts;  ///< [asked] int64, the prompt's row
  at::Tensor tokens;   ///< [asked] int64, the position whose logits predict it
  at::Tensor answers;  ///< [asked] int64 token ids
  at::Tensor weights;  ///< [asked] float32, its share of the mean over prompts and their tokens
};
AskedTokens asked_tokens(std::span<const Cloze> clozes, const at::Device& device);

/// -log P of the answers, mean over prompts and their tokens, of what the model's layers have made
/// of the batch, [prompts, tokens, d_model].
at::Tensor answer_loss(const Model& model, const at::Tensor& encoded, const AskedTokens& asked);

/// Prompts as one batch with the tokens that they ask for, for losses of several models.
struct AskedPrompts {
  AskedPrompts(std::span<const Cloze> clozes, const at::Device& device)
      : batch(pad_prompts(clozes, device)), asked(asked_tokens(clozes, device)) {}
  /// answer_loss() of the whole model.
  [[nodiscard]] at::Tensor loss(const Model& model) const {
    return answer_loss(model, model.encode(batch.ids, batch.mask), asked);
  }
  PaddedPrompts batch;
  AskedTokens asked;
};

}  // namespace engram
