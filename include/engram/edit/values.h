#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <span>
#include <vector>

#include "engram/model/model.h"
#include "engram/neuron.h"

namespace engram {

/// What is written to the value vectors of some neurons: their columns of the second FFN matrix.
struct ValueEdit {
  std::vector<NeuronId> neurons;  ///< each once
  at::Tensor values;              ///< [neurons, d_model] float32, CPU: the new value vectors
};

/// How a relation's value vectors are erased (METHOD section 5).
enum class EraseMode {
  kZero,     ///< zero: the paper's released code
  kUnknown,  ///< the input embedding of the unknown token: the paper's 2021 version
  kMean,     ///< the mean of the layer's value vectors
};
const char* erase_mode_name(EraseMode mode);        ///< "zero", "unk", "mean"
EraseMode parse_erase_mode(std::string_view name);  ///< throws UsageError

/// The vector e(.) of a token in an update: its row of the input embedding, or of the output
/// embedding, which the logits are products with. In tied models they are the same.
enum class AnswerEmbedding { kInput, kOutput };
const char* answer_embedding_name(AnswerEmbedding embedding);   ///< "input", "output"
AnswerEmbedding parse_answer_embedding(std::string_view name);  ///< throws UsageError
/// The input's for masked models, as in the paper, and the output's for causal ones (METHOD
/// section 8).
AnswerEmbedding usual_embedding(const ModelConfig& config);

/// The value vectors of `neurons`, [neurons, d_model] float32, CPU. Throws InputError for a neuron
/// that the model does not have.
at::Tensor value_vectors(const Model& model, std::span<const NeuronId> neurons);

/// Fact update o -> o' (METHOD section 5): value_i += -lambda1 |value_i|/|e(o)| e(o)
/// + lambda2 |value_i|/|e(o')| e(o'), e(.) = the mean of the embeddings of the answer's tokens
/// (narrower ones than the layers, as ELECTRA's: widened by the model's own matrix), without
/// `embedding` of the usual ones. Throws
/// InputError as value_vectors(), and for kOutput where the output embedding is narrower than the
/// layers.
ValueEdit update_values(const Model& model, std::span<const NeuronId> neurons,
                        std::span<const int64_t> old_answer, std::span<const int64_t> new_answer,
                        double lambda1, double lambda2,
                        std::optional<AnswerEmbedding> embedding = {});

/// Erased value vectors. `unknown` is the id of the unknown token, used by kUnknown only.
ValueEdit erase_values(const Model& model, std::span<const NeuronId> neurons, EraseMode mode,
                       std::optional<int64_t> unknown);

/// Value vectors set to the input embedding of `token`, scaled to the length of that of
/// `as_long_as`. Throws InputError as value_vectors(), and for an embedding of length 0.
ValueEdit token_values(const Model& model, std::span<const NeuronId> neurons, int64_t token,
                       int64_t as_long_as);

/// The model with the edit made in memory: shares every tensor but the second FFN matrices of the
/// edited layers. Throws InputError as value_vectors(), and for values of another shape.
Model with_values(const Model& model, const ValueEdit& edit);

}  // namespace engram
