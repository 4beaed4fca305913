// What config.json says of a decoder, as transformers 5 reads it: the defaults of its classes where
// a field is not there, and rotary angles under their old and new names.
#include <array>
#include <cmath>
#include <string>
#include <string_view>

#include "model/config_fields.h"

namespace engram {
namespace {

using nlohmann::json;

/// Fields of other architectures that a checkpoint of this name might carry, each of which says
/// that its layers compute something else.
constexpr std::array<const char*, 12> kForeign{
    "attn_logit_softcapping", "final_logit_softcapping", "num_experts",    "num_local_experts",
    "n_routed_experts",       "attention_multiplier",    "logits_scaling", "logit_scale",
    "residual_multiplier",    "embedding_multiplier",    "no_rope_layers", "alibi"};

void refuse_foreign(const ConfigFields& fields) {
  for (const char* field : kForeign) {
    if (fields.present(field) && fields.at(field) != json(false) && fields.at(field) != json(0)) {
      fields.refuse(field, "none: this family is read without it");
    }
  }
}

double positive(const ConfigFields& fields, const std::string& field, double fallback) {
  const double value = fields.number_or(field, fallback);
  if (!(value > 0)) fields.refuse(field, "a number above 0");
  return value;
}

void read_epsilon(const ConfigFields& fields, const std::string& field, double fallback,
                  ModelConfig& config) {
  config.norm_epsilon = fields.number_or(field, fallback);
  if (!(config.norm_epsilon > 0 && config.norm_epsilon < 1)) {
    fields.refuse(field, "a number between 0 and 1");
  }
}

/// The object that describes rotary positions, by its newer or older name; an empty one if none is
/// there.
std::string rotary_object(const ConfigFields& fields) {
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    if (!fields.present(name)) continue;
    if (!fields.at(name).is_object()) fields.refuse(name, "an object");
    if (fields.at(name).empty()) continue;
    for (const auto& [key, value] : fields.at(name).items()) {
      if (value.is_object()) fields.refuse(name, "one set of rotary angles for all layers");
    }
    return name;
  }
  return "";
}

void read_scaling(const ConfigFields& rope, ModelConfig& config) {
  const std::string key = rope.present("rope_type") ? "rope_type" : "type";
  const std::string type = rope.text_or(key, "default");
  RotaryScaling& scaling = config.rotary_scaling;
  if (type == "default") return;
  if (type != "linear" && type != "llama3") {
    rope.refuse(key, "default, linear or llama3: other scalings are not computed");
  }
  scaling.kind = type == "linear" ? RotaryScaling::Kind::kLinear : RotaryScaling::Kind::kLlama3;
  const auto given = [&](const char* field) {
    if (!rope.present(field)) rope.refuse(field, "a number above 0");
    return positive(rope, field, 0);
  };
  scaling.factor = given("factor");
  if (type == "linear") return;
  scaling.low_frequency = given("low_freq_factor");
  scaling.high_frequency = given("high_freq_factor");
  if (scaling.high_frequency <= scaling.low_frequency) {
    rope.refuse("high_freq_factor", "more than low_freq_factor");
  }
  scaling.original_positions =
      positive(rope, "original_max_position_embeddings", static_cast<double>(config.positions));
}

/// Rotary positions of heads of config.head_size; `base` and `share` are what the family calls the
/// base and the share of a head that is rotated, outside of the object.
void read_rotary(const ConfigFields& fields, const std::string& source, const char* base,
                 const char* share, double usual_share, ModelConfig& config) {
  static const json kNothing = json::object();
  const std::string name = rotary_object(fields);
  const std::string where = source + (name.empty() ? "" : ": " + name);
  const ConfigFields rope(name.empty() ? kNothing : fields.at(name), where);
  config.rotary_base =
      rope.present("rope_theta") ? positive(rope, "rope_theta", 0) : positive(fields, base, 10000);
  const double rotated = rope.present("partial_rotary_factor")
                             ? positive(rope, "partial_rotary_factor", 1)
                             : positive(fields, share, usual_share);
  if (usual_share == 1 && rotated != 1) {
    (rope.present("partial_rotary_factor") ? rope : fields).refuse(share, "1: whole heads");
  }
  config.rotary_size = static_cast<int64_t>(static_cast<double>(config.head_size) * rotated);
  if (config.rotary_size < 2 || config.rotary_size % 2 != 0 ||
      config.rotary_size > config.head_size) {
    throw InputError(source + ": rotary positions turn " + std::to_string(config.rotary_size) +
                     " of the " + std::to_string(config.head_size) +
                     " coordinates of a head, expected an even number of at least 2");
  }
  read_scaling(rope, config);
}

void read_gpt2(const ConfigFields& fields, ModelConfig& config) {
  const auto size = [&](const char* own, const char* general) {
    return fields.size(fields.present(own) || !fields.present(general) ? own : general);
  };
  config.layers = size("n_layer", "num_hidden_layers");
  config.d_model = size("n_embd", "hidden_size");
  config.heads = size("n_head", "num_attention_heads");
  config.positions = size("n_positions", "max_position_embeddings");
  config.d_ff = fields.size_or("n_inner", 4 * config.d_model);
  config.activation = parse_activation(fields, "activation_function", "gelu_new");
  read_epsilon(fields, "layer_norm_epsilon", 1e-5, config);
  if (!fields.flag_or("scale_attn_weights", true)) fields.refuse("scale_attn_weights", "true");
  if (fields.flag_or("scale_attn_by_inverse_layer_idx", false)) {
    fields.refuse("scale_attn_by_inverse_layer_idx", "false");
  }
}

/// The sizes that all others call alike.
void read_sizes(const ConfigFields& fields, ModelConfig& config) {
  config.layers = fields.size("num_hidden_layers");
  config.d_model = fields.size("hidden_size");
  config.d_ff = fields.size("intermediate_size");
  config.heads = fields.size("num_attention_heads");
}

/// Heads as wide as a share of the model, where nothing else is said.
void share_heads(const ConfigFields& fields, ModelConfig& config) {
  if (config.d_model % config.heads != 0) {
    fields.refuse("num_attention_heads",
                  "a divisor of the hidden size " + std::to_string(config.d_model));
  }
  config.head_size = config.d_model / config.heads;
}

void read_gpt_neox(const ConfigFields& fields, const std::string& source, ModelConfig& config) {
  read_sizes(fields, config);
  share_heads(fields, config);
  config.positions = fields.size_or("max_position_embeddings", 2048);
  config.activation = parse_activation(fields, "hidden_act");
  read_epsilon(fields, "layer_norm_eps", 1e-5, config);
  config.parallel_residual = fields.flag_or("use_parallel_residual", true);
  config.query_bias = config.attention_out_bias = fields.flag_or("attention_bias", true);
  read_rotary(fields, source, "rotary_emb_base", "rotary_pct", 0.25, config);
}

/// Whether Qwen's layers look back through a window: those from max_window_layers on, or those that
/// a list names.
bool has_window_layers(const ConfigFields& fields, const ModelConfig& config) {
  if (!fields.flag_or("use_sliding_window", false)) return false;
  if (!fields.present("layer_types")) {
    return fields.size_or("max_window_layers", 28, 0) < config.layers;
  }
  const json& types = fields.at("layer_types");
  if (!types.is_array()) fields.refuse("layer_types", "a list");
  for (const json& type : types) {
    if (type == json("sliding_attention")) return true;
  }
  return false;
}

void check_layer_types(const ConfigFields& fields) {
  if (!fields.present("layer_types")) return;
  if (!fields.at("layer_types").is_array()) fields.refuse("layer_types", "a list");
  for (const json& type : fields.at("layer_types")) {
    if (type != json("full_attention") && type != json("sliding_attention")) {
      fields.refuse("layer_types", "full_attention and sliding_attention only");
    }
  }
}

void read_window(const ConfigFields& fields, ModelConfig& config) {
  const bool qwen = config.family == Family::kQwen2 || config.family == Family::kQwen3;
  if (config.family == Family::kMistral) {
    // Mistral's class has a window where the file says nothing; null is none.
    if (!fields.has("sliding_window")) {
      config.window = 4096;
    } else {
      config.window = fields.size_or("sliding_window", 0);
    }
  } else if (qwen && has_window_layers(fields, config)) {
    config.window = fields.has("sliding_window") ? fields.size_or("sliding_window", 0) : 4096;
  }
}

void read_llama_like(const ConfigFields& fields, const std::string& source, ModelConfig& config) {
  const Family family = config.family;
  const bool gemma = family == Family::kGemma;
  read_sizes(fields, config);
  const int64_t usual_head = gemma ? 256 : family == Family::kQwen3 ? 128 : 0;
  config.head_size = fields.size_or("head_dim", usual_head);
  if (config.head_size == 0) share_heads(fields, config);
  const int64_t usual_keys =
      family == Family::kMistral && !fields.has("num_key_value_heads") ? 8 : config.heads;
  config.key_heads = fields.size_or("num_key_value_heads", usual_keys);
  if (config.heads % config.key_heads != 0) {
    fields.refuse("num_key_value_heads",
                  "a divisor of the " + std::to_string(config.heads) + " attention heads");
  }
  const int64_t usual_positions = family == Family::kMistral ? 131072
                                  : family == Family::kLlama ? 2048
                                  : gemma                    ? 8192
                                                             : 32768;
  config.positions = fields.size_or("max_position_embeddings", usual_positions);
  config.norm_kind = NormKind::kRms;
  config.gated_ffn = true;
  read_epsilon(fields, "rms_norm_eps", 1e-6, config);
  config.activation = parse_activation(fields, "hidden_act", gemma ? "gelu_pytorch_tanh" : "silu");
  config.query_key_norm = family == Family::kQwen3;
  const bool chosen = family == Family::kLlama || family == Family::kQwen3 || gemma;
  config.attention_out_bias = chosen && fields.flag_or("attention_bias", false);
  config.query_bias = family == Family::kQwen2 || config.attention_out_bias;
  config.ffn_bias = family == Family::kLlama && fields.flag_or("mlp_bias", false);
  read_rotary(fields, source, "rope_theta", "partial_rotary_factor", 1, config);
  check_layer_types(fields);
  read_window(fields, config);
  if (!gemma) return;
  // "gelu" in Gemma's files means the tanh formula, which they call so since.
  if (fields.text_or("hidden_act", "") == "gelu") config.activation = Activation::kGeluTanh;
  if (fields.present("hidden_activation") &&
      parse_activation(fields, "hidden_activation") != config.activation) {
    fields.refuse("hidden_activation", "the formula of hidden_act");
  }
  if (fields.flag_or("use_bidirectional_attention", false)) {
    fields.refuse("use_bidirectional_attention", "false");
  }
  config.embedding_scale = std::sqrt(static_cast<double>(config.d_model));
}

}  // namespace

void read_decoder(const ConfigFields& fields, const std::string& source, ModelConfig& config) {
  refuse_foreign(fields);
  config.norm = NormPlacement::kPre;
  config.attention = AttentionKind::kCausal;
  config.token_types = 0;
  if (config.family == Family::kGpt2) {
    read_gpt2(fields, config);
  } else if (config.family == Family::kGptNeoX) {
    read_gpt_neox(fields, source, config);
  } else {
    read_llama_like(fields, source, config);
  }
  config.head_activation = config.activation;
  const bool tied = config.family == Family::kGpt2 || config.family == Family::kGemma;
  config.tied_decoder = fields.flag_or("tie_word_embeddings", tied);
}

}  // namespace engram
