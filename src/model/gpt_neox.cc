// GPT-NeoX (Black et al. 2022), which Pythia is: queries, keys and values of each head stand
// together in one matrix.
#include "families.h"

namespace engram {

std::vector<TensorSpec> gpt_neox_tensors(const ModelConfig& config, ModelWeights& w) {
  using enum Axis;
  std::vector<TensorSpec> table;
  table.push_back({{"gpt_neox.embed_in.weight"}, {kVocabulary, kModel}, &w.token_embedding});
  const auto third = [&](int64_t which) {
    return Layout{.first = which * config.head_size,
                  .rows = 3 * config.query_width(),
                  .groups = config.heads};
  };
  for (size_t i = 0; i < w.layers.size(); ++i) {
    LayerWeights& l = w.layers[i];
    const std::string layer = "gpt_neox.layers." + std::to_string(i) + ".";
    const std::string fused = layer + "attention.query_key_value";
    const auto bias = [&](at::Tensor& of) { return config.query_bias ? &of : nullptr; };
    add_norm(table, layer + "input_layernorm", &l.attention_norm_weight, &l.attention_norm_bias);
    add_linear(table, {fused, &l.query_weight, bias(l.query_bias), {kQuery, kModel}, third(0)});
    add_linear(table, {fused, &l.key_weight, bias(l.key_bias), {kKey, kModel}, third(1)});
    add_linear(table, {fused, &l.value_weight, bias(l.value_bias), {kKey, kModel}, third(2)});
    add_linear(table, {layer + "attention.dense",
                       &l.attention_out_weight,
                       config.attention_out_bias ? &l.attention_out_bias : nullptr,
                       {kModel, kQuery}});
    add_norm(table, layer + "post_attention_layernorm", &l.ffn_norm_weight, &l.ffn_norm_bias);
    add_linear(table,
               {layer + "mlp.dense_h_to_4h", &l.ffn_in_weight, &l.ffn_in_bias, {kFfn, kModel}});
    add_linear(table,
               {layer + "mlp.dense_4h_to_h", &l.ffn_out_weight, &l.ffn_out_bias, {kModel, kFfn}});
  }
  add_norm(table, "gpt_neox.final_layer_norm", &w.final_norm_weight, &w.final_norm_bias);
  add_decoder(table, {"embed_out.weight", "lm_head.weight"}, config, w);
  return table;
}

}  // namespace engram
