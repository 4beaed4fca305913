#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace engram {

/// The families whose checkpoints can be read. Each has a tensor table in src/model/<family>.cc.
/// XLM-RoBERTa and CamemBERT are RoBERTa's model under names of their own; Mistral, Qwen2, Qwen3
/// and Gemma share Llama's table.
enum class Family {
  kBert,
  kRoberta,
  kXlmRoberta,
  kCamembert,
  kDistilBert,
  kElectra,
  kGpt2,
  kGptNeoX,
  kLlama,
  kMistral,
  kQwen2,
  kQwen3,
  kGemma
};

/// Where layer norm stands: after the residual sum (BERT) or before each sublayer (GPT-2, Llama).
enum class NormPlacement { kPost, kPre };

/// What a norm divides by: the spread around the mean (and subtracts the mean), or the root mean
/// square.
enum class NormKind { kLayer, kRms };

/// What a token may look at.
enum class AttentionKind { kBidirectional, kCausal };

/// The FFN's non-linearity, by the exact formula that the checkpoint names.
enum class Activation { kGelu, kGeluTanh, kRelu, kSilu };

/// How the angles of rotary positions are stretched beyond the length of pretraining.
struct RotaryScaling {
  enum class Kind {
    kNone,
    kLinear,  ///< all angles divided by `factor` (Chen et al. 2023, "position interpolation")
    kLlama3   ///< long waves only (Llama 3.1, Grattafiori et al. 2024), smoothly in between
  };
  Kind kind = Kind::kNone;
  double factor = 1;
  double low_frequency = 1;   ///< waves longer than original_positions / this are divided
  double high_frequency = 4;  ///< shorter than original_positions / this stay
  double original_positions = 0;
};

/// Everything of config.json that changes the result. Sizes are counts, not bytes.
struct ModelConfig {
  Family family = Family::kBert;
  NormPlacement norm = NormPlacement::kPost;
  NormKind norm_kind = NormKind::kLayer;
  AttentionKind attention = AttentionKind::kBidirectional;
  bool gated_ffn = false;  ///< activation(gate) * up instead of activation(up)
  bool parallel_residual =
      false;  ///< pre-norm: the FFN reads the layer's input, not attention's sum
  int64_t layers = 0;
  int64_t d_model = 0;  ///< width of the residual stream
  int64_t d_ff = 0;     ///< neurons per layer
  int64_t heads = 0;
  int64_t head_size = 0;    ///< of queries, keys and values
  int64_t key_heads = 0;    ///< heads of keys and values, a divisor of heads; 0: as many as heads
  int64_t rotary_size = 0;  ///< coordinates of a head that are rotated by position; 0: none
  double rotary_base = 10000;
  RotaryScaling rotary_scaling;
  bool query_key_norm = false;  ///< each head of queries and keys has a norm before it is rotated
  double embedding_scale = 1;   ///< token embeddings are multiplied by it (Gemma)
  int64_t embedding_size =
      0;  ///< width of the embeddings and of the LM head's transform; 0: d_model
  int64_t vocabulary = 0;
  int64_t positions = 0;       ///< rows of the position table, or of rotary angles
  int64_t first_position = 0;  ///< row of the first token (RoBERTa: pad id + 1)
  /// A query sees so many keys at most, itself included; 0: all. Prompts are held below it.
  int64_t window = 0;
  int64_t token_types = 0;  ///< 0 where the family has none
  double norm_epsilon = 1e-12;
  Activation activation = Activation::kGelu;       ///< of the FFN neurons
  Activation head_activation = Activation::kGelu;  ///< of the LM head's transform
  bool tied_decoder = true;  ///< the decoder matrix is the token-embedding matrix
  // Which biases a decoder's layers have; masked families have all.
  bool query_bias = true;          ///< of queries, keys and values
  bool attention_out_bias = true;  ///< of attention's output
  bool ffn_bias = true;            ///< of the FFN's matrices
  int64_t pad_token = 0;

  /// The longest prompt in tokens, special tokens included. Within it no window hides a token.
  [[nodiscard]] int64_t max_tokens() const {
    const int64_t places = positions - first_position;
    return window > 0 && window < places ? window : places;
  }
  /// Whether the model predicts the next token; otherwise it fills masks.
  [[nodiscard]] bool causal() const { return attention == AttentionKind::kCausal; }
  [[nodiscard]] int64_t neurons() const { return layers * d_ff; }
  [[nodiscard]] int64_t query_width() const { return heads * head_size; }
  [[nodiscard]] int64_t key_head_count() const { return key_heads > 0 ? key_heads : heads; }
  [[nodiscard]] int64_t key_width() const { return key_head_count() * head_size; }
  [[nodiscard]] int64_t embedding_width() const {
    return embedding_size > 0 ? embedding_size : d_model;
  }
};

/// Reads DIR/config.json. Throws FileError when it cannot be read, InputError when it is malformed,
/// names an unknown architecture, or has a field that would change the result and is not supported
/// (the message names the field, its value, and what is supported).
ModelConfig read_config(const std::filesystem::path& directory);

/// The same from the text of a config.json; `source` is named in messages.
ModelConfig parse_config(std::string_view json, const std::string& source);

std::string_view family_name(Family family);
std::string_view activation_name(Activation activation);

}  // namespace engram
