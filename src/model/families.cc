#include "families.h"

#include "engram/error.h"

namespace engram {

void add_linear(std::vector<TensorSpec>& table, const LinearNames& names) {
  table.push_back({{names.name + ".weight"}, names.axes, names.weight});
  table.push_back({{names.name + ".bias"}, {names.axes.front()}, names.bias});
}

void add_norm(std::vector<TensorSpec>& table, const std::string& name, at::Tensor* weight,
              at::Tensor* bias) {
  table.push_back({{name + ".weight", name + ".gamma"}, {Axis::kModel}, weight});
  table.push_back({{name + ".bias", name + ".beta"}, {Axis::kModel}, bias});
}

std::string body_prefix(Family family) {
  switch (family) {
    case Family::kBert:
      return "bert.";
    case Family::kRoberta:
    case Family::kXlmRoberta:
    case Family::kCamembert:
      return "roberta.";
    case Family::kDistilBert:
      return "distilbert.";
  }
  throw InternalError("body_prefix: unknown family");
}

namespace {

std::vector<TensorSpec> family_table(const ModelConfig& config, ModelWeights& weights) {
  switch (config.family) {
    case Family::kBert:
      return bert_tensors(config, weights);
    case Family::kRoberta:
    case Family::kXlmRoberta:
    case Family::kCamembert:
      return roberta_tensors(config, weights);
    case Family::kDistilBert:
      return distilbert_tensors(config, weights);
  }
  throw InternalError("tensor_table: unknown family");
}

}  // namespace

std::vector<TensorSpec> tensor_table(const ModelConfig& config, ModelWeights& weights) {
  weights.layers.resize(static_cast<size_t>(config.layers));
  std::vector<TensorSpec> table = family_table(config, weights);
  // A file whose encoder was saved by itself and got its head later lacks the prefix.
  const std::string prefix = body_prefix(config.family);
  for (TensorSpec& spec : table) {
    const std::vector<std::string> names = spec.names;
    for (const std::string& name : names) {
      if (name.starts_with(prefix)) spec.names.push_back(name.substr(prefix.size()));
    }
  }
  return table;
}

int64_t axis_size(const ModelConfig& config, Axis axis) {
  switch (axis) {
    case Axis::kModel:
      return config.d_model;
    case Axis::kFfn:
      return config.d_ff;
    case Axis::kVocabulary:
      return config.vocabulary;
    case Axis::kPositions:
      return config.positions;
    case Axis::kTokenTypes:
      return config.token_types;
    case Axis::kEmbedding:
      return config.embedding_width();
  }
  throw InternalError("axis_size: unknown axis");
}

}  // namespace engram
