#include "families.h"

#include <algorithm>
#include <array>

#include "engram/error.h"

namespace engram {

void add_linear(std::vector<TensorSpec>& table, const LinearNames& names) {
  table.push_back({{names.name + ".weight"}, names.axes, names.weight, true, names.layout});
  if (names.bias == nullptr) return;
  Layout layout = names.layout;
  layout.transposed = false;
  table.push_back({{names.name + ".bias"}, {names.axes.front()}, names.bias, true, layout});
}

void add_norm(std::vector<TensorSpec>& table, const std::string& name, at::Tensor* weight,
              at::Tensor* bias, Axis axis) {
  table.push_back({{name + ".weight", name + ".gamma"}, {axis}, weight});
  table.push_back({{name + ".bias", name + ".beta"}, {axis}, bias});
}

void add_decoder(std::vector<TensorSpec>& table, const std::vector<std::string>& names,
                 const ModelConfig& config, ModelWeights& weights) {
  table.push_back({names,
                   {Axis::kVocabulary, Axis::kEmbedding},
                   &weights.decoder_weight,
                   !config.tied_decoder});
}

namespace {

constexpr std::string_view kLayers = "num_hidden_layers";

constexpr std::array<FamilyTraits, 13> kFamilies{{
    {Family::kBert, "bert", "BertForMaskedLM", "bert.", "layer.", kLayers, bert_tensors},
    {Family::kRoberta, "roberta", "RobertaForMaskedLM", "roberta.", "layer.", kLayers,
     roberta_tensors},
    {Family::kXlmRoberta, "xlm-roberta", "XLMRobertaForMaskedLM", "roberta.", "layer.", kLayers,
     roberta_tensors},
    {Family::kCamembert, "camembert", "CamembertForMaskedLM", "roberta.", "layer.", kLayers,
     roberta_tensors},
    {Family::kDistilBert, "distilbert", "DistilBertForMaskedLM", "distilbert.", "layer.",
     "n_layers", distilbert_tensors},
    {Family::kElectra, "electra", "ElectraForMaskedLM", "electra.", "layer.", kLayers,
     electra_tensors},
    {Family::kGpt2, "gpt2", "GPT2LMHeadModel", "transformer.", "h.", "n_layer", gpt2_tensors, true},
    {Family::kGptNeoX, "gpt_neox", "GPTNeoXForCausalLM", "gpt_neox.", "layers.", kLayers,
     gpt_neox_tensors, true},
    {Family::kLlama, "llama", "LlamaForCausalLM", "model.", "layers.", kLayers, llama_tensors,
     true},
    {Family::kMistral, "mistral", "MistralForCausalLM", "model.", "layers.", kLayers, llama_tensors,
     true},
    {Family::kQwen2, "qwen2", "Qwen2ForCausalLM", "model.", "layers.", kLayers, llama_tensors,
     true},
    {Family::kQwen3, "qwen3", "Qwen3ForCausalLM", "model.", "layers.", kLayers, llama_tensors,
     true},
    {Family::kGemma, "gemma", "GemmaForCausalLM", "model.", "layers.", kLayers, llama_tensors,
     true},
}};

}  // namespace

const FamilyTraits& traits_of(Family family) {
  const auto* found = std::ranges::find(kFamilies, family, &FamilyTraits::family);
  if (found == kFamilies.end()) throw InternalError("a family without traits");
  return *found;
}

const FamilyTraits* find_family(std::string_view name) {
  const auto* found = std::ranges::find(kFamilies, name, &FamilyTraits::name);
  return found == kFamilies.end() ? nullptr : found;
}

std::string known_families() {
  std::string known;
  for (const FamilyTraits& one : kFamilies) {
    const bool last = &one == &kFamilies.back();
    known += (known.empty() ? "\"" : (last ? " or \"" : ", \"")) + std::string(one.name) + "\"";
  }
  return known;
}

std::string_view family_name(Family family) { return traits_of(family).name; }

std::vector<TensorSpec> tensor_table(const ModelConfig& config, ModelWeights& weights) {
  weights.layers.resize(static_cast<size_t>(config.layers));
  std::vector<TensorSpec> table = traits_of(config.family).tensors(config, weights);
  // A file whose encoder was saved by itself and got its head later lacks the prefix.
  const std::string_view prefix = traits_of(config.family).body;
  for (TensorSpec& spec : table) {
    const std::vector<std::string> names = spec.names;
    for (const std::string& name : names) {
      if (name.starts_with(prefix)) spec.names.push_back(name.substr(prefix.size()));
    }
  }
  return table;
}

}  // namespace engram
