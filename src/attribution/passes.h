#pragma once

// Many perturbed runs at once. Everything below the layer where an item is perturbed is that of
// the unperturbed prompt and is computed once (Base); items join the batch at the layer above
// their own, so every matrix product serves all of them.

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "chunk.h"
#include "engram/attribution/attribution.h"
#include "kernels.h"

namespace engram {

/// Which rows of a perturbed run move.
enum class Reach {
  kExact,       ///< all rows: F of METHOD section 2
  kTargetsOnly  ///< only the target rows, other rows' keys and values stay: G, the control variate
};

/// What the backward of an unperturbed run propagates.
enum class Backward {
  kNone,
  kGradient,
  kRelevance  ///< the gradient with the scales of layer norms, attention patterns and a/u held
              ///< fixed
};

/// A store of float buffers that is filled from the front and emptied at once, so that repeated
/// passes touch the same pages. One per worker.
class Arena {
 public:
  explicit Arena(at::Device device) : device_(device) {}
  /// Uninitialised [rows, width].
  at::Tensor take(int64_t rows, int64_t width);
  [[nodiscard]] size_t mark() const { return used_; }
  void release_to(size_t mark) { used_ = mark; }

 private:
  struct Block {
    at::Tensor storage;
    size_t begin = 0;  ///< in floats, counted over all blocks
    size_t size = 0;
  };
  at::Device device_;
  std::vector<Block> blocks_;
  size_t used_ = 0;
};

/// What the unperturbed run of a chunk leaves for the perturbed ones.
struct Base {
  struct Layer {
    at::Tensor x;         ///< [rows, d_model] input of the layer
    at::Tensor q;         ///< [rows, d_model], undefined in the top layer
    at::Tensor kv;        ///< [rows, 2*d_model]
    at::Tensor a;         ///< [prompts*k, d_ff] activations at the targets
    at::Tensor resting;   ///< [prompts*k, d_model] FFN residual plus bias: the sum without neurons
    at::Tensor fed;       ///< [prompts*k, d_model] what the neurons add: a times the values
    at::Tensor gradient;  ///< [prompts*k, d_model] dF/d(resting+fed) at t = 1
  };
  Chunk chunk;
  std::vector<Layer> layers;
  std::vector<double> f;                      ///< [prompts] F(a)
  std::vector<double> p;                      ///< [prompts] exp of the mean log P of the answer
  std::vector<kernels::TokenAnswer> answers;  ///< [prompts*k]
};

/// Perturbed runs: item i replaces the FFN sum of layer[i] at the targets of prompt[i] by rows
/// i*k..i*k+k-1 of `sum`. Sorted by layer, ascending.
struct Items {
  std::vector<int64_t> prompt;
  std::vector<int64_t> layer;
  at::Tensor sum;  ///< [items*k, d_model]
  [[nodiscard]] int64_t size() const { return static_cast<int64_t>(layer.size()); }
};

/// Changes activations of perturbed runs in place: `rows` are those of `activations` [rows, d_ff]
/// at which the targets of the items are that have begun below `layer`: items in their order, k
/// each.
using ActivationEdit = std::function<void(int64_t layer, const std::vector<int64_t>& rows,
                                          const at::Tensor& activations)>;

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

  /// The unperturbed run; with a backward also dF/dsum of every layer at t = 1.
  Base run_base(const Chunk& chunk, Backward backward);
  /// dG/dsum at t = 1 for every layer, [layers] of [prompts*k, d_model]: one shared pass.
  std::vector<at::Tensor> cheap_gradient_at_one(const Base& base);
  /// F or G of each item and, with `gradient`, its gradient.
  Outcome run(const Base& base, const Items& items, Reach reach, bool gradient);
  /// What the LM head sees of each item, [items*k, d_model], with `edit` applied in the layers
  /// above the item's own. Valid until the next run.
  at::Tensor run_to_head(const Base& base, const Items& items, const ActivationEdit& edit);
  /// How the model answers such rows: `answer` [rows] token ids.
  std::vector<kernels::TokenAnswer> answers(const at::Tensor& rows,
                                            const std::vector<int64_t>& answer);

  /// Floating-point operations done so far: matrix products and attention.
  [[nodiscard]] double flops() const { return flops_; }
  /// Buffer bytes that run() needs for one item of `layer`, for sizing batches.
  [[nodiscard]] static int64_t item_bytes(const ModelConfig& config, int64_t tokens,
                                          int64_t targets, int64_t layer, Reach reach,
                                          bool gradient);

 private:
  struct LayerTape;
  struct HeadTape;
  struct Joining;
  struct Run;

  at::Tensor forward_layer(Run& run, int64_t layer, const at::Tensor& x, int64_t full,
                           int64_t partial, int64_t extra_rows);
  at::Tensor backward_layer(Run& run, int64_t layer, const at::Tensor& gradient);
  at::Tensor climb(Run& run, const Items& items);
  void norm_backward(const Run& run, const at::Tensor& gradient, const at::Tensor& weight,
                     const at::Tensor& normal, const at::Tensor& rstd, const at::Tensor& out);
  HeadTape transform(const at::Tensor& rows, bool relevance);
  std::vector<double> head(Run& run, const at::Tensor& rows, const std::vector<int64_t>& prompt,
                           at::Tensor* gradient, std::vector<kernels::TokenAnswer>* answers);
  void product(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out, bool add);
  void count_attention(const kernels::AttentionLayout& layout, double times);

  const Model& model_;
  const ModelConfig& config_;
  Target target_;
  Arena arena_;
  double flops_ = 0;
};

}  // namespace engram
