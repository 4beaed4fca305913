// BERT (Devlin et al. 2019) and RoBERTa (Liu et al. 2019): one body, two LM heads.
#include "families.h"

namespace engram {

std::vector<TensorSpec> bert_body(const std::string& prefix, ModelWeights& w) {
  using enum Axis;
  std::vector<TensorSpec> table;
  const std::string embeddings = prefix + ".embeddings.";
  table.push_back(
      {{embeddings + "word_embeddings.weight"}, {kVocabulary, kEmbedding}, &w.token_embedding});
  table.push_back({{embeddings + "position_embeddings.weight"},
                   {kPositions, kEmbedding},
                   &w.position_embedding});
  table.push_back({{embeddings + "token_type_embeddings.weight"},
                   {kTokenTypes, kEmbedding},
                   &w.type_embedding});
  add_norm(table, embeddings + "LayerNorm", &w.embedding_norm_weight, &w.embedding_norm_bias,
           kEmbedding);
  for (size_t i = 0; i < w.layers.size(); ++i) {
    LayerWeights& l = w.layers[i];
    const std::string layer = prefix + ".encoder.layer." + std::to_string(i) + ".";
    const std::string self = layer + "attention.self.";
    add_linear(table, {self + "query", &l.query_weight, &l.query_bias, {kModel, kModel}});
    add_linear(table, {self + "key", &l.key_weight, &l.key_bias, {kModel, kModel}});
    add_linear(table, {self + "value", &l.value_weight, &l.value_bias, {kModel, kModel}});
    add_linear(table, {layer + "attention.output.dense",
                       &l.attention_out_weight,
                       &l.attention_out_bias,
                       {kModel, kModel}});
    add_norm(table, layer + "attention.output.LayerNorm", &l.attention_norm_weight,
             &l.attention_norm_bias);
    add_linear(table,
               {layer + "intermediate.dense", &l.ffn_in_weight, &l.ffn_in_bias, {kFfn, kModel}});
    add_linear(table, {layer + "output.dense", &l.ffn_out_weight, &l.ffn_out_bias, {kModel, kFfn}});
    add_norm(table, layer + "output.LayerNorm", &l.ffn_norm_weight, &l.ffn_norm_bias);
  }
  return table;
}

std::vector<TensorSpec> bert_tensors(const ModelConfig& config, ModelWeights& w) {
  using enum Axis;
  std::vector<TensorSpec> table = bert_body("bert", w);
  const std::string head = "cls.predictions.";
  add_linear(table, {head + "transform.dense", &w.head_weight, &w.head_bias, {kModel, kModel}});
  add_norm(table, head + "transform.LayerNorm", &w.head_norm_weight, &w.head_norm_bias);
  table.push_back(
      {{head + "decoder.weight"}, {kVocabulary, kModel}, &w.decoder_weight, !config.tied_decoder});
  table.push_back({{head + "bias", head + "decoder.bias"}, {kVocabulary}, &w.decoder_bias});
  return table;
}

std::vector<TensorSpec> roberta_tensors(const ModelConfig& config, ModelWeights& w) {
  using enum Axis;
  std::vector<TensorSpec> table = bert_body("roberta", w);
  add_linear(table, {"lm_head.dense", &w.head_weight, &w.head_bias, {kModel, kModel}});
  add_norm(table, "lm_head.layer_norm", &w.head_norm_weight, &w.head_norm_bias);
  table.push_back(
      {{"lm_head.decoder.weight"}, {kVocabulary, kModel}, &w.decoder_weight, !config.tied_decoder});
  table.push_back({{"lm_head.bias", "lm_head.decoder.bias"}, {kVocabulary}, &w.decoder_bias});
  return table;
}

}  // namespace engram
