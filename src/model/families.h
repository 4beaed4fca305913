#pragma once

#include <string>
#include <vector>

#include "engram/model/model.h"

namespace engram {

/// A weight and bias pair: two rows of a tensor table.
struct LinearNames {
  std::string name;  ///< the checkpoint's prefix; ".weight" and ".bias" are added
  at::Tensor* weight;
  at::Tensor* bias;
  std::vector<Axis> axes;  ///< of the weight; the bias has the first of them
};
void add_linear(std::vector<TensorSpec>& table, const LinearNames& names);
/// A layer norm, whose files may call weight and bias gamma and beta.
void add_norm(std::vector<TensorSpec>& table, const std::string& name, at::Tensor* weight,
              at::Tensor* bias);

// One tensor table per family; `weights.layers` has config.layers entries.
std::vector<TensorSpec> bert_tensors(const ModelConfig& config, ModelWeights& weights);
std::vector<TensorSpec> roberta_tensors(const ModelConfig& config, ModelWeights& weights);
std::vector<TensorSpec> distilbert_tensors(const ModelConfig& config, ModelWeights& weights);

/// What the names of the body's tensors start with: "bert.".
std::string body_prefix(Family family);

/// The encoder body that BERT and RoBERTa name alike, below `prefix` ("bert" or "roberta").
std::vector<TensorSpec> bert_body(const std::string& prefix, ModelWeights& weights);

}  // namespace engram
