#pragma once

#include <ATen/ATen.h>

#include <vector>

namespace engram {

/// Weights of one transformer layer, float32. Matrices are [out, in]. A bias that the family does
/// not have is undefined. q = heads * head_size, kv = key_heads * head_size.
struct LayerWeights {
  at::Tensor query_weight, query_bias;                  ///< [q, d_model], [q]
  at::Tensor key_weight, key_bias;                      ///< [kv, d_model], [kv]
  at::Tensor value_weight, value_bias;                  ///< [kv, d_model], [kv]
  at::Tensor query_norm_weight, key_norm_weight;        ///< [head_size] each, undefined if none
  at::Tensor attention_out_weight, attention_out_bias;  ///< [d_model, q], [d_model]
  /// [d_model]: behind attention in post-norm families, before it in pre-norm ones.
  at::Tensor attention_norm_weight, attention_norm_bias;
  at::Tensor ffn_in_weight, ffn_in_bias;      ///< keys: [d_ff, d_model], [d_ff]
  at::Tensor ffn_gate_weight, ffn_gate_bias;  ///< the same of a gated FFN's gate, else undefined
  at::Tensor ffn_out_weight, ffn_out_bias;    ///< values are columns: [d_model, d_ff], [d_model]
  at::Tensor ffn_norm_weight, ffn_norm_bias;  ///< [d_model]: behind the FFN, or before it
};

/// All weights, float32 (or whatever type a trainer uses), on one device.
struct ModelWeights {
  // Of width e, the embeddings' (ModelConfig::embedding_width()).
  at::Tensor token_embedding;     ///< [vocabulary, e]
  at::Tensor position_embedding;  ///< [positions, e], undefined where positions are rotary
  at::Tensor type_embedding;      ///< [token_types, e], undefined if none
  at::Tensor embedding_norm_weight, embedding_norm_bias;  ///< [e], undefined if none
  at::Tensor embedding_project_weight,
      embedding_project_bias;  ///< [d_model, e], where e is another
  std::vector<LayerWeights> layers;
  at::Tensor final_norm_weight, final_norm_bias;  ///< [d_model], of pre-norm families
  at::Tensor head_weight, head_bias;              ///< LM head's transform [e, d_model], if any
  at::Tensor head_norm_weight, head_norm_bias;    ///< [e]
  at::Tensor decoder_weight, decoder_bias;        ///< [vocabulary, e], [vocabulary] if any
};

}  // namespace engram
