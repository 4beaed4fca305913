// The forward with autograd: embeddings, layers, LM head. The yardstick of the fast pieces in
// block.cc, and the trainer's.
#include <ATen/ATen.h>

#include <cmath>

#include "engram/error.h"
#include "engram/model/model.h"
#include "engram/model/product.h"
#include "model/rotary.h"

namespace engram {
namespace {

at::Tensor norm(const ModelConfig& config, const at::Tensor& x, const at::Tensor& weight,
                const at::Tensor& bias) {
  if (config.norm_kind == NormKind::kLayer) {
    return at::layer_norm(x, {x.size(-1)}, weight, bias, config.norm_epsilon);
  }
  const at::Tensor scaled =
      x * at::rsqrt(x.square().mean(-1, /*keepdim=*/true) + config.norm_epsilon) * weight;
  return bias.defined() ? scaled + bias : scaled;
}

at::Tensor drop(const at::Tensor& x, double probability) {
  return probability > 0 ? at::dropout(x, probability, /*train=*/true) : x;
}

/// [prompts, tokens, width] -> [prompts, heads, tokens, head_size]
at::Tensor split_heads(const at::Tensor& x, int64_t heads) {
  return x.view({x.size(0), x.size(1), heads, x.size(2) / heads}).transpose(1, 2);
}

/// Keys or values of groups of heads, once for every head.
at::Tensor for_all_heads(const at::Tensor& x, int64_t heads) {
  return x.size(1) == heads ? x : x.repeat_interleave(heads / x.size(1), 1);
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
  return drop(embed_rows(ids, at::arange(ids.size(1), ids.options())), dropout);
}

at::Tensor Model::embed_rows(const at::Tensor& ids, const at::Tensor& tokens) const {
  const ModelWeights& w = weights_;
  at::Tensor x = at::embedding(w.token_embedding, ids);
  if (config_.embedding_scale != 1) x = x * config_.embedding_scale;
  if (w.position_embedding.defined()) {
    x = x + at::embedding(w.position_embedding, tokens + config_.first_position);
  }
  if (w.type_embedding.defined()) x = x + w.type_embedding.select(0, 0);
  if (w.embedding_norm_weight.defined()) {
    x = norm(config_, x, w.embedding_norm_weight, w.embedding_norm_bias);
  }
  if (w.embedding_project_weight.defined()) {
    x = affine(x, columns(w.embedding_project_weight), w.embedding_project_bias);
  }
  return x;
}

at::Tensor Model::attend(int64_t layer, const at::Tensor& x, const at::Tensor& mask,
                         double dropout) const {
  const LayerWeights& l = weights_.layers[static_cast<size_t>(layer)];
  const bool pre = config_.norm == NormPlacement::kPre;
  const at::Tensor read =
      pre ? norm(config_, x, l.attention_norm_weight, l.attention_norm_bias) : x;
  const int64_t key_heads = config_.key_head_count();
  at::Tensor q = split_heads(affine(read, columns(l.query_weight), l.query_bias), config_.heads);
  at::Tensor k = split_heads(affine(read, columns(l.key_weight), l.key_bias), key_heads);
  const at::Tensor v = split_heads(affine(read, columns(l.value_weight), l.value_bias), key_heads);
  if (config_.query_key_norm) {
    q = norm(config_, q, l.query_norm_weight, {});
    k = norm(config_, k, l.key_norm_weight, {});
  }
  if (config_.rotary_size > 0) {
    q = rotary_->turn(q);
    k = rotary_->turn(k);
  }
  // [prompts, 1, 1 or tokens, tokens], true where a key may be looked at.
  std::optional<at::Tensor> allowed;
  if (mask.defined()) allowed = mask.view({mask.size(0), 1, 1, mask.size(1)});
  const bool causal_alone = config_.causal() && !allowed;
  if (config_.causal() && allowed) {
    const at::Tensor behind = at::ones({x.size(1), x.size(1)}, x.options().dtype(at::kBool)).tril();
    allowed = allowed->logical_and(behind);
  }
  const at::Tensor mixed = at::scaled_dot_product_attention(q, for_all_heads(k, config_.heads),
                                                            for_all_heads(v, config_.heads),
                                                            allowed, dropout, causal_alone)
                               .transpose(1, 2)
                               .reshape({x.size(0), x.size(1), config_.query_width()});
  const at::Tensor sum =
      x + drop(affine(mixed, columns(l.attention_out_weight), l.attention_out_bias), dropout);
  return pre ? sum : norm(config_, sum, l.attention_norm_weight, l.attention_norm_bias);
}

at::Tensor Model::feed(int64_t layer, const at::Tensor& x, const at::Tensor& attended,
                       ActivationHook* hook, double dropout) const {
  const LayerWeights& l = weights_.layers[static_cast<size_t>(layer)];
  at::Tensor read = attended;
  if (config_.norm == NormPlacement::kPre) {
    read =
        norm(config_, config_.parallel_residual ? x : attended, l.ffn_norm_weight, l.ffn_norm_bias);
  }
  const at::Tensor up = affine(read, columns(l.ffn_in_weight), l.ffn_in_bias);
  at::Tensor a =
      config_.gated_ffn
          ? up * apply_activation(config_.activation,
                                  affine(read, columns(l.ffn_gate_weight), l.ffn_gate_bias))
          : apply_activation(config_.activation, up);
  if (hook != nullptr) a = hook->on_activation(layer, a);
  const at::Tensor sum =
      attended + drop(affine(a, columns(l.ffn_out_weight), l.ffn_out_bias), dropout);
  return config_.norm == NormPlacement::kPre
             ? sum
             : norm(config_, sum, l.ffn_norm_weight, l.ffn_norm_bias);
}

at::Tensor Model::encode(const at::Tensor& ids, const at::Tensor& mask, ActivationHook* hook,
                         double dropout) const {
  at::Tensor x = embed(ids, dropout);
  for (int64_t layer = 0; layer < config_.layers; ++layer) {
    x = feed(layer, x, attend(layer, x, mask, dropout), hook, dropout);
  }
  return x;
}

at::Tensor Model::logits(const at::Tensor& hidden) const {
  const ModelWeights& w = weights_;
  at::Tensor x = hidden;
  if (w.final_norm_weight.defined()) {
    x = norm(config_, x, w.final_norm_weight, w.final_norm_bias);
  }
  if (w.head_weight.defined()) {
    x = norm(
        config_,
        apply_activation(config_.head_activation, affine(x, columns(w.head_weight), w.head_bias)),
        w.head_norm_weight, w.head_norm_bias);
  }
  return affine(x, columns(w.decoder_weight), w.decoder_bias);
}

at::Tensor Model::logits_at(const at::Tensor& ids, const at::Tensor& positions,
                            ActivationHook* hook) const {
  const at::Tensor hidden = encode(ids, {}, hook);
  const at::Tensor rows = at::arange(ids.size(0), positions.options());
  return logits(hidden.index({rows, positions}));
}

}  // namespace engram
