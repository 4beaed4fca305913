#include "text/tokenizer_decoders.h"

#include <algorithm>
#include <array>
#include <utility>

#include "engram/error.h"
#include "text/tokenizer_parts.h"

namespace engram {
namespace {

using nlohmann::json;

constexpr std::string_view kEndOfText = "<|endoftext|>";
constexpr std::string_view kByteMark = "\u0120";
constexpr std::string_view kSpaceMark = "\u2581";

constexpr std::array<DecoderClass, 5> kDecoderClasses{{
    {"GPT2Tokenizer", true, kByteMark, true, kEndOfText, kEndOfText, kEndOfText, "", ""},
    {"GPTNeoXTokenizer", true, kByteMark, false, kEndOfText, kEndOfText, kEndOfText, "<|padding|>",
     ""},
    {"Qwen2Tokenizer", true, kByteMark, true, "", kEndOfText, kEndOfText, kEndOfText, ""},
    {"GemmaTokenizer", false, kSpaceMark, true, "<bos>", "<eos>", "<unk>", "<pad>", "<mask>"},
    {"LlamaTokenizer", false, kSpaceMark, true, "<s>", "</s>", "<unk>", "", ""},
}};

/// How Qwen2Tokenizer cuts a text before its bytes are merged: contractions, words with one sign
/// before them, single digits, signs, line ends, spaces.
constexpr const char* kQwenWords =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";

json byte_level_part(bool prefix_space, bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", prefix_space},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

json replace_part(std::string_view from, std::string_view to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

/// BPE over characters, with bytes for those that the vocabulary lacks.
json byte_fallback_model(json vocabulary, json merges, const json& unknown) {
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", unknown},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", true},
          {"byte_fallback", true},
          {"vocab", std::move(vocabulary)},
          {"merges", std::move(merges)}};
}

json byte_fallback_decoder(bool strips) {
  json parts = {replace_part(kSpaceMark, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}};
  if (strips) parts.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  return {{"type", "Sequence"}, {"decoders", parts}};
}

json llama_pipeline(json vocabulary, json merges, const DecoderSettings& settings) {
  const bool space = settings.prefix_space.value_or(true);
  const char* scheme = !space ? "never" : settings.legacy ? "always" : "first";
  return {{"version", "1.0"},
          {"normalizer", nullptr},
          {"pre_tokenizer",
           {{"type", "Metaspace"},
            {"replacement", kSpaceMark},
            {"prepend_scheme", scheme},
            {"split", false}}},
          {"decoder", byte_fallback_decoder(space)},
          {"model", byte_fallback_model(std::move(vocabulary), std::move(merges), nullptr)}};
}

json gemma_pipeline(json vocabulary, json merges, const std::string& unknown) {
  return {{"version", "1.0"},
          {"normalizer", replace_part(" ", kSpaceMark)},
          {"pre_tokenizer",
           {{"type", "Split"},
            {"pattern", {{"String", " "}}},
            {"behavior", "MergedWithPrevious"},
            {"invert", false}}},
          {"decoder", byte_fallback_decoder(false)},
          {"model", byte_fallback_model(std::move(vocabulary), std::move(merges), unknown)}};
}

}  // namespace

const DecoderClass* find_decoder_class(std::string_view name) {
  const auto* found = std::ranges::find(kDecoderClasses, name, &DecoderClass::name);
  return found == kDecoderClasses.end() ? nullptr : found;
}

std::string_view class_instead(std::string_view model, std::string_view named, bool byte_level) {
  // Published Qwen2 folders name whatever they were converted from.
  if (model == "qwen2") return "Qwen2Tokenizer";
  if (model == "mistral") return "TokenizersBackend";
  // Llama 3's folders may name the class of Llama 2, whose words are other ones.
  if (named.starts_with("LlamaTokenizer") && byte_level) return "TokenizersBackend";
  if (!named.empty()) return "";
  if (model == "gpt2") return "GPT2Tokenizer";
  if (model == "gpt_neox") return "GPTNeoXTokenizer";
  if (model == "qwen3") return "Qwen2Tokenizer";
  if (model == "gemma") return "GemmaTokenizer";
  if (model == "llama") return "TokenizersBackend";
  return "";
}

json decoder_pipeline(const DecoderClass& which, json vocabulary, json merges,
                      const std::string& unknown, const DecoderSettings& settings) {
  if (which.name == "LlamaTokenizer") {
    return llama_pipeline(std::move(vocabulary), std::move(merges), settings);
  }
  if (which.name == "GemmaTokenizer") {
    return gemma_pipeline(std::move(vocabulary), std::move(merges), unknown);
  }
  const bool space = settings.prefix_space.value_or(false);
  json pipeline = byte_level_pipeline(std::move(vocabulary), std::move(merges), space);
  if (which.name == "GPT2Tokenizer") return pipeline;
  pipeline["normalizer"] = {{"type", "NFC"}};
  if (which.name == "Qwen2Tokenizer") {
    pipeline["pre_tokenizer"] = {{"type", "Sequence"},
                                 {"pretokenizers",
                                  {{{"type", "Split"},
                                    {"pattern", {{"Regex", kQwenWords}}},
                                    {"behavior", "Isolated"},
                                    {"invert", false}},
                                   byte_level_part(space, false)}}};
  }
  return pipeline;
}

json template_ends(const std::string& begin, const json& begin_id, const std::string& end,
                   const json& end_id) {
  if (begin.empty() && end.empty()) return nullptr;
  json single = json::array();
  json special = json::object();
  const auto put = [&](const std::string& token, const json& id) {
    if (token.empty()) return;
    single.push_back({{"SpecialToken", {{"id", token}, {"type_id", 0}}}});
    special[token] = {{"id", token}, {"ids", {id}}, {"tokens", {token}}};
  };
  put(begin, begin_id);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  put(end, end_id);
  json pair = single;
  pair.push_back({{"Sequence", {{"id", "B"}, {"type_id", 1}}}});
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", pair},
          {"special_tokens", special}};
}

}  // namespace engram
