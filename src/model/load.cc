#include <ATen/ATen.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "engram/base/file.h"
#include "engram/error.h"
#include "engram/model/model.h"
#include "engram/model/safetensors.h"
#include "engram/model/tensor_source.h"
#include "engram/model/tensor_table.h"
#include "model/families.h"
#include "model/rotary.h"
#include "model/transposed.h"

namespace engram {
namespace {

std::string shape_text(at::IntArrayRef shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  }
  return text + "]";
}

/// The stored bytes as a float32 tensor: a view of the map where they are float32 already.
at::Tensor to_float32(const StoredTensor& stored, bool& mapped) {
  at::ScalarType type = at::kFloat;
  if (stored.storage == Storage::kF16) type = at::kHalf;
  if (stored.storage == Storage::kBF16) type = at::kBFloat16;
  // What is stored is read-only: nobody may write into loaded weights, and edits work on copies.
  auto* bytes =
      const_cast<std::byte*>(stored.data);  // NOLINT(cppcoreguidelines-pro-type-const-cast)
  mapped = type == at::kFloat && reinterpret_cast<uintptr_t>(bytes) % alignof(float) == 0;
  if (!mapped && type == at::kFloat) {
    at::Tensor copy = at::empty(stored.shape, at::kFloat);
    std::memcpy(copy.data_ptr(), bytes, stored.bytes);
    return copy;
  }
  const at::Tensor view = at::from_blob(
      bytes, stored.shape, [kept = stored](void*) {}, at::TensorOptions().dtype(type));
  return mapped ? view : view.to(at::kFloat);
}

void check_finite(const at::Tensor& tensor, const std::string& where) {
  const auto [least, largest] = at::aminmax(tensor);
  if (!std::isfinite(least.item<float>()) || !std::isfinite(largest.item<float>())) {
    throw InputError(where + ": holds NaN or infinite values, expected finite weights");
  }
}

/// The stored tensor of a row; where a file has several of its names, the last of them.
const StoredTensor* find(const std::map<std::string, StoredTensor>& stored,
                         const TensorSpec& spec) {
  // An untied LM head may carry both of its bias names; the decoder's own is the one in force.
  for (auto name = spec.names.rbegin(); name != spec.names.rend(); ++name) {
    const auto found = stored.find(*name);
    if (found != stored.end()) return &found->second;
  }
  return nullptr;
}

/// What messages call a tensor.
std::string where_of(const TensorSource& source, const StoredTensor& tensor) {
  const std::string file = tensor.file == nullptr ? source.place : tensor.file->path().string();
  return file + ": tensor \"" + tensor.name + "\"";
}

/// Tensors that other heads and older versions leave in a file and that no model needs: masks of
/// causal attention and rotary angles among them.
bool is_harmless(const std::string& name) {
  for (const std::string_view end : {".attn.bias", ".attn.masked_bias", ".attention.bias",
                                     ".attention.masked_bias", ".rotary_emb.inv_freq"}) {
    if (name.ends_with(end)) return true;
  }
  return name.find("position_ids") != std::string::npos ||
         name.find(".pooler.") != std::string::npos || name.starts_with("pooler.") ||
         name.rfind("cls.seq_relationship", 0) == 0;
}

/// The layer that a tensor belongs to by its name ("bert.encoder.layer.7.output.dense.bias"), given
/// the names' common start ("bert.encoder.layer."); -1: none.
int64_t layer_of(std::string_view name, std::string_view prefix) {
  if (prefix.empty() || !name.starts_with(prefix)) return -1;
  name.remove_prefix(prefix.size());
  int64_t layer = -1;
  const auto [end, failed] = std::from_chars(name.data(), name.data() + name.size(), layer);
  const bool whole = failed == std::errc() && end != name.data() + name.size() && *end == '.';
  return whole ? layer : -1;
}

/// A file with more layers than config.json would load, and be another model cut short. `taken`:
/// the names under which tensors were found.
void refuse_further_layers(const ModelConfig& config, const std::set<std::string>& taken,
                           const TensorSource& source) {
  const FamilyTraits& family = traits_of(config.family);
  const std::string inner = "." + std::string(family.layers);
  std::string prefix;
  for (const std::string& name : taken) {
    const size_t at = name.find(inner);
    if (at != std::string::npos) prefix = name.substr(0, at + inner.size());
    if (name.starts_with(family.layers)) prefix = family.layers;  // of a body saved by itself
  }
  const StoredTensor* first = nullptr;
  int64_t first_layer = 0;
  int64_t layers = 0;
  for (const auto& [name, tensor] : source.tensors) {
    const int64_t layer = layer_of(name, prefix);
    layers = std::max(layers, layer + 1);
    if (layer >= config.layers && (first == nullptr || layer < first_layer)) {
      first = &tensor;
      first_layer = layer;
    }
  }
  if (first == nullptr) return;
  throw InputError(where_of(source, *first) + ": got " + std::to_string(layers) +
                   " layers, expected the " + std::to_string(config.layers) + " of config.json's " +
                   std::string(family.layers_field));
}

}  // namespace

