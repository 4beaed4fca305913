#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace engram::pretrain {

/// Token sequences of one kind, without special tokens. A token is an *answer* when it is the
/// object of the fact that the sequence states.
class Sequences {
 public:
  [[nodiscard]] size_t size() const { return ends_.size(); }
  [[nodiscard]] std::span<const uint16_t> tokens(size_t i) const {
    return {tokens_.data() + begin(i), tokens_.data() + ends_[i]};
  }
  /// 1 where the token is an answer.
  [[nodiscard]] std::span<const uint8_t> answers(size_t i) const {
    return {answers_.data() + begin(i), answers_.data() + ends_[i]};
  }
  [[nodiscard]] size_t total_tokens() const { return tokens_.size(); }
  /// Number of the fact that sequence `i` belongs to; general text has none.
  [[nodiscard]] uint32_t fact(size_t i) const { return facts_[i]; }

  void add(std::span<const uint16_t> tokens, std::span<const uint8_t> answers, uint32_t fact);

  void append_to(std::string& bytes) const;
  /// Reads what append_to wrote and moves `bytes` on. Throws InputError.
  static Sequences read_from(std::string_view& bytes);

 private:
  [[nodiscard]] size_t begin(size_t i) const { return i == 0 ? 0 : ends_[i - 1]; }
  std::vector<uint16_t> tokens_;
  std::vector<uint8_t> answers_;
  std::vector<uint64_t> ends_;
  std::vector<uint32_t> facts_;
};

/// All that a training reads, already in token ids.
struct Dataset {
  static constexpr int64_t kNoFact = 0xFFFFFFFF;
  int64_t vocabulary = 0;
  int64_t facts = 0;
  int64_t pad = 0, unknown = 0, cls = 0, sep = 0, mask = 0;  ///< ids of the special tokens
  int64_t first_ordinary = 0;                                ///< ids below are special tokens
  Sequences sentences;         ///< sentences that hold a fact; those of one fact stand together
  Sequences texts;             ///< general text
  Sequences prompts;           ///< trained phrasings; those of one fact stand together
  Sequences openers, closers;  ///< what may stand before and behind a prompt

  /// Throws FileError.
  void write(const std::filesystem::path& file) const;
  /// Throws FileError, InputError (not such a file, or cut short).
  static Dataset read(const std::filesystem::path& file);
  /// A number that differs when the content does (FNV-1a of the file).
  [[nodiscard]] uint64_t fingerprint() const { return fingerprint_; }

 private:
  uint64_t fingerprint_ = 0;
};

}  // namespace engram::pretrain
