#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engram/model/tensor_table.h"

namespace engram {

/// A weight and bias pair: two rows of a tensor table.
struct LinearNames {
  std::string name;  ///< the checkpoint's prefix; ".weight" and ".bias" are added
  at::Tensor* weight;
  at::Tensor* bias;        ///< null: has none
  std::vector<Axis> axes;  ///< of the weight; the bias has the first of them
  Layout layout = {};      ///< of the weight; the bias lies likewise
};
void add_linear(std::vector<TensorSpec>& table, const LinearNames& names);
/// A layer norm, whose files may call weight and bias gamma and beta.
void add_norm(std::vector<TensorSpec>& table, const std::string& name, at::Tensor* weight,
              at::Tensor* bias, Axis axis = Axis::kModel);

/// The decoder's matrix, which may be the token embedding.
void add_decoder(std::vector<TensorSpec>& table, const std::vector<std::string>& names,
                 const ModelConfig& config, ModelWeights& weights);

// One tensor table per family; `weights.layers` has config.layers entries.
std::vector<TensorSpec> bert_tensors(const ModelConfig& config, ModelWeights& weights);
std::vector<TensorSpec> roberta_tensors(const ModelConfig& config, ModelWeights& weights);
std::vector<TensorSpec> distilbert_tensors(const ModelConfig& config, ModelWeights& weights);
std::vector<TensorSpec> electra_tensors(const ModelConfig& config, ModelWeights& weights);
std::vector<TensorSpec> gpt2_tensors(const ModelConfig& config, ModelWeights& weights);
std::vector<TensorSpec> gpt_neox_tensors(const ModelConfig& config, ModelWeights& weights);
std::vector<TensorSpec> llama_tensors(const ModelConfig& config, ModelWeights& weights);

/// The encoder body that several families name alike, below `prefix` ("bert", "roberta").
std::vector<TensorSpec> bert_body(const std::string& prefix, ModelWeights& weights);

/// How checkpoints of a family are recognised and read.
struct FamilyTraits {
  Family family;
  std::string_view name;          ///< config.json's model_type
  std::string_view architecture;  ///< the class of transformers that saves it
  std::string_view body;          ///< what the names of the body's tensors start with
  std::string_view layers;        ///< and what stands in them before a layer's number
  std::string_view layers_field;  ///< config.json's name for the number of layers
  std::vector<TensorSpec> (*tensors)(const ModelConfig&, ModelWeights&);
  bool causal = false;
};
const FamilyTraits& traits_of(Family family);
/// The family of a model_type; null: none that we know.
const FamilyTraits* find_family(std::string_view name);
/// All names, quoted, for messages.
std::string known_families();

}  // namespace engram
