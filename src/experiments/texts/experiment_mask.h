#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace engram::experiments::texts {

/// What a text holds of a fact: "both", "head" (the subject alone), "tail" (the object alone),
/// "random" (neither).
enum class TextKind { kBoth, kHead, kTail, kRandom };
constexpr std::array<TextKind, 4> kTextKinds = {TextKind::kBoth, TextKind::kHead, TextKind::kTail,
                                                TextKind::kRandom};
const char* text_kind_name(TextKind kind);

/// Which word of a text is masked (METHOD section 4).
enum class TextMask {
  kReleased,  ///< "released", as the paper's code does: the object where head and tail are there,
              ///< else one random word that is no part of subject or object
  kName,      ///< "name": another object of the relation, or else a capitalised word inside a
              ///< sentence that belongs neither to subject nor object
  kWord,      ///< "word": one random word that is no part of subject or object
  kObject,    ///< "object": the object
};
constexpr std::array<TextMask, 4> kTextMasks = {TextMask::kReleased, TextMask::kName,
                                                TextMask::kWord, TextMask::kObject};
const char* text_mask_name(TextMask mask);
/// The masks that make a contrast of their own: released and name for every kind, word for both,
/// object for tail.
bool text_mask_applies(TextKind kind, TextMask mask);

/// A text with one `[MASK]`, and what it stands for.
struct MaskedText {
  std::string text;
  std::string word;
};

/// True where `text` holds what its kind promises of subject and object, and no more. Names are
/// found as whole words whatever their case; the object counts where it stands outside the subject.
bool text_holds(std::string_view text, TextKind kind, std::string_view subject,
                std::string_view object);

/// Masks one word of `text`, or says that it has none to mask by returning nothing: also for a text
/// that does not hold what its kind promises (text_holds()), or that holds a mask already. The
/// object is masked where it first stands outside the subject. Words are what stands between
/// spaces, without the signs around it. `names`: the relation's objects. `seed` makes the random
/// choices.
std::optional<MaskedText> mask_text(const std::string& text, TextKind kind, TextMask mask,
                                    std::string_view subject, std::string_view object,
                                    std::span<const std::string> names, uint64_t seed);

/// A seed for one choice about one text.
uint64_t text_seed(uint64_t seed, std::string_view purpose, std::string_view text);

}  // namespace engram::experiments::texts
