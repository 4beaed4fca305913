// ELECTRA's generator (Clark et al. 2020): BERT's body behind embeddings that may be narrower than
// the layers, and a head as narrow.
#include "families.h"

namespace engram {

std::vector<TensorSpec> electra_tensors(const ModelConfig& config, ModelWeights& w) {
  using enum Axis;
  std::vector<TensorSpec> table = bert_body("electra", w);
  if (config.embedding_width() != config.d_model) {
    add_linear(table, {"electra.embeddings_project",
                       &w.embedding_project_weight,
                       &w.embedding_project_bias,
                       {kModel, kEmbedding}});
  }
  const std::string head = "generator_predictions.";
  add_linear(table, {head + "dense", &w.head_weight, &w.head_bias, {kEmbedding, kModel}});
  add_norm(table, head + "LayerNorm", &w.head_norm_weight, &w.head_norm_bias, kEmbedding);
  table.push_back({{"generator_lm_head.weight"},
                   {kVocabulary, kEmbedding},
                   &w.decoder_weight,
                   !config.tied_decoder});
  table.push_back({{"generator_lm_head.bias"}, {kVocabulary}, &w.decoder_bias});
  return table;
}

}  // namespace engram
