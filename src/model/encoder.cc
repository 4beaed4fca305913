// The forward of the post-norm encoders: embeddings, layers, LM head.
#include <ATen/ATen.h>

#include <cmath>

#include "engram/error.h"
#include "engram/model/model.h"
#include "engram/model/product.h"

namespace engram {
namespace {

at::Tensor norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                double epsilon) {
  return at::layer_norm(x, {x.size(-1)}, weight, bias, epsilon);
}

at::Tensor drop(const at::Tensor& x, double probability) {
  return probability > 0 ? at::dropout(x, probability, /*train=*/true) : x;
}

/// [prompts, tokens, d_model] -> [prompts, heads, tokens, head_size]
at::Tensor split_heads(const at::Tensor& x, int64_t heads) {
  return x.view({x.size(0), x.size(1), heads, x.size(2) / heads}).transpose(1, 2);
}

void check_ids(const at::Tensor& ids, const ModelConfig& config) {
  if (ids.dim() != 2 || ids.scalar_type() != at::kLong || ids.numel() == 0) {
    throw InternalError("encode: ids must be int64 [prompts, tokens] and not empty");
  }
  if (ids.size(1) > config.max_tokens()) {
    throw InputError("a prompt has " + std::to_string(ids.size(1)) + " tokens, the model takes " +
                     std::to_string(config.max_tokens()));
  }
  if (ids.min().item<int64_t>() < 0 || ids.max().item<int64_t>() >= config.vocabulary) {
    throw InputError("a token id lies outside the model's vocabulary of " +
                     std::to_string(config.vocabulary));
  }
}

}  // namespace

at::Tensor apply_activation(Activation activation, const at::Tensor& x) {
  switch (activation) {
    case Activation::kGelu:
      return at::gelu(x);
    case Activation::kGeluTanh:
      return at::gelu(x, "tanh");
    case Activation::kRelu:
      return at::relu(x);
    case Activation::kSilu:
      return at::silu(x);
  }
  throw InternalError("apply_activation: unknown activation");
}

at::Tensor Model::embed(const at::Tensor& ids, double dropout) const {
  check_ids(ids, config_);
  const ModelWeights& w = weights_;
  at::Tensor x = at::embedding(w.token_embedding, ids) +
                 w.position_embedding.narrow(0, config_.first_position, ids.size(1));
  if (w.type_embedding.defined()) x = x + w.type_embedding.select(0, 0);
  return drop(norm(x, w.embedding_norm_weight, w.embedding_norm_bias, config_.norm_epsilon),
              dropout);
}

at::Tensor Model::attend(int64_t layer, const at::Tensor& from, const at::Tensor& x,
                         const at::Tensor& mask, double dropout) const {
  const LayerWeights& l = weights_.layers[static_cast<size_t>(layer)];
  std::optional<at::Tensor> allowed;  // [prompts, 1, 1, tokens], true where a key may be looked at
  if (mask.defined()) allowed = mask.view({mask.size(0), 1, 1, mask.size(1)});
  const at::Tensor q =
      split_heads(affine(from, columns(l.query_weight), l.query_bias), config_.heads);
  const at::Tensor k = split_heads(affine(x, columns(l.key_weight), l.key_bias), config_.heads);
  const at::Tensor v = split_heads(affine(x, columns(l.value_weight), l.value_bias), config_.heads);
  const at::Tensor mixed = at::scaled_dot_product_attention(q, k, v, allowed, dropout)
                               .transpose(1, 2)
                               .reshape(from.sizes());
  const at::Tensor attended =
      drop(affine(mixed, columns(l.attention_out_weight), l.attention_out_bias), dropout);
  return norm(from + attended, l.attention_norm_weight, l.attention_norm_bias,
              config_.norm_epsilon);
}

at::Tensor Model::feed(int64_t layer, const at::Tensor& x, ActivationHook* hook,
                       double dropout) const {
  const LayerWeights& l = weights_.layers[static_cast<size_t>(layer)];
  at::Tensor a =
      apply_activation(config_.activation, affine(x, columns(l.ffn_in_weight), l.ffn_in_bias));
  if (hook != nullptr) a = hook->on_activation(layer, a);
  const at::Tensor fed = drop(affine(a, columns(l.ffn_out_weight), l.ffn_out_bias), dropout);
  return norm(x + fed, l.ffn_norm_weight, l.ffn_norm_bias, config_.norm_epsilon);
}

at::Tensor Model::encode(const at::Tensor& ids, const at::Tensor& mask, ActivationHook* hook,
                         double dropout) const {
  at::Tensor x = embed(ids, dropout);
  for (int64_t layer = 0; layer < config_.layers; ++layer) {
    x = feed(layer, attend(layer, x, x, mask, dropout), hook, dropout);
  }
  return x;
}

at::Tensor Model::logits(const at::Tensor& hidden) const {
  const ModelWeights& w = weights_;
  const at::Tensor transformed =
      norm(apply_activation(config_.head_activation,
                            affine(hidden, columns(w.head_weight), w.head_bias)),
           w.head_norm_weight, w.head_norm_bias, config_.norm_epsilon);
  return affine(transformed, columns(w.decoder_weight), w.decoder_bias);
}

at::Tensor Model::logits_at(const at::Tensor& ids, const at::Tensor& positions,
                            ActivationHook* hook) const {
  const at::Tensor hidden = encode(ids, {}, hook);
  const at::Tensor rows = at::arange(ids.size(0), positions.options());
  return logits(hidden.index({rows, positions}));
}

}  // namespace engram
