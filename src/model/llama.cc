// Llama (Touvron et al. 2023) and the families that name their tensors as it does: Mistral, Qwen2,
// Qwen3 (norms of queries and keys) and Gemma (norms that store their weight less one).
#include "families.h"

namespace engram {

std::vector<TensorSpec> llama_tensors(const ModelConfig& config, ModelWeights& w) {
  using enum Axis;
  std::vector<TensorSpec> table;
  const double shift = config.family == Family::kGemma ? 1 : 0;
  const auto add_scale = [&](const std::string& name, at::Tensor* weight, Axis axis) {
    table.push_back({{name + ".weight"}, {axis}, weight, true, {}, shift});
  };
  table.push_back({{"model.embed_tokens.weight"}, {kVocabulary, kModel}, &w.token_embedding});
  for (size_t i = 0; i < w.layers.size(); ++i) {
    LayerWeights& l = w.layers[i];
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    const std::string self = layer + "self_attn.";
    const std::string mlp = layer + "mlp.";
    const auto bias = [](bool there, at::Tensor& of) { return there ? &of : nullptr; };
    const auto asking = [&](at::Tensor& of) { return bias(config.query_bias, of); };
    const auto feeding = [&](at::Tensor& of) { return bias(config.ffn_bias, of); };
    add_scale(layer + "input_layernorm", &l.attention_norm_weight, kModel);
    add_linear(table, {self + "q_proj", &l.query_weight, asking(l.query_bias), {kQuery, kModel}});
    add_linear(table, {self + "k_proj", &l.key_weight, asking(l.key_bias), {kKey, kModel}});
    add_linear(table, {self + "v_proj", &l.value_weight, asking(l.value_bias), {kKey, kModel}});
    add_linear(table, {self + "o_proj",
                       &l.attention_out_weight,
                       bias(config.attention_out_bias, l.attention_out_bias),
                       {kModel, kQuery}});
    if (config.query_key_norm) {
      add_scale(self + "q_norm", &l.query_norm_weight, kHead);
      add_scale(self + "k_norm", &l.key_norm_weight, kHead);
    }
    add_scale(layer + "post_attention_layernorm", &l.ffn_norm_weight, kModel);
    add_linear(table,
               {mlp + "gate_proj", &l.ffn_gate_weight, feeding(l.ffn_gate_bias), {kFfn, kModel}});
    add_linear(table, {mlp + "up_proj", &l.ffn_in_weight, feeding(l.ffn_in_bias), {kFfn, kModel}});
    add_linear(table,
               {mlp + "down_proj", &l.ffn_out_weight, feeding(l.ffn_out_bias), {kModel, kFfn}});
  }
  add_scale("model.norm", &w.final_norm_weight, kModel);
  add_decoder(table, {"lm_head.weight"}, config, w);
  return table;
}

}  // namespace engram
