#include "experiments/texts/experiment_mask.h"

#include <algorithm>
#include <cctype>
#include <vector>

#include "base/random.h"
#include "engram/error.h"
#include "text/jsonl.h"

namespace engram::experiments::texts {
namespace {

/// A piece of a text, in bytes.
struct Piece {
  size_t begin = 0;
  size_t end = 0;
  [[nodiscard]] bool touches(const Piece& other) const {
    return begin < other.end && other.begin < end;
  }
};

bool is_word_byte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return std::isalnum(byte) != 0 || byte >= 0x80;
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

bool touches_any(const Piece& piece, const std::vector<Piece>& others) {
  return std::ranges::any_of(others, [&](const Piece& other) { return piece.touches(other); });
}

/// Where `name` stands in `text` as a whole word; both in lower case.
std::vector<Piece> find_name(std::string_view text, std::string_view name) {
  std::vector<Piece> found;
  if (name.empty()) return found;
  for (size_t at = text.find(name); at != std::string_view::npos; at = text.find(name, at + 1)) {
    const size_t end = at + name.size();
    const bool starts = at == 0 || !is_word_byte(text[at - 1]) || !is_word_byte(text[at]);
    const bool ends =
        end == text.size() || !is_word_byte(text[end]) || !is_word_byte(text[end - 1]);
    if (starts && ends) found.push_back({at, end});
  }
  return found;
}

/// What stands between spaces, without the signs around it.
std::vector<Piece> words_of(std::string_view text) {
  std::vector<Piece> words;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = text.find_first_not_of(" \t\r\n", at);
    if (begin == std::string_view::npos) break;
    at = std::min(text.find_first_of(" \t\r\n", begin), text.size());
    Piece word{begin, at};
    while (word.begin < word.end && !is_word_byte(text[word.begin])) ++word.begin;
    while (word.begin < word.end && !is_word_byte(text[word.end - 1])) --word.end;
    if (word.begin < word.end) words.push_back(word);
  }
  return words;
}

/// True where the word begins a sentence, so that its capital says nothing.
bool begins_sentence(std::string_view text, const Piece& word) {
  size_t at = word.begin;
  while (at > 0 && !is_word_byte(text[at - 1])) {
    --at;
    if (std::string_view(".!?:").find(text[at]) != std::string_view::npos) return true;
  }
  return at == 0;
}

/// A text with what its fact's names are in it.
struct Marked {
  std::string_view text;
  std::string low;
  std::vector<Piece> subject;
  std::vector<Piece> object;  ///< outside the subject

  Marked(std::string_view of, std::string_view head, std::string_view tail)
      : text(of), low(lower(of)), subject(find_name(low, lower(head))) {
    for (const Piece& piece : find_name(low, lower(tail))) {
      if (!touches_any(piece, subject)) object.push_back(piece);
    }
  }
  [[nodiscard]] bool is(TextKind kind) const {
    const bool head = kind == TextKind::kBoth || kind == TextKind::kHead;
    const bool tail = kind == TextKind::kBoth || kind == TextKind::kTail;
    return subject.empty() != head && object.empty() != tail;
  }
  [[nodiscard]] bool free(const Piece& piece) const {
    return !touches_any(piece, subject) && !touches_any(piece, object);
  }
};

std::vector<Piece> other_words(const Marked& marked) {
  std::vector<Piece> words = words_of(marked.text);
  std::erase_if(words, [&](const Piece& word) { return !marked.free(word); });
  return words;
}

/// Names of the answer's type: other objects of the relation, or else capitalised words.
std::vector<Piece> other_names(const Marked& marked, std::string_view object,
                               std::span<const std::string> names) {
  std::vector<Piece> found;
  const std::string own = lower(object);
  for (const std::string& name : names) {
    const std::string low = lower(name);
    if (low == own) continue;
    for (const Piece& piece : find_name(marked.low, low)) {
      if (marked.free(piece)) found.push_back(piece);
    }
  }
  if (!found.empty()) return found;
  for (const Piece& word : other_words(marked)) {
    const bool capital = std::isupper(static_cast<unsigned char>(marked.text[word.begin])) != 0;
    if (capital && word.end - word.begin > 1 && !begins_sentence(marked.text, word)) {
      found.push_back(word);
    }
  }
  return found;
}

/// What a mask may cover.
std::vector<Piece> candidates(const Marked& marked, TextKind kind, TextMask mask,
                              std::string_view object, std::span<const std::string> names) {
  switch (mask) {
    case TextMask::kReleased:
      if (kind != TextKind::kBoth) return other_words(marked);
      [[fallthrough]];
    case TextMask::kObject:
      if (marked.object.empty()) return {};
      return {marked.object.front()};
    case TextMask::kName:
      return other_names(marked, object, names);
    case TextMask::kWord:
      return other_words(marked);
  }
  throw InternalError("candidates: unknown mask");
}

}  // namespace

const char* text_kind_name(TextKind kind) {
  switch (kind) {
    case TextKind::kBoth:
      return "both";
    case TextKind::kHead:
      return "head";
    case TextKind::kTail:
      return "tail";
    case TextKind::kRandom:
      return "random";
  }
  throw InternalError("text_kind_name: unknown kind");
}

const char* text_mask_name(TextMask mask) {
  switch (mask) {
    case TextMask::kReleased:
      return "released";
    case TextMask::kName:
      return "name";
    case TextMask::kWord:
      return "word";
    case TextMask::kObject:
      return "object";
  }
  throw InternalError("text_mask_name: unknown mask");
}

bool text_mask_applies(TextKind kind, TextMask mask) {
  switch (mask) {
    case TextMask::kReleased:
    case TextMask::kName:
      return true;
    case TextMask::kWord:
      return kind == TextKind::kBoth;
    case TextMask::kObject:
      return kind == TextKind::kTail;
  }
  throw InternalError("text_mask_applies: unknown mask");
}

bool text_holds(std::string_view text, TextKind kind, std::string_view subject,
                std::string_view object) {
  return Marked(text, subject, object).is(kind);
}

std::optional<MaskedText> mask_text(const std::string& text, TextKind kind, TextMask mask,
                                    std::string_view subject, std::string_view object,
                                    std::span<const std::string> names, uint64_t seed) {
  if (count_masks(text) > 0) return std::nullopt;
  const Marked marked(text, subject, object);
  if (!marked.is(kind)) return std::nullopt;
  const std::vector<Piece> pieces = candidates(marked, kind, mask, object, names);
  if (pieces.empty()) return std::nullopt;
  const Piece piece = pieces[Random(seed).below(pieces.size())];
  MaskedText masked{text, text.substr(piece.begin, piece.end - piece.begin)};
  masked.text.replace(piece.begin, piece.end - piece.begin, "[MASK]");
  return masked;
}

uint64_t text_seed(uint64_t seed, std::string_view purpose, std::string_view text) {
  return hash_text(text, hash_text(purpose)) + seed * 0x9E3779B97F4A7C15ULL;
}

}  // namespace engram::experiments::texts
