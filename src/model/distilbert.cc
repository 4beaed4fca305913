// DistilBERT (Sanh et al. 2019): BERT's layer without token types.
#include "families.h"

namespace engram {

std::vector<TensorSpec> distilbert_tensors(const ModelConfig& config, ModelWeights& w) {
  using enum Axis;
  std::vector<TensorSpec> table;
  const std::string embeddings = "distilbert.embeddings.";
  table.push_back(
      {{embeddings + "word_embeddings.weight"}, {kVocabulary, kModel}, &w.token_embedding});
  table.push_back(
      {{embeddings + "position_embeddings.weight"}, {kPositions, kModel}, &w.position_embedding});
  add_norm(table, embeddings + "LayerNorm", &w.embedding_norm_weight, &w.embedding_norm_bias);
  for (size_t i = 0; i < w.layers.size(); ++i) {
    LayerWeights& l = w.layers[i];
    const std::string layer = "distilbert.transformer.layer." + std::to_string(i) + ".";
    const std::string self = layer + "attention.";
    add_linear(table, {self + "q_lin", &l.query_weight, &l.query_bias, {kModel, kModel}});
    add_linear(table, {self + "k_lin", &l.key_weight, &l.key_bias, {kModel, kModel}});
    add_linear(table, {self + "v_lin", &l.value_weight, &l.value_bias, {kModel, kModel}});
    add_linear(
        table,
        {self + "out_lin", &l.attention_out_weight, &l.attention_out_bias, {kModel, kModel}});
    add_norm(table, layer + "sa_layer_norm", &l.attention_norm_weight, &l.attention_norm_bias);
    add_linear(table, {layer + "ffn.lin1", &l.ffn_in_weight, &l.ffn_in_bias, {kFfn, kModel}});
    add_linear(table, {layer + "ffn.lin2", &l.ffn_out_weight, &l.ffn_out_bias, {kModel, kFfn}});
    add_norm(table, layer + "output_layer_norm", &l.ffn_norm_weight, &l.ffn_norm_bias);
  }
  add_linear(table, {"vocab_transform", &w.head_weight, &w.head_bias, {kModel, kModel}});
  add_norm(table, "vocab_layer_norm", &w.head_norm_weight, &w.head_norm_bias);
  table.push_back(
      {{"vocab_projector.weight"}, {kVocabulary, kModel}, &w.decoder_weight, !config.tied_decoder});
  table.push_back({{"vocab_projector.bias"}, {kVocabulary}, &w.decoder_bias});
  return table;
}

}  // namespace engram