std::string missing_head(const ModelConfig& config, const TensorSource& source) {
  const std::string_view prefix = traits_of(config.family).body;
  ModelWeights weights;
  std::string first;
  bool body = false;
  for (const TensorSpec& spec : tensor_table(config, weights)) {
    const bool found = find(source.tensors, spec) != nullptr;
    const bool head = !spec.names.front().starts_with(prefix);
    if (head && !found && !spec.required) continue;
    if (head && found) return "";
    if (!head && found) body = true;
    if (head && first.empty()) first = spec.names.front();
  }
  if (!body || first.empty()) return "";
  if (config.causal()) {
    return "no LM head: the weights are a decoder alone or with another head, expected " + first +
           ", since config.json's tie_word_embeddings is false (save_pretrained of transformers' "
           "AutoModelForCausalLM, trained)";
  }
  return "no LM head: the weights are an encoder alone or with another head, expected a masked LM "
         "with " +
         first + " and the like (save_pretrained of transformers' AutoModelForMaskedLM, trained)";
}

TensorSource checkpoint_source(const std::filesystem::path& directory) {
  return {directory.string(), open_checkpoint(directory)};
}

TensorSource memory_source(const std::map<std::string, at::Tensor>& tensors) {
  TensorSource source{"memory", {}};
  for (const auto& [name, tensor] : tensors) {
    const auto kept = std::make_shared<const at::Tensor>(tensor.detach().to(at::kCPU).contiguous());
    StoredTensor stored;
    stored.name = name;
    stored.storage = kept->scalar_type() == at::kFloat      ? Storage::kF32
                     : kept->scalar_type() == at::kHalf     ? Storage::kF16
                     : kept->scalar_type() == at::kBFloat16 ? Storage::kBF16
                                                            : Storage::kOther;
    stored.storage_name = stored.storage == Storage::kOther ? c10::toString(kept->scalar_type())
                                                            : storage_text(stored.storage);
    stored.shape = kept->sizes().vec();
    stored.data = static_cast<const std::byte*>(kept->const_data_ptr());
    stored.bytes = kept->nbytes();
    stored.owner = kept;
    source.tensors.emplace(name, std::move(stored));
  }
  return source;
}

Model Model::load(const std::filesystem::path& directory, const at::Device& device) {
  const ModelConfig config = read_config(directory);
  return load(config, checkpoint_source(directory), device);
}

Model Model::load(const ModelConfig& config, const TensorSource& source, const at::Device& device) {
  Model model;
  model.config_ = config;
  const std::map<std::string, StoredTensor>& stored = source.tensors;
  const std::string& place = source.place;

  if (const std::string lacks = missing_head(model.config_, source); !lacks.empty()) {
    throw InputError(place + ": " + lacks);
  }
  std::set<std::string> used;
  std::set<std::string> taken;
  for (const TensorSpec& spec : tensor_table(model.config_, model.weights_)) {
    for (const std::string& name : spec.names) used.insert(name);
    const StoredTensor* found = find(stored, spec);
    if (found == nullptr) {
      if (spec.required) {
        throw InputError(place + ": tensor \"" + spec.names.front() + "\" is missing (family " +
                         std::string(family_name(model.config_.family)) + ", expected shape " +
                         shape_text(spec.stored_shape(model.config_)) + ")");
      }
      model.report_.missing.push_back(spec.names.front());
      continue;
    }
    taken.insert(found->name);
    const std::string where = where_of(source, *found);
    if (found->storage == Storage::kOther) {
      throw InputError(where + ": got dtype " + found->storage_name +
                       ", expected F32, F16 or BF16");
    }
    const std::vector<int64_t> shape = spec.stored_shape(model.config_);
    if (found->shape != shape) {
      throw InputError(where + ": got shape " + shape_text(found->shape) + ", expected " +
                       shape_text(shape) + " from config.json");
    }
    bool mapped = false;
    at::Tensor tensor = to_float32(*found, mapped);
    check_finite(tensor, where);
    if (!spec.layout.plain()) {
      // A row of its own each, whose memory does not hang on the tensor's other parts.
      tensor = take_weight(tensor, spec.shape(model.config_), spec.layout)
                   .clone(at::MemoryFormat::Contiguous);
      mapped = false;
    }
    if (spec.shift != 0) {
      tensor = tensor + spec.shift;
      mapped = false;
    }
    if (!device.is_cpu()) {
      tensor = tensor.to(device);
      mapped = false;
    }
    const int64_t bytes = tensor.numel() * static_cast<int64_t>(sizeof(float));
    (mapped ? model.report_.mapped_bytes : model.report_.copied_bytes) += bytes;
    model.report_.parameters += tensor.numel();
    *spec.destination = tensor;
  }
  if (!model.weights_.decoder_weight.defined()) {
    model.weights_.decoder_weight = model.weights_.token_embedding;
  }
  model.finish();
  refuse_further_layers(model.config_, taken, source);
  for (const auto& [name, tensor] : stored) {
    if (!used.contains(name) && !is_harmless(name)) model.report_.unexpected.push_back(name);
  }
  return model;
}

