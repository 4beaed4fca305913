#pragma once

// Many perturbed runs at once. Everything below the layer where an item is perturbed is that of
// the unperturbed prompt and is computed once (Base); items join the batch at the layer above
// their own, so every matrix product serves all of them.

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "engram/model/target.h"
#include "model/block.h"
#include "passes/chunk.h"

namespace engram {

/// Which rows of a perturbed run move.
enum class Reach {
  kExact,        ///< all rows: F of METHOD section 2
  kTargetsOnly,  ///< only the target rows, other rows' keys and values stay: G, the control variate
  kEverywhere    ///< all rows, and in the item's own layer, too: a change of weights
};

/// What the unperturbed run of a chunk leaves for the perturbed ones; k is Chunk::targets.
struct Base {
  struct Layer {
    RestingRows rows;
    // Where neurons are at one of the target rows, the others have none that count: a and fed are
    // zero there, and resting is the whole sum.
    at::Tensor a;          ///< [prompts*k, d_ff] activations at the targets
    at::Tensor resting;    ///< [prompts*k, d_model] FFN residual plus bias: the sum without neurons
    at::Tensor fed;        ///< [prompts*k, d_model] what the neurons add: a times the values
    at::Tensor gradient;   ///< [prompts*k, d_model] dF/d(resting+fed) at t = 1
    at::Tensor every_a;    ///< [rows, d_ff] activations of all rows (top layer: of the targets),
                           ///< where they were asked for
    at::Tensor every_sum;  ///< [rows, d_model] and the FFN's sum
  };
  Chunk chunk;
  std::vector<Layer> layers;
  at::Tensor final_rows;                      ///< [prompts*k, d_model] what the LM head reads
  std::vector<double> f;                      ///< [prompts] F(a)
  std::vector<double> p;                      ///< [prompts] exp of the mean log P of the answer
  std::vector<kernels::TokenAnswer> answers;  ///< [prompts*asked]
  /// Rows [prompts*k] of the chunk at which the targets are.
  [[nodiscard]] std::vector<int64_t> target_rows() const;
};

/// Perturbed runs, sorted by layer, ascending. Item i replaces the FFN sum of layer[i] at the
/// targets of prompt[i] by k rows of `sum`; with Reach::kEverywhere at all rows of the prompt, but
/// in the top layer at the targets only.
struct Items {
  std::vector<int64_t> prompt;
  std::vector<int64_t> layer;
  at::Tensor sum;  ///< [rows of all items, d_model]
  [[nodiscard]] int64_t size() const { return static_cast<int64_t>(layer.size()); }
};

/// What is changed in place in the layers above an item's own. Of `layout`, the items are those
/// that have begun below `layer`, in their order.
struct Edits {
  /// `rows` are those of `activations` [rows, d_ff] at which the items' targets are, k each.
  std::function<void(int64_t layer, const std::vector<int64_t>& rows,
                     const at::Tensor& activations)>
      activations;
  /// `a` [out_rows, d_ff] and the FFN's sum [out_rows, d_model] of it.
  std::function<void(int64_t layer, const kernels::AttentionLayout& layout, const at::Tensor& a,
                     const at::Tensor& sum)>
      sums;
};

struct Outcome {
  std::vector<double> f;  ///< [items]
  at::Tensor gradient;    ///< [items*k, d_model] dF/dsum, undefined when not asked for
};

/// Runs items through the layers above their own. Not thread-safe: one per worker.
class Passes {
 public:
  Passes(const Model& model, Target target);
  Passes(const Passes&) = delete;
  Passes& operator=(const Passes&) = delete;

  /// The unperturbed run; with a backward also dF/dsum of every layer at t = 1. `every` [layers]:
  /// where all rows' activations and sums are kept; empty: nowhere.
  Base run_base(const Chunk& chunk, Backward backward, const std::vector<bool>& every = {});
  /// dG/dsum at t = 1 for every layer, [layers] of [prompts*k, d_model]: one shared pass.
  std::vector<at::Tensor> cheap_gradient_at_one(const Base& base);
  /// F or G of each item and, with `gradient`, its gradient.
  Outcome run(const Base& base, const Items& items, Reach reach, bool gradient);
  /// What the LM head reads of each item, [items*k, d_model]. Valid until the next run.
  at::Tensor run_to_head(const Base& base, const Items& items, Reach reach, const Edits& edits);
  /// How the model answers rows [rows, d_model] at its head: each list of `asked` has a token id
  /// for every row, and gives an answer for every row. `top` becomes each row's top token.
  std::vector<std::vector<kernels::TokenAnswer>> answers(
      const at::Tensor& rows, const std::vector<std::vector<int64_t>>& asked,
      std::vector<int64_t>* top = nullptr);
  /// Activations [rows, d_ff] of all rows of a chunk in the layers 0..last, one call each.
  void read_activations(const Chunk& chunk, int64_t last,
                        const std::function<void(int64_t layer, const at::Tensor& a)>& use);
  /// The same with what the layer's FFN reads, `input` [rows, d_model].
  void read_layers(
      const Chunk& chunk, int64_t last,
      const std::function<void(int64_t layer, const at::Tensor& input, const at::Tensor& a)>& use);

  /// Floating-point operations done so far: matrix products and attention.
  [[nodiscard]] double flops() const { return space_.flops(); }
  /// The rows that really move: in a causal model rows before the targets never see them, so where
  /// the targets stand last, F is G and costs as little.
  [[nodiscard]] static Reach moving(const ModelConfig& config, const Chunk& chunk, Reach reach);
  [[nodiscard]] static Reach moving(const ModelConfig& config, bool targets_last, Reach reach);
  /// Buffer bytes that run() needs for one item of `layer`, for sizing batches.
  [[nodiscard]] static int64_t item_bytes(const ModelConfig& config, int64_t tokens,
                                          int64_t targets, int64_t layer, Reach reach,
                                          bool gradient);

 private:
  struct Joining;
  struct Run;

  at::Tensor embed(const Chunk& chunk) const;
  void begin_layer(Run& run, int64_t layer, int64_t full, int64_t partial, bool all_ask);
  at::Tensor forward_layer(Run& run, int64_t layer, const at::Tensor& x, int64_t full,
                           int64_t partial, int64_t extra_rows);
  void keep(Run& run, int64_t layer, const at::Tensor& x, const at::Tensor& a,
            const at::Tensor& rest);
  at::Tensor climb(Run& run, const Items& items);
  std::vector<double> head(Run& run, const at::Tensor& rows, at::Tensor* gradient,
                           std::vector<kernels::TokenAnswer>* answers);
  std::vector<double> head_at(Run& run, const at::Tensor& rows, at::Tensor* gradient,
                              std::vector<kernels::TokenAnswer>* answers);

  const Model& model_;
  const ModelConfig& config_;
  Target target_;
  Workspace space_;
  LmHead head_;
};

}  // namespace engram
