#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace engram {

/// Token ids of a text, special tokens included where asked for.
struct Encoding {
  std::vector<int64_t> ids;
  std::vector<std::string> tokens;  ///< as the vocabulary writes them (## and byte-level marks too)
};

/// A Hugging Face tokenizer: tokenizer.json, or vocab.txt (WordPiece), or vocab.json + merges.txt
/// (byte-level BPE), run by the `tokenizers` crate. Immutable; one object serves many threads.
class Tokenizer {
 public:
  /// Reads a model folder; tokenizer.json wins over the older files; tokenizer_config.json's
  /// do_lower_case and friends are honoured for the older ones. Throws FileError, InputError.
  static Tokenizer load(const std::filesystem::path& directory);
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  /// Encodes one text, without truncation and padding.
  [[nodiscard]] Encoding encode(std::string_view text, bool add_special_tokens = true) const;
  [[nodiscard]] std::string decode(const std::vector<int64_t>& ids, bool skip_special) const;

  [[nodiscard]] int64_t vocabulary() const;  ///< the largest id + 1, added tokens included
  [[nodiscard]] std::optional<int64_t> id_of(std::string_view token) const;
  [[nodiscard]] bool has_token(int64_t id) const;  ///< ids may have gaps
  /// As the vocabulary writes it. Throws InputError for an id without a token.
  [[nodiscard]] std::string token_of(int64_t id) const;

  [[nodiscard]] int64_t mask_id() const;  ///< throws InputError if there is none
  [[nodiscard]] std::string mask_token() const;
  [[nodiscard]] std::optional<int64_t> unknown_id() const;
  [[nodiscard]] bool is_special(int64_t id) const;
  /// True for byte-level BPE, where a word in a sentence starts with the space before it.
  [[nodiscard]] bool byte_level() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace engram
