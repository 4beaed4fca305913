#pragma once

// The pieces that a tokenizer.json is made of, and the older files.

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace engram {

/// A token that stands outside of the vocabulary's rules.
struct AddedToken {
  std::string content;
  bool single_word = false;
  bool lstrip = false;
  bool rstrip = false;
  bool normalized = false;
  bool special = false;
};

/// A token as the files write it: its text, or an object with "content". Nothing for other JSON.
std::optional<AddedToken> added_token(const nlohmann::json& value);

nlohmann::json token_json(const AddedToken& token);

/// `text` in quotes for a message: one line of ASCII, cut where it is long.
std::string quoted_json(const std::string& text);

/// The part of this type in a normalizer, pre-tokenizer or decoder, which may be a Sequence; null
/// if there is none.
nlohmann::json find_part(const nlohmann::json& part, const std::string& type);

/// vocab.txt: one token per line, the line its id.
nlohmann::json vocabulary_lines(const std::filesystem::path& path);
/// merges.txt as a list of pairs. Throws InputError with the line.
nlohmann::json merge_lines(const std::filesystem::path& path);

// Pipelines without added tokens and without the tokens at the ends of a text.
nlohmann::json wordpiece_pipeline(nlohmann::json vocabulary, const std::string& unknown);
nlohmann::json byte_level_pipeline(nlohmann::json vocabulary, nlohmann::json merges,
                                   const nlohmann::json& prefix_space);
/// `charsmap` is a Precompiled normalizer or null.
nlohmann::json unigram_pipeline(nlohmann::json vocabulary, bool prefix_space,
                                const nlohmann::json& charsmap);

}  // namespace engram
