#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace engram {

/// One thing that a folder's files decide about its tokenizer.
struct TokenizerSetting {
  std::string name;     ///< "class", "lower case", ...
  std::string value;    ///< what is in force
  std::string source;   ///< the file that says so, or the default that stands in for it
  std::string instead;  ///< what another file says and is not in force; "" if none does
};

/// The bytes of a text that a token stands for: [begin, end). Both 0 of a token that was added.
struct TokenSpan {
  size_t begin = 0;
  size_t end = 0;
};

/// A Hugging Face tokenizer, run by the `tokenizers` crate: WordPiece (tokenizer.json or
/// vocab.txt), byte-level BPE (tokenizer.json or vocab.json + merges.txt), BPE over characters with
/// bytes for unknown ones, or Unigram (tokenizer.json). Immutable; one object serves many threads.
class Tokenizer {
 public:
  /// Reads a model folder as transformers' AutoTokenizer does. The class comes from
  /// tokenizer_config.json, config.json or the model type; all but PreTrainedTokenizerFast take
  /// only the vocabulary from tokenizer.json, and case, accents, special tokens and the tokens at
  /// the ends from tokenizer_config.json and their own defaults. Throws FileError; InputError, also
  /// for a class that is not read.
  static Tokenizer load(const std::filesystem::path& directory);
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  /// Token ids of one text, without truncation and padding; special tokens at the ends where they
  /// are asked for. Throws InputError for a text that is not UTF-8.
  [[nodiscard]] std::vector<int64_t> encode(std::string_view text,
                                            bool add_special_tokens = true) const;
  /// Where each token of encode(text) stands in `text`. Throws as encode().
  [[nodiscard]] std::vector<TokenSpan> spans(std::string_view text) const;
  [[nodiscard]] std::string decode(const std::vector<int64_t>& ids, bool skip_special) const;

  [[nodiscard]] int64_t vocabulary() const;  ///< the largest id + 1, added tokens included
  [[nodiscard]] std::optional<int64_t> id_of(std::string_view token) const;
  [[nodiscard]] bool has_token(int64_t id) const;  ///< ids may have gaps
  /// As the vocabulary writes it (## and byte-level marks too). Throws InputError for an id without
  /// a token.
  [[nodiscard]] std::string token_of(int64_t id) const;
  [[nodiscard]] std::vector<std::string> tokens_of(const std::vector<int64_t>& ids) const;

  [[nodiscard]] bool has_mask() const;
  [[nodiscard]] int64_t mask_id() const;  ///< throws InputError if there is none
  [[nodiscard]] std::string mask_token() const;
  [[nodiscard]] std::optional<int64_t> unknown_id() const;
  [[nodiscard]] bool is_special(int64_t id) const;
  /// True for byte-level BPE, where a word in a sentence starts with the space before it.
  [[nodiscard]] bool byte_level() const;
  /// What this vocabulary writes before a piece that starts a word ("\u0120", "\u2581") or goes on
  /// with one ("##"); "" if it marks neither.
  [[nodiscard]] const std::string& word_mark() const;
  /// Whether the mask token swallows the space before it, so that the space is the answer's.
  [[nodiscard]] bool mask_takes_space() const;
  /// What was decided while the folder was read, and by which file.
  [[nodiscard]] const std::vector<TokenizerSetting>& settings() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace engram
