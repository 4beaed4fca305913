// What config.json says of decoders: every field that changes the result is read or refused by
// name.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engram/error.h"
#include "engram/model/config.h"

namespace engram {
namespace {

using nlohmann::json;

json plain_config(const std::string& type) {
  if (type == "gpt2") {
    return {{"model_type", "gpt2"}, {"vocab_size", 50}, {"n_embd", 24},
            {"n_head", 2},          {"n_layer", 3},     {"n_positions", 40}};
  }
  return {{"model_type", type},           {"vocab_size", 50},         {"hidden_size", 24},
          {"num_hidden_layers", 3},       {"num_attention_heads", 4}, {"intermediate_size", 36},
          {"max_position_embeddings", 40}};
}

ModelConfig parsed(const std::string& type, const json& patch = json::object()) {
  json config = plain_config(type);
  for (const auto& [key, value] : patch.items()) config[key] = value;
  return parse_config(config.dump(), "here/config.json");
}

std::string refused_config(const std::string& type, const json& patch) {
  try {
    parsed(type, patch);
  } catch (const InputError& error) {
    return error.what();
  }
  return "nothing refused";
}

TEST(DecoderConfig, TakesTheDefaultsOfTransformers) {
  const ModelConfig gpt2 = parsed("gpt2");
  EXPECT_EQ(gpt2.d_ff, 96);
  EXPECT_EQ(gpt2.activation, Activation::kGeluTanh);
  EXPECT_TRUE(gpt2.tied_decoder);
  EXPECT_EQ(gpt2.rotary_size, 0);
  const ModelConfig neox = parsed("gpt_neox", {{"hidden_size", 64}});
  EXPECT_EQ(neox.rotary_size, 4);
  EXPECT_TRUE(neox.parallel_residual);
  EXPECT_TRUE(neox.query_bias);
  EXPECT_FALSE(neox.tied_decoder);
  const ModelConfig llama = parsed("llama");
  EXPECT_EQ(llama.head_size, 6);
  EXPECT_EQ(llama.rotary_size, 6);
  EXPECT_EQ(llama.key_heads, 4);
  EXPECT_DOUBLE_EQ(llama.rotary_base, 10000);
  EXPECT_FALSE(llama.query_bias || llama.attention_out_bias || llama.ffn_bias);
  EXPECT_EQ(llama.max_tokens(), 40);
  EXPECT_TRUE(parsed("qwen2").query_bias);
  EXPECT_FALSE(parsed("qwen2").attention_out_bias);
  const ModelConfig qwen3 = parsed("qwen3");
  EXPECT_EQ(qwen3.head_size, 128);
  EXPECT_TRUE(qwen3.query_key_norm);
  const ModelConfig gemma = parsed("gemma");
  EXPECT_EQ(gemma.head_size, 256);
  EXPECT_DOUBLE_EQ(gemma.embedding_scale, std::sqrt(24.0));
  EXPECT_EQ(parsed("gemma", {{"hidden_act", "gelu"}}).activation, Activation::kGeluTanh);
  EXPECT_TRUE(gemma.tied_decoder);
  for (const char* type : {"gpt2", "gpt_neox", "llama", "mistral", "qwen2", "qwen3", "gemma"}) {
    SCOPED_TRACE(type);
    const ModelConfig config = parsed(
        type, {{"num_key_value_heads", 2}, {"hidden_size", 64}, {"partial_rotary_factor", 1.0}});
    EXPECT_TRUE(config.causal());
    EXPECT_EQ(config.norm, NormPlacement::kPre);
    EXPECT_EQ(config.token_types, 0);
  }
}

TEST(DecoderConfig, ReadsRotaryAnglesUnderOldAndNewNames) {
  const json llama3 = {{"rope_type", "llama3"},
                       {"factor", 8.0},
                       {"low_freq_factor", 1.0},
                       {"high_freq_factor", 4.0},
                       {"original_max_position_embeddings", 20}};
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    const ModelConfig config = parsed("llama", {{name, llama3}, {"rope_theta", 500000.0}});
    EXPECT_EQ(config.rotary_scaling.kind, RotaryScaling::Kind::kLlama3);
    EXPECT_DOUBLE_EQ(config.rotary_scaling.factor, 8);
    EXPECT_DOUBLE_EQ(config.rotary_scaling.original_positions, 20);
    EXPECT_DOUBLE_EQ(config.rotary_base, 500000);
  }
  const ModelConfig old =
      parsed("llama", {{"rope_scaling", {{"type", "linear"}, {"factor", 2.0}}}});
  EXPECT_EQ(old.rotary_scaling.kind, RotaryScaling::Kind::kLinear);
  EXPECT_DOUBLE_EQ(parsed("gpt_neox", {{"rotary_emb_base", 500}, {"rotary_pct", 1.0}}).rotary_base,
                   500);
  EXPECT_EQ(parsed("llama", {{"rope_scaling", nullptr}}).rotary_scaling.kind,
            RotaryScaling::Kind::kNone);
}

TEST(DecoderConfig, AWindowBoundsThePrompt) {
  EXPECT_EQ(parsed("mistral", {{"sliding_window", 16}, {"num_key_value_heads", 2}}).max_tokens(),
            16);
  EXPECT_EQ(parsed("mistral", {{"sliding_window", nullptr}, {"num_key_value_heads", 2}}).window, 0);
  EXPECT_EQ(parsed("mistral", {{"num_key_value_heads", 2}}).window, 4096);
  const json window = {{"use_sliding_window", true}, {"sliding_window", 16}};
  json some = window;
  some["max_window_layers"] = 2;
  EXPECT_EQ(parsed("qwen2", some).max_tokens(), 16);
  EXPECT_EQ(parsed("qwen2", window).max_tokens(), 40) << "the first 28 layers have none";
  EXPECT_EQ(parsed("qwen2", {{"sliding_window", 16}}).max_tokens(), 40) << "not in use";
  json named = window;
  named["layer_types"] = {"full_attention", "sliding_attention", "full_attention"};
  EXPECT_EQ(parsed("qwen3", named).max_tokens(), 16);
}

TEST(DecoderConfig, RefusesByNameWhatItWouldNotCompute) {
  const auto rope = [](const char* type) {
    return json{{"rope_scaling", {{"rope_type", type}, {"factor", 2.0}}}};
  };
  struct Case {
    std::string type;
    json patch;
    std::vector<std::string> parts;
  };
  const std::vector<Case> cases = {
      {"llama", rope("dynamic"), {"rope_scaling", "rope_type", "\"dynamic\"", "linear or llama3"}},
      {"llama", rope("yarn"), {"\"yarn\""}},
      {"qwen2", rope("longrope"), {"\"longrope\""}},
      {"llama", rope("llama3"), {"low_freq_factor", "got nothing"}},
      {"llama", {{"rope_scaling", {{"type", "linear"}}}}, {"factor", "got nothing"}},
      {"llama", {{"rope_scaling", {{"type", "linear"}, {"factor", -1}}}}, {"factor", "got -1"}},
      {"llama", {{"rope_scaling", "linear"}}, {"rope_scaling", "an object"}},
      {"llama",
       {{"rope_parameters", {{"full_attention", {{"rope_type", "default"}}}}}},
       {"rope_parameters", "all layers"}},
      {"llama", {{"rope_theta", 0}}, {"rope_theta", "above 0"}},
      {"llama", {{"partial_rotary_factor", 0.5}}, {"partial_rotary_factor", "got 0.5"}},
      {"llama", {{"head_dim", 7}}, {"turn 7 of the 7", "even"}},
      {"gpt_neox", {{"rotary_pct", 0.1}}, {"turn 0 of the 6"}},
      {"llama", {{"num_key_value_heads", 3}}, {"num_key_value_heads", "divisor of the 4"}},
      {"llama", {{"num_attention_heads", 5}}, {"num_attention_heads", "divisor"}},
      {"llama", {{"hidden_act", "relu2"}}, {"hidden_act", "relu2"}},
      {"llama", {{"num_local_experts", 8}}, {"num_local_experts", "got 8"}},
      {"qwen3", {{"num_experts", 128}}, {"num_experts"}},
      {"gemma", {{"final_logit_softcapping", 30.0}}, {"final_logit_softcapping", "got 30.0"}},
      {"gemma", {{"attn_logit_softcapping", 50.0}}, {"attn_logit_softcapping"}},
      {"gemma", {{"use_bidirectional_attention", true}}, {"use_bidirectional_attention"}},
      {"gemma", {{"hidden_activation", "silu"}}, {"hidden_activation"}},
      {"qwen2", {{"layer_types", {"linear_attention"}}}, {"layer_types", "full_attention"}},
      {"llama", {{"quantization_config", {{"bits", 4}}}}, {"quantization_config", "F32"}},
      {"llama", {{"rms_norm_eps", 0}}, {"rms_norm_eps"}},
      {"gpt2", {{"scale_attn_weights", false}}, {"scale_attn_weights"}},
      {"gpt2", {{"scale_attn_by_inverse_layer_idx", true}}, {"scale_attn_by_inverse_layer_idx"}},
      {"gpt2", {{"add_cross_attention", true}}, {"add_cross_attention"}},
      {"gpt2", {{"n_layer", 0}}, {"n_layer", "got 0"}},
      {"gpt2", {{"n_layer", 2000}}, {"n_layer", "at most 1000"}},
      {"gpt2", {{"n_head", 5}}, {"24", "5"}},
      {"gemma2", {}, {"model_type", "gemma2", "\"gemma\""}},
      {"mixtral", {}, {"model_type", "mixtral"}},
  };
  for (const Case& one : cases) {
    const std::string message = refused_config(one.type, one.patch);
    EXPECT_NE(message.find("here/config.json"), std::string::npos) << message;
    for (const std::string& part : one.parts) {
      EXPECT_NE(message.find(part), std::string::npos) << part << " in: " << message;
    }
  }
}

}  // namespace
}  // namespace engram
