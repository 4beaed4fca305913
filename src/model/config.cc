#include "engram/model/config.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/json.h"
#include "engram/base/file.h"
#include "engram/error.h"
#include "model/config_fields.h"
#include "model/families.h"

namespace engram {

using nlohmann::json;

Activation parse_activation(const ConfigFields& fields, const std::string& field,
                            const std::string& fallback) {
  // Names that transformers gives to the same formula stand together.
  static constexpr std::array<std::pair<std::string_view, Activation>, 10> kNames{{
      {"gelu", Activation::kGelu},
      {"gelu_python", Activation::kGelu},
      {"gelu_new", Activation::kGeluTanh},
      {"gelu_fast", Activation::kGeluTanh},
      {"gelu_accurate", Activation::kGeluTanh},
      {"gelu_pytorch_tanh", Activation::kGeluTanh},
      {"gelu_python_tanh", Activation::kGeluTanh},
      {"relu", Activation::kRelu},
      {"silu", Activation::kSilu},
      {"swish", Activation::kSilu},
  }};
  const std::string name = fields.text_or(field, fallback);
  for (const auto& [known, activation] : kNames) {
    if (name == known) return activation;
  }
  fields.refuse(field, "gelu, gelu_new, gelu_pytorch_tanh, relu or silu");
}

void refuse_unsupported(const ConfigFields& fields) {
  if (fields.flag_or("add_cross_attention", false)) fields.refuse("add_cross_attention", "false");
  if (fields.present("pruned_heads") && !fields.at("pruned_heads").empty()) {
    fields.refuse("pruned_heads", "none");
  }
  if (fields.present("quantization_config")) {
    fields.refuse("quantization_config", "none (weights in F32, F16 or BF16)");
  }
}

namespace {

/// What a masked LM cannot be.
void refuse_unmasked(const ConfigFields& fields) {
  if (fields.flag_or("is_decoder", false)) fields.refuse("is_decoder", "false (a masked LM)");
  if (fields.text_or("position_embedding_type", "absolute") != "absolute") {
    fields.refuse("position_embedding_type", "\"absolute\"");
  }
}

void read_bert_like(const ConfigFields& fields, ModelConfig& config) {
  config.layers = fields.size("num_hidden_layers");
  config.d_model = fields.size("hidden_size");
  config.d_ff = fields.size("intermediate_size");
  config.heads = fields.size("num_attention_heads");
  config.token_types = fields.size_or("type_vocab_size", 2);
  config.norm_epsilon = fields.number_or("layer_norm_eps", 1e-12);
  config.activation = parse_activation(fields, "hidden_act");
}

void read_masked(const ConfigFields& fields, ModelConfig& config) {
  if (config.family == Family::kBert) {
    read_bert_like(fields, config);
    config.pad_token = fields.size_or("pad_token_id", 0, 0);
    config.head_activation = config.activation;
  } else if (config.family == Family::kElectra) {
    read_bert_like(fields, config);
    config.pad_token = fields.size_or("pad_token_id", 0, 0);
    config.embedding_size = fields.size_or("embedding_size", 128);
    config.head_activation = Activation::kGelu;       // fixed in the generator's head
  } else if (config.family != Family::kDistilBert) {  // RoBERTa under one of its names
    read_bert_like(fields, config);
    config.pad_token = fields.size_or("pad_token_id", 1, 0);
    config.first_position = config.pad_token + 1;
    config.head_activation = Activation::kGelu;  // fixed in this family's LM head
  } else {
    config.layers = fields.size("n_layers");
    config.d_model = fields.size("dim");
    config.d_ff = fields.size("hidden_dim");
    config.heads = fields.size("n_heads");
    config.pad_token = fields.size_or("pad_token_id", 0, 0);
    config.token_types = 0;
    config.norm_epsilon = 1e-12;  // fixed in this family
    config.activation = parse_activation(fields, "activation");
    config.head_activation = config.activation;
  }
  refuse_unmasked(fields);
  config.positions = fields.size_or("max_position_embeddings", 512);
  config.tied_decoder = fields.flag_or("tie_word_embeddings", true);
  if (!(config.norm_epsilon > 0 && config.norm_epsilon < 1)) {
    fields.refuse("layer_norm_eps", "a number between 0 and 1");
  }
}

namespace fs = std::filesystem;

/// Names of the entries of a folder that start with `start`, in order; none where it is no folder.
std::vector<std::string> entries(const fs::path& folder, std::string_view start) {
  std::vector<std::string> names;
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(folder, failed)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(start)) names.push_back(name);
  }
  std::ranges::sort(names);
  return names;
}

