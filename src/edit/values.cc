#include "engram/edit/values.h"

#include <map>
#include <string>
#include <unordered_set>

#include "engram/error.h"

namespace engram {
namespace {

void check_neuron(const ModelConfig& config, NeuronId id) {
  if (id.layer >= 0 && id.layer < config.layers && id.neuron >= 0 && id.neuron < config.d_ff) {
    return;
  }
  throw InputError("neuron " + neuron_name(id) + " does not exist, the model has layers 0.." +
                   std::to_string(config.layers - 1) + " of neurons 0.." +
                   std::to_string(config.d_ff - 1));
}

void check_neurons(const ModelConfig& config, std::span<const NeuronId> neurons) {
  std::unordered_set<NeuronId> seen;
  for (const NeuronId id : neurons) {
    check_neuron(config, id);
    if (!seen.insert(id).second) {
      throw InputError("neuron " + neuron_name(id) + " is named twice, expected each once");
    }
  }
}

/// The embedding of a token as wide as the layers, [d_model] float64, CPU: a narrower one goes
/// through the matrix that widens it.
at::Tensor embedding_of(const Model& model, int64_t token, AnswerEmbedding which) {
  const ModelConfig& config = model.config();
  if (token < 0 || token >= config.vocabulary) {
    throw InputError("token id " + std::to_string(token) + " lies outside the vocabulary of " +
                     std::to_string(config.vocabulary));
  }
  const ModelWeights& w = model.weights();
  if (which == AnswerEmbedding::kOutput) {
    if (w.decoder_weight.size(1) != config.d_model) {
      throw InputError("the output embedding is " + std::to_string(w.decoder_weight.size(1)) +
                       " wide and the layers " + std::to_string(config.d_model) +
                       ": value vectors cannot be moved along it, expected the input's");
    }
    return w.decoder_weight.select(0, token).to(at::kCPU, at::kDouble);
  }
  at::Tensor own = w.token_embedding.select(0, token).to(at::kCPU, at::kDouble);
  if (!w.embedding_project_weight.defined()) return own;
  return at::mv(w.embedding_project_weight.to(at::kCPU, at::kDouble), own);
}

/// The mean of the tokens' embeddings, of length 1.
at::Tensor direction(const Model& model, std::span<const int64_t> answer, AnswerEmbedding which) {
  if (answer.empty()) throw InputError("an answer has no token, expected at least one");
  at::Tensor sum = at::zeros({model.config().d_model}, at::kDouble);
  for (const int64_t token : answer) sum += embedding_of(model, token, which);
  const double length = sum.norm().item<double>();
  if (!(length > 0)) {
    throw InputError("the embeddings of an answer (token " + std::to_string(answer.front()) +
                     (answer.size() > 1 ? " and others" : "") +
                     ") sum to zero, so that they have no direction");
  }
  return sum / length;
}

}  // namespace

const char* answer_embedding_name(AnswerEmbedding embedding) {
  return embedding == AnswerEmbedding::kInput ? "input" : "output";
}

AnswerEmbedding parse_answer_embedding(std::string_view name) {
  for (const AnswerEmbedding one : {AnswerEmbedding::kInput, AnswerEmbedding::kOutput}) {
    if (name == answer_embedding_name(one)) return one;
  }
  throw UsageError("'" + std::string(name) + "' is no embedding; expected input or output");
}

AnswerEmbedding usual_embedding(const ModelConfig& config) {
  return config.causal() ? AnswerEmbedding::kOutput : AnswerEmbedding::kInput;
}

const char* erase_mode_name(EraseMode mode) {
  switch (mode) {
    case EraseMode::kZero:
      return "zero";
    case EraseMode::kUnknown:
      return "unk";
    case EraseMode::kMean:
      return "mean";
  }
  throw InternalError("erase_mode_name: unknown mode");
}

EraseMode parse_erase_mode(std::string_view name) {
  for (const EraseMode mode : {EraseMode::kZero, EraseMode::kUnknown, EraseMode::kMean}) {
    if (name == erase_mode_name(mode)) return mode;
  }
  throw UsageError("'" + std::string(name) +
                   "' is no way to erase; expected one of zero, unk, mean");
}

at::Tensor value_vectors(const Model& model, std::span<const NeuronId> neurons) {
  check_neurons(model.config(), neurons);
  at::Tensor values =
      at::empty({static_cast<int64_t>(neurons.size()), model.config().d_model}, at::kFloat);
  for (size_t i = 0; i < neurons.size(); ++i) {
    const LayerWeights& layer = model.weights().layers[static_cast<size_t>(neurons[i].layer)];
    values.select(0, static_cast<int64_t>(i))
        .copy_(layer.ffn_out_weight.select(1, neurons[i].neuron).detach());
  }
  return values;
}

ValueEdit update_values(const Model& model, std::span<const NeuronId> neurons,
                        std::span<const int64_t> old_answer, std::span<const int64_t> new_answer,
                        double lambda1, double lambda2, std::optional<AnswerEmbedding> embedding) {
  const AnswerEmbedding which = embedding.value_or(usual_embedding(model.config()));
  // The sum of an answer's embeddings has the direction of their mean, which is all that counts.
  const at::Tensor change =
      lambda2 * direction(model, new_answer, which) - lambda1 * direction(model, old_answer, which);
  const at::Tensor values = value_vectors(model, neurons).to(at::kDouble);
  const at::Tensor lengths = values.norm(2, {1}, /*keepdim=*/true);
  return {{neurons.begin(), neurons.end()}, (values + lengths * change).to(at::kFloat)};
}

ValueEdit erase_values(const Model& model, std::span<const NeuronId> neurons, EraseMode mode,
                       std::optional<int64_t> unknown) {
  check_neurons(model.config(), neurons);
  ValueEdit edit{{neurons.begin(), neurons.end()},
                 at::zeros({static_cast<int64_t>(neurons.size()), model.config().d_model})};
  if (mode == EraseMode::kZero) return edit;
  if (mode == EraseMode::kUnknown) {
    if (!unknown) throw InputError("the vocabulary has no unknown token to erase with");
    edit.values.copy_(
        embedding_of(model, *unknown, AnswerEmbedding::kInput).expand_as(edit.values));
    return edit;
  }
  std::map<int32_t, at::Tensor> means;
  for (size_t i = 0; i < neurons.size(); ++i) {
    at::Tensor& mean = means[neurons[i].layer];
    if (!mean.defined()) {
      const LayerWeights& layer = model.weights().layers[static_cast<size_t>(neurons[i].layer)];
      mean = layer.ffn_out_weight.detach().to(at::kCPU, at::kDouble).mean(1);
    }
    edit.values.select(0, static_cast<int64_t>(i)).copy_(mean);
  }
  return edit;
}

ValueEdit token_values(const Model& model, std::span<const NeuronId> neurons, int64_t token,
                       int64_t as_long_as) {
  check_neurons(model.config(), neurons);
  const at::Tensor value = direction(model, std::span(&token, 1), AnswerEmbedding::kInput) *
                           embedding_of(model, as_long_as, AnswerEmbedding::kInput).norm();
  return {{neurons.begin(), neurons.end()},
          value.to(at::kFloat)
              .expand({static_cast<int64_t>(neurons.size()), model.config().d_model})
              .contiguous()};
}

Model with_values(const Model& model, const ValueEdit& edit) {
  check_neurons(model.config(), edit.neurons);
  const std::vector<int64_t> shape = {static_cast<int64_t>(edit.neurons.size()),
                                      model.config().d_model};
  if (!edit.values.defined() || edit.values.sizes() != at::IntArrayRef(shape)) {
    throw InputError("an edit of " + std::to_string(shape[0]) + " neurons needs values of shape [" +
                     std::to_string(shape[0]) + ", " + std::to_string(shape[1]) +
                     "], one value vector per neuron");
  }
  Model edited = model;
  std::map<int32_t, at::Tensor> copies;
  for (size_t i = 0; i < edit.neurons.size(); ++i) {
    const NeuronId id = edit.neurons[i];
    at::Tensor& weight = copies[id.layer];
    if (!weight.defined()) {
      weight =
          model.weights().layers[static_cast<size_t>(id.layer)].ffn_out_weight.detach().clone();
    }
    weight.select(1, id.neuron).copy_(edit.values.select(0, static_cast<int64_t>(i)));
  }
  for (const auto& [layer, weight] : copies) {
    edited.replace_values(layer, weight);
  }
  return edited;
}

}  // namespace engram
