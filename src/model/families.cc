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

std::vector<TensorSpec> tensor_table(const ModelConfig& config, ModelWeights& weights) {
  weights.layers.resize(static_cast<size_t>(config.layers));
  switch (config.family) {
    case Family::kBert:
      return bert_tensors(config, weights);
    case Family::kRoberta:
      return roberta_tensors(config, weights);
    case Family::kDistilBert:
      return distilbert_tensors(config, weights);
  }
  throw InternalError("tensor_table: unknown family");
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
  }
  throw InternalError("axis_size: unknown axis");
}

}  // namespace engram
