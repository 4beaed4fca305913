#pragma once

// The tokenizer classes of causal models, as transformers 5 makes them.

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace engram {

/// How a class makes its tokenizer out of a vocabulary with merges. The rest of tokenizer.json does
/// not count, but for the tokens at the ends of a text.
struct DecoderClass {
  std::string_view name;  ///< without "Fast"
  bool byte_level;
  std::string_view word_mark;  ///< see Tokenizer::word_mark()
  /// Whether the tokens at the ends are tokenizer.json's, where there is one.
  bool file_ends;
  std::string_view begin, end, unknown, pad, mask;  ///< its special tokens; "" for none
};

/// The class of this name; null if it is none of these.
const DecoderClass* find_decoder_class(std::string_view name);

/// The class that transformers takes for a model of type `model` whose files name `named` ("" for
/// none), where it does not follow the files; "" where it does. `byte_level`: tokenizer.json splits
/// into bytes.
std::string_view class_instead(std::string_view model, std::string_view named, bool byte_level);

/// What a folder's settings say about such a tokenizer.
struct DecoderSettings {
  std::optional<bool> prefix_space;
  bool legacy = false;  ///< Llama: a space in front of every stretch between special tokens
};

/// The pipeline of `which` without added tokens and without the tokens at the ends.
nlohmann::json decoder_pipeline(const DecoderClass& which, nlohmann::json vocabulary,
                                nlohmann::json merges, const std::string& unknown,
                                const DecoderSettings& settings);

/// The tokens at the ends as a post-processor; "" for none.
nlohmann::json template_ends(const std::string& begin, const nlohmann::json& begin_id,
                             const std::string& end, const nlohmann::json& end_id);

}  // namespace engram