/// The snapshot of a model of Hugging Face's cache (models--ORGANISATION--NAME): that of its main
/// branch, or the only one; empty if it has none.
fs::path cached_snapshot(const fs::path& model) {
  const fs::path all = model / "snapshots";
  std::error_code failed;
  if (fs::is_regular_file(model / "refs" / "main", failed)) {
    std::string commit = read_file(model / "refs" / "main", 4096);
    while (!commit.empty() && static_cast<unsigned char>(commit.back()) <= 0x20) commit.pop_back();
    if (!commit.empty() && fs::path(commit).filename() == fs::path(commit) &&
        fs::is_directory(all / commit, failed)) {
      return all / commit;
    }
  }
  const std::vector<std::string> names = entries(all, "");
  return names.empty() ? fs::path() : all / names.front();
}

/// What a folder without config.json is, where that can be told.
std::string cache_hint(const fs::path& directory) {
  if (const fs::path snapshot = cached_snapshot(directory); !snapshot.empty()) {
    return ": got a model of Hugging Face's cache, expected its snapshot: " + snapshot.string();
  }
  for (const fs::path& root : {directory, directory / "hub"}) {
    for (const std::string& name : entries(root, "models--")) {
      const fs::path snapshot = cached_snapshot(root / name);
      if (snapshot.empty()) continue;
      return ": got Hugging Face's cache, expected a model's snapshot in it, such as " +
             snapshot.string();
    }
  }
  return "";
}

/// Whether `path` can be a name of the hub: NAME or ORGANISATION/NAME.
bool is_hub_name(const std::string& path) {
  const bool letters = std::ranges::all_of(path, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.' || c == '/';
  });
  return letters && !path.empty() && std::isalnum(static_cast<unsigned char>(path.front())) != 0 &&
         path.back() != '/' && std::ranges::count(path, '/') <= 1;
}

}  // namespace

ModelConfig parse_config(std::string_view text, const std::string& source) {
  const json object = parse_json(text, source);
  if (!object.is_object()) throw InputError(source + ": expected a JSON object");
  const ConfigFields fields(object, source);

  ModelConfig config;
  const std::string type = fields.text_or("model_type", "");
  const FamilyTraits* family = find_family(type);
  if (family == nullptr) fields.refuse("model_type", known_families());
  config.family = family->family;
  if (fields.present("embedding_size") && config.family != Family::kElectra) {
    fields.refuse("embedding_size", "none (embeddings as wide as the model)");
  }
  refuse_unsupported(fields);
  config.vocabulary = fields.size("vocab_size");
  if (family->causal) {
    read_decoder(fields, source, config);
  } else {
    read_masked(fields, config);
  }
  if (config.layers > 1000) fields.refuse(std::string(family->layers_field), "at most 1000");
  if (config.head_size == 0) {
    if (config.d_model % config.heads != 0) {
      throw InputError(source + ": hidden size " + std::to_string(config.d_model) +
                       " is not a multiple of the number of attention heads " +
                       std::to_string(config.heads));
    }
    config.head_size = config.d_model / config.heads;
  }
  if (config.max_tokens() < 1) {
    fields.refuse("max_position_embeddings",
                  "more than the position offset " + std::to_string(config.first_position));
  }
  return config;
}

ModelConfig read_config(const std::filesystem::path& directory) {
  std::error_code failed;
  const std::filesystem::file_status status = std::filesystem::status(directory, failed);
  if (!std::filesystem::is_directory(status)) {
    throw FileError(
        directory.string() + ": " +
        (std::filesystem::exists(status) ? "got no folder" : "cannot open: " + failed.message()) +
        ", expected a Hugging Face model folder with config.json" +
        (!std::filesystem::exists(status) && is_hub_name(directory.string())
             ? "; a name of the Hugging Face hub is not resolved: \"hf download " +
                   directory.string() + " --local-dir DIR\" makes the folder DIR"
             : ""));
  }
  const std::filesystem::path path = directory / "config.json";
  if (std::filesystem::status(path, failed).type() == std::filesystem::file_type::not_found) {
    const std::string hint = cache_hint(directory);
    if (!hint.empty()) throw InputError(directory.string() + hint);
    throw InputError(directory.string() +
                     ": no config.json, expected a Hugging Face model folder with one");
  }
  return parse_config(read_file(path, 16 << 20), path.string());
}

std::string_view activation_name(Activation activation) {
  switch (activation) {
    case Activation::kGelu:
      return "gelu";
    case Activation::kGeluTanh:
      return "gelu_new";
    case Activation::kRelu:
      return "relu";
    case Activation::kSilu:
      return "silu";
  }
  return "?";
}

}  // namespace engram
