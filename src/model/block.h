#pragma once

// One layer of the model in rows, piece by piece, each piece with its vector-Jacobian product. The
// formulas of a layer stand here and in encoder.cc, the differentiable yardstick, and nowhere else.

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "engram/model/model.h"
#include "model/kernels.h"
#include "model/workspace.h"

namespace engram {

/// What a backward pass propagates.
enum class Backward {
  kNone,
  kGradient,
  kRelevance  ///< the gradient with the scales of norms, attention patterns and a/u of the
              ///< activations held fixed, and half of it to either factor of a gated FFN
};

/// Rows of a layer in the unperturbed run: those of perturbed runs that rest are read from here.
struct RestingRows {
  at::Tensor x;   ///< [rows, d_model] input of the layer
  at::Tensor q;   ///< [rows, heads * head_size], undefined where only targets ask
  at::Tensor kv;  ///< [rows, 2 * key_heads * head_size] keys, then values
};

/// What the backward of a norm needs.
struct NormTape {
  at::Tensor normal;  ///< [rows, d_model] before weight and bias
  at::Tensor rstd;    ///< [rows]
};

/// What the backward of a layer needs of its forward.
struct BlockTape {
  kernels::AttentionLayout layout;
  std::vector<int64_t> targets;       ///< target rows of all items among the output rows
  std::vector<int64_t> full_targets;  ///< target rows of the full items among the moved rows
  std::vector<int64_t> moved_tokens;  ///< token positions of the moved rows, for rotary ones
  std::vector<int64_t> query_tokens;  ///< and of the query rows
  at::Tensor q, kv, probabilities;
  NormTape attention_norm, ffn_norm;
  NormTape query_norm, key_norm;  ///< of every head: [rows * heads, head_size]
  at::Tensor slope;               ///< [out_rows, d_ff] derivative of a by the activation's input
  at::Tensor gate;                ///< [out_rows, d_ff] and by the other factor of a gated FFN
};

/// The pieces of one layer on one worker's buffers. Rows are laid out as the tape's layout says;
/// everything returned lies in the workspace. Cheap to make.
class Block {
 public:
  Block(const Model& model, int64_t layer, Workspace& space);

  /// Sets up the tape for items of `shape`.
  void begin(BlockTape& tape, const kernels::AttentionLayout::Shape& shape) const;

  /// What attention leaves to the FFN.
  struct Attended {
    at::Tensor residual;  ///< [out_rows, d_model] what the FFN's output is added to
    at::Tensor input;     ///< [out_rows, d_model] what the FFN reads
  };
  /// Attention with its residual. `x` [moved_rows, d_model]; `base`: null where no row rests.
  Attended attend(BlockTape& tape, const at::Tensor& x, const RestingRows* base) const;
  /// The neurons' activations [out_rows, d_ff] of what the FFN reads.
  at::Tensor neurons(BlockTape& tape, const at::Tensor& input, Backward backward) const;
  /// The FFN's sum without its neurons [out_rows, d_model]: residual plus output bias.
  at::Tensor rest(const at::Tensor& residual) const;
  /// Adds what activations `a` [rows, d_ff] write to `sum` [rows, d_model].
  void write(const at::Tensor& a, const at::Tensor& sum) const;
  /// The next layer's input of the FFN's sum, both [rows, d_model]; `out` may be `sum`.
  NormTape leave(const at::Tensor& sum, const at::Tensor& out) const;

  /// Gradient at the sum of that at what leave() gives, both [rows, d_model]; `out` may be
  /// `gradient`.
  void leave_backward(const NormTape& tape, const at::Tensor& gradient, Backward backward,
                      const at::Tensor& out) const;
  /// Gradient at the moved rows of the layer's input [moved_rows, d_model] of that at the FFN's sum
  /// [out_rows, d_model], which is overwritten.
  at::Tensor backward(const BlockTape& tape, const at::Tensor& gradient, const RestingRows* base,
                      Backward backward) const;

 private:
  [[nodiscard]] bool pre() const { return config_.norm == NormPlacement::kPre; }
  NormTape normalise(const at::Tensor& y, const at::Tensor& weight, const at::Tensor& bias,
                     const at::Tensor& out) const;
  void norm_backward(const NormTape& tape, const at::Tensor& weight, const at::Tensor& gradient,
                     Backward backward, const at::Tensor& out) const;
  void linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
              const at::Tensor& out) const;
  NormTape normalise_heads(const at::Tensor& x, const at::Tensor& weight) const;
  void heads_backward(const NormTape& tape, const at::Tensor& weight, const at::Tensor& gradient,
                      Backward backward) const;
  at::Tensor asking_rows(const BlockTape& tape, const at::Tensor& moved) const;
  void residual_rows(const BlockTape& tape, const at::Tensor& moved, const at::Tensor& asking,
                     const RestingRows* base, const at::Tensor& bias, const at::Tensor& out) const;
  void add_residual_gradient(const BlockTape& tape, const at::Tensor& gradient,
                             const at::Tensor& d_x) const;

  const Model& model_;
  const ModelConfig& config_;
  const LayerWeights& w_;
  Workspace& space_;
};

/// The LM head: what stands between the last layer and the logits.
class LmHead {
 public:
  struct Tape {
    NormTape final_norm;  ///< of families that end with a norm of their own
    at::Tensor slope;     ///< derivative of the transform's activation; undefined: no transform
    NormTape norm;        ///< behind it
  };
  LmHead(const Model& model, Workspace& space);

  /// What the decoder reads [rows, decoder width] of the last layer's output [rows, d_model].
  at::Tensor read(const at::Tensor& rows, Backward backward, Tape& tape) const;
  /// Logits [rows, vocabulary] of it.
  void logits(const at::Tensor& read, const at::Tensor& out) const;
  /// Gradient at what the decoder reads of that at the logits.
  void logits_backward(const at::Tensor& gradient, const at::Tensor& out) const;
  /// Gradient at the last layer's output of that at what the decoder reads, which is overwritten.
  at::Tensor read_backward(const Tape& tape, const at::Tensor& gradient, Backward backward) const;

 private:
  const Model& model_;
  const ModelConfig& config_;
  const ModelWeights& w_;
  Workspace& space_;
};

}  // namespace engram
