#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace engram {

/// Reads or replaces FFN activations while a model runs: an ordinary argument of every forward.
///
/// `on_activation` is called once per layer, in order, with the activation after the non-linearity
/// (for gated FFNs after the product), `a` of shape [prompts, tokens, d_ff], float32. It returns
/// what the layer goes on with: `a` itself, or a tensor of the same shape. Called from the thread
/// that runs the forward; one object must not serve two forwards at once unless it is stateless.
class ActivationHook {
 public:
  virtual ~ActivationHook() = default;
  virtual at::Tensor on_activation(int64_t layer, const at::Tensor& a) = 0;
};

/// What is done to one neuron at one place.
struct ActivationChange {
  enum class Kind { kSet, kScale, kAdd };
  static constexpr int64_t kEveryPrompt = -1;
  static constexpr int64_t kEveryToken = -1;
  int64_t layer = 0;
  int64_t neuron = 0;
  int64_t prompt = kEveryPrompt;  ///< row of the batch, or all
  int64_t token = kEveryToken;    ///< position in the prompt, or all
  Kind kind = Kind::kSet;
  double value = 0.0;  ///< the new value, factor, or summand
};

/// A list of interventions as a hook: applied in the order given. Throws InputError at construction
/// when a layer or neuron does not exist, InternalError when prompt or token is out of the batch.
class InterventionHook : public ActivationHook {
 public:
  InterventionHook(const std::vector<ActivationChange>& interventions, int64_t layers,
                   int64_t d_ff);
  at::Tensor on_activation(int64_t layer, const at::Tensor& a) override;

 private:
  std::vector<std::vector<ActivationChange>> by_layer_;
};

/// Keeps a copy of every layer's activations. `activations()[l]` is [prompts, tokens, d_ff].
class RecordingHook : public ActivationHook {
 public:
  at::Tensor on_activation(int64_t layer, const at::Tensor& a) override;
  [[nodiscard]] const std::vector<at::Tensor>& activations() const { return activations_; }

 private:
  std::vector<at::Tensor> activations_;
};

}  // namespace engram