Model::Model() : transposed_(std::make_shared<TransposedCopies>()) {}

Model::Model(ModelConfig config, ModelWeights weights) : Model() {
  config_ = config;
  weights_ = std::move(weights);
  if (!weights_.decoder_weight.defined() && config_.tied_decoder) {
    weights_.decoder_weight = weights_.token_embedding;
  }
  for (const TensorSpec& spec : tensor_table(config_, weights_)) {
    const std::vector<int64_t> shape = spec.shape(config_);
    if (!spec.destination->defined() || spec.destination->sizes() != at::IntArrayRef(shape)) {
      throw InternalError("weight " + spec.names.front() + " must have shape " + shape_text(shape));
    }
    const bool tied = spec.destination == &weights_.decoder_weight &&
                      weights_.decoder_weight.unsafeGetTensorImpl() ==
                          weights_.token_embedding.unsafeGetTensorImpl();
    if (!tied) report_.parameters += spec.destination->numel();
  }
  finish();
}

Model Model::unchecked(ModelConfig config, ModelWeights weights) {
  Model model;
  model.config_ = config;
  model.weights_ = std::move(weights);
  model.finish();
  return model;
}

void Model::finish() {
  if (config_.rotary_size == 0) return;
  rotary_ = std::make_shared<Rotary>(config_, device());
}

namespace {

nlohmann::ordered_json config_to_json(const ModelConfig& c, bool half) {
  nlohmann::ordered_json out;
  const std::string activation(activation_name(c.activation));
  out["model_type"] = family_name(c.family);
  out["architectures"] = {traits_of(c.family).architecture};
  if (c.family == Family::kDistilBert) {
    out["n_layers"] = c.layers;
    out["dim"] = c.d_model;
    out["hidden_dim"] = c.d_ff;
    out["n_heads"] = c.heads;
    out["activation"] = activation;
  } else {
    out["num_hidden_layers"] = c.layers;
    out["hidden_size"] = c.d_model;
    out["intermediate_size"] = c.d_ff;
    out["num_attention_heads"] = c.heads;
    out["type_vocab_size"] = c.token_types;
    out["layer_norm_eps"] = c.norm_epsilon;
    out["hidden_act"] = activation;
    if (c.family == Family::kElectra) out["embedding_size"] = c.embedding_width();
  }
  out["vocab_size"] = c.vocabulary;
  out["max_position_embeddings"] = c.positions;
  out["pad_token_id"] = c.pad_token;
  out["tie_word_embeddings"] = c.tied_decoder;
  out["dtype"] = half ? "float16" : "float32";
  return out;
}

}  // namespace

void save_model(const Model& model, const std::filesystem::path& directory, bool half) {
  if (model.config().causal()) throw InternalError("save_model: a decoder");
  std::error_code failed;
  std::filesystem::create_directories(directory, failed);
  if (failed) throw FileError(directory.string() + ": cannot create folder: " + failed.message());

  ModelWeights weights = model.weights();  // shares storage; the table needs a mutable home
  std::vector<std::pair<std::string, at::Tensor>> kept;
  for (const TensorSpec& spec : tensor_table(model.config(), weights)) {
    if (!spec.required) continue;  // the tied decoder
    const std::string& name = spec.names.front();
    at::Tensor tensor =
        spec.destination->detach().to(at::kCPU, half ? at::kHalf : at::kFloat).contiguous();
    if (!spec.layout.plain()) {
      const auto known = std::ranges::find(kept, name, &std::pair<std::string, at::Tensor>::first);
      if (known != kept.end()) {
        put_weight(tensor, spec.layout, known->second);
        continue;
      }
      const at::Tensor whole = at::zeros(spec.stored_shape(model.config()), tensor.options());
      put_weight(tensor, spec.layout, whole);
      tensor = whole;
    }
    kept.emplace_back(name, tensor);
  }
  std::vector<TensorToWrite> tensors;
  for (const auto& [name, tensor] : kept) {
    tensors.push_back({name,
                       half ? Storage::kF16 : Storage::kF32,
                       tensor.sizes().vec(),
                       {static_cast<const std::byte*>(tensor.const_data_ptr()),
                        static_cast<size_t>(tensor.nbytes())}});
  }
  write_safetensors(directory / "model.safetensors", tensors, {{"format", "pt"}});
  AtomicFile config(directory / "config.json");
  config.write(config_to_json(model.config(), half).dump(2) + "\n");
  config.commit();
}

}  // namespace engram
