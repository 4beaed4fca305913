#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <vector>

#include "attribution/passes.h"
#include "engram/intervention/measure.h"

namespace engram {

/// Prompts of equal length with equally many masks, as tensors on the model's device.
struct ClozeBatch {
  std::vector<size_t> index;  ///< of the prompts among all
  at::Tensor ids;             ///< [prompts, tokens] int64
  at::Tensor positions;       ///< [prompts, k] int64
  at::Tensor answer;          ///< [prompts, k] int64
  [[nodiscard]] int64_t prompts() const { return ids.size(0); }
  [[nodiscard]] int64_t tokens() const { return ids.size(1); }
  [[nodiscard]] int64_t masks() const { return positions.size(1); }
};

ClozeBatch make_batch(const Model& model, std::span<const Cloze> clozes,
                      const std::vector<size_t>& index);

/// Rows [prompts, k, width] of `x` [prompts, tokens, width] at `positions` [prompts, k].
at::Tensor rows_at(const at::Tensor& x, const at::Tensor& positions);

/// The answers of rows out of those of their k tokens, [rows*k].
std::vector<Answered> joint_answers(std::span<const kernels::TokenAnswer> tokens, int64_t targets,
                                    int64_t vocabulary);

/// The answers of rows: `logits` [rows, k, vocabulary], `answer` [rows, k].
std::vector<Answered> read_logits(const at::Tensor& logits, const at::Tensor& answer);

/// The same from what the LM head sees: `final` [rows, k, d_model].
std::vector<Answered> read_answers(const Model& model, const at::Tensor& final,
                                   const at::Tensor& answer);

}  // namespace engram
