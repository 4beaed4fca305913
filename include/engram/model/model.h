#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engram/model/config.h"
#include "engram/model/interventions.h"
#include "engram/model/weights.h"

namespace engram {

/// What loading found beside the model.
struct LoadReport {
  std::vector<std::string> unexpected;  ///< tensors of the file that the family does not use
  std::vector<std::string> missing;     ///< optional tensors that the file does not have
  int64_t parameters = 0;               ///< distinct float parameters
  int64_t mapped_bytes = 0;             ///< of the weights that stay in the file's map
  int64_t copied_bytes = 0;             ///< of the weights that were converted or moved
};

class TransposedCopies;
class Rotary;
struct TensorSource;

/// A language model, masked or causal, immutable after loading and shared by all threads as const.
class Model {
 public:
  /// Reads a Hugging Face folder. Float32 weights stay memory-mapped (no second copy) on the CPU;
  /// float16 and bfloat16 are converted to float32. `device` is "cpu" or "cuda".
  /// Throws FileError, InputError (missing tensor, wrong dtype or shape, NaN or infinite weights:
  /// the tensor, got and expected are named).
  static Model load(const std::filesystem::path& directory, const at::Device& device = at::kCPU);

  /// The same from tensors that lie anywhere; `config` as read_config() gives it.
  static Model load(const ModelConfig& config, const TensorSource& source,
                    const at::Device& device = at::kCPU);

  /// A model from weights made elsewhere (trainer, tests). Shapes are checked against the table.
  Model(ModelConfig config, ModelWeights weights);
  /// The same for a layer that no family has (yet): the weights are taken as they are.
  static Model unchecked(ModelConfig config, ModelWeights weights);

  [[nodiscard]] const ModelConfig& config() const { return config_; }
  [[nodiscard]] const ModelWeights& weights() const { return weights_; }
  /// For who changes weights in place. Transposed copies are dropped and not made again.
  [[nodiscard]] ModelWeights& mutable_weights();
  /// Takes another epsilon in every layer norm than the checkpoint names: for comparing with code
  /// that does. REQUIRES: 0 < epsilon < 1.
  void set_norm_epsilon(double epsilon) { config_.norm_epsilon = epsilon; }
  /// Takes another ffn_out_weight [d_model, d_ff] for one layer. Copies of this model keep theirs.
  void replace_values(int64_t layer, const at::Tensor& weight);

  /// Where products are faster with one (product_wants_columns), keeps a transposed copy of every
  /// matrix beside it: twice the memory. For callers with many rows to come; thread-safe, and
  /// nothing happens the second time. REQUIRES: the weights never change in place afterwards.
  void prepare_products() const;
  /// `weight` [out, in] of this model as the right factor [in, out] of a product: the transposed
  /// copy, or a view.
  [[nodiscard]] at::Tensor columns(const at::Tensor& weight) const;
  /// Angles of rotary positions. REQUIRES: config().rotary_size > 0.
  [[nodiscard]] const Rotary& rotary() const { return *rotary_; }
  [[nodiscard]] const LoadReport& report() const { return report_; }
  [[nodiscard]] at::Device device() const { return weights_.token_embedding.device(); }

  /// Final hidden states [prompts, tokens, d_model] of `ids` [prompts, tokens] (int64).
  /// `mask` [prompts, tokens] (bool, true = a real token) may be undefined: then all are real.
  /// `hook` may be null. Differentiable with respect to weights and to what the hook returns.
  /// REQUIRES: 1 <= tokens <= config().max_tokens(), ids inside the vocabulary (else InputError).
  [[nodiscard]] at::Tensor encode(const at::Tensor& ids, const at::Tensor& mask = {},
                                  ActivationHook* hook = nullptr, double dropout = 0.0) const;

  /// The steps of encode(), for callers that share some of them between runs.
  /// Embedded tokens [prompts, tokens, d_model], the input of layer 0. REQUIRES as encode().
  [[nodiscard]] at::Tensor embed(const at::Tensor& ids, double dropout = 0.0) const;
  /// The same of any rows: `ids` [rows] (int64) that stand at `tokens` [rows] (int64, from 0).
  [[nodiscard]] at::Tensor embed_rows(const at::Tensor& ids, const at::Tensor& tokens) const;
  /// The attention sublayer with its residual and, in post-norm families, its norm, on the layer's
  /// input `x` [prompts, tokens, d_model]. Shape of `x`.
  [[nodiscard]] at::Tensor attend(int64_t layer, const at::Tensor& x, const at::Tensor& mask = {},
                                  double dropout = 0.0) const;
  /// The FFN sublayer likewise: the layer's output from its input `x` and what attend() made of it;
  /// `hook` sees [prompts, tokens, d_ff]. Shape of `x`.
  [[nodiscard]] at::Tensor feed(int64_t layer, const at::Tensor& x, const at::Tensor& attended,
                                ActivationHook* hook = nullptr, double dropout = 0.0) const;

  /// Logits [rows, vocabulary] of hidden states [rows, d_model]: the LM head.
  [[nodiscard]] at::Tensor logits(const at::Tensor& hidden) const;

  /// Logits [prompts, vocabulary] at one position per prompt: `positions` [prompts] (int64).
  [[nodiscard]] at::Tensor logits_at(const at::Tensor& ids, const at::Tensor& positions,
                                     ActivationHook* hook = nullptr) const;

 private:
  Model();
  void finish();  ///< makes what depends on config and device
  ModelConfig config_;
  ModelWeights weights_;
  LoadReport report_;
  std::shared_ptr<TransposedCopies> transposed_;  ///< null: none may be made
  std::shared_ptr<const Rotary> rotary_;          ///< null: positions are not rotary
};

/// Writes config.json and model.safetensors in Hugging Face layout (float32, or float16 when
/// `half`). The tokenizer's files are the caller's. Throws FileError. REQUIRES: a masked LM.
void save_model(const Model& model, const std::filesystem::path& directory, bool half);

/// The activation function, elementwise and differentiable.
at::Tensor apply_activation(Activation activation, const at::Tensor& x);

}  // namespace engram
