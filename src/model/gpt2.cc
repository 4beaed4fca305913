// GPT-2 (Radford et al. 2019): matrices lie transposed, as of a convolution of width one, and
// queries, keys and values in one.
#include "families.h"

namespace engram {

std::vector<TensorSpec> gpt2_tensors(const ModelConfig& config, ModelWeights& w) {
  using enum Axis;
  std::vector<TensorSpec> table;
  table.push_back({{"transformer.wte.weight"}, {kVocabulary, kModel}, &w.token_embedding});
  table.push_back({{"transformer.wpe.weight"}, {kPositions, kModel}, &w.position_embedding});
  const int64_t d = config.d_model;
  const Layout transposed{.transposed = true};
  const auto third = [&](int64_t which) {
    return Layout{.transposed = true, .first = which * d, .rows = 3 * d};
  };
  for (size_t i = 0; i < w.layers.size(); ++i) {
    LayerWeights& l = w.layers[i];
    const std::string layer = "transformer.h." + std::to_string(i) + ".";
    const std::string fused = layer + "attn.c_attn";
    add_norm(table, layer + "ln_1", &l.attention_norm_weight, &l.attention_norm_bias);
    add_linear(table, {fused, &l.query_weight, &l.query_bias, {kQuery, kModel}, third(0)});
    add_linear(table, {fused, &l.key_weight, &l.key_bias, {kKey, kModel}, third(1)});
    add_linear(table, {fused, &l.value_weight, &l.value_bias, {kKey, kModel}, third(2)});
    add_linear(table, {layer + "attn.c_proj",
                       &l.attention_out_weight,
                       &l.attention_out_bias,
                       {kModel, kQuery},
                       transposed});
    add_norm(table, layer + "ln_2", &l.ffn_norm_weight, &l.ffn_norm_bias);
    add_linear(table,
               {layer + "mlp.c_fc", &l.ffn_in_weight, &l.ffn_in_bias, {kFfn, kModel}, transposed});
    add_linear(
        table,
        {layer + "mlp.c_proj", &l.ffn_out_weight, &l.ffn_out_bias, {kModel, kFfn}, transposed});
  }
  add_norm(table, "transformer.ln_f", &w.final_norm_weight, &w.final_norm_bias);
  add_decoder(table, {"lm_head.weight"}, config, w);
  return table;
}

}  // namespace engram
