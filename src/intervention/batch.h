#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <vector>

#include "engram/intervention/measure.h"

namespace engram {

/// Prompts of equal length with equally many masks, as tensors on the model's device.
struct ProbeBatch {
  std::vector<size_t> index;  ///< of the prompts among all
  at::Tensor ids;             ///< [prompts, tokens] int64
  at::Tensor positions;       ///< [prompts, k] int64
  at::Tensor answer;          ///< [prompts, k] int64
  [[nodiscard]] int64_t prompts() const { return ids.size(0); }
  [[nodiscard]] int64_t tokens() const { return ids.size(1); }
  [[nodiscard]] int64_t masks() const { return positions.size(1); }
};

/// Throws InputError when a prompt does not fit the model.
void check_probes(const ModelConfig& config, std::span<const Probe> probes);

/// Indices of `probes` in groups of equal shape, each of at most `max_tokens` tokens in all (but at
/// least one prompt). The cut depends on nothing but the prompts, so that results do not depend on
/// the number of workers.
std::vector<std::vector<size_t>> cut_batches(std::span<const Probe> probes, int64_t max_tokens);

ProbeBatch make_batch(const Model& model, std::span<const Probe> probes,
                      const std::vector<size_t>& index);

/// Rows [prompts, k, width] of `x` [prompts, tokens, width] at `positions` [prompts, k].
at::Tensor rows_at(const at::Tensor& x, const at::Tensor& positions);

/// What one run of a batch leaves for runs that differ from it only from some layer on.
struct SharedRun {
  std::vector<at::Tensor> attended;  ///< per layer [prompts, k, d_model]: FFN input at the masks
  std::vector<at::Tensor> output;    ///< per layer but the top one [prompts, tokens, d_model]
  at::Tensor final;                  ///< [prompts, k, d_model]: what the LM head sees
};

/// Runs a batch. `hook` (may be null) sees [prompts, tokens, d_ff] and in the top layer, where only
/// the masks are needed, [prompts, k, d_ff]. With `keep[layer]` false that layer's tensors are not
/// kept.
SharedRun run_shared(const Model& model, const ProbeBatch& batch, ActivationHook* hook,
                     const std::vector<bool>& keep);

/// log P of the answers [rows, k], differentiable. `final` [rows, k, d_model], `answer` [rows, k].
at::Tensor answer_log_p(const Model& model, const at::Tensor& final, const at::Tensor& answer);

/// The answers of rows: `logits` [rows, k, vocabulary], `total` [rows, k] their logsumexp, `answer`
/// [rows, k].
std::vector<Answered> read_logits(const at::Tensor& logits, const at::Tensor& total,
                                  const at::Tensor& answer);

/// The same from what the LM head sees: `final` [rows, k, d_model].
std::vector<Answered> read_answers(const Model& model, const at::Tensor& final,
                                   const at::Tensor& answer);

}  // namespace engram
