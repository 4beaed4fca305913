#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "engram/text/cloze.h"
#include "engram/text/prompt.h"
#include "engram/text/tokenizer.h"

namespace engram {

struct TextPositionOptions {
  int64_t count = 2000;  ///< positions
  int64_t window =
      64;  ///< tokens around a position (or before it) at most, special tokens included
  uint64_t seed = 0;
};

/// Positions of ordinary text (plain or packed) for perplexity, exp(mean -log P), which of masked
/// models is a pseudo-perplexity: prompts with one token masked, which is the answer; for causal
/// models the text up to it. Lines are drawn by their length in bytes and
/// then a token of the line, so that all tokens, pieces of words and punctuation too, have about
/// the same chance; special and unknown ones are left out, and no position comes twice. A line that
/// the model or `window` cannot take whole is cut around the position; of one above 8 KiB the
/// start is looked at. The text streams through. A short one may have fewer positions than `count`.
/// Throws FileError; InputError when the text has no position; Interrupted.
std::vector<Cloze> text_positions(const std::filesystem::path& path, const Tokenizer& tokenizer,
                                  const PromptForm& form, const TextPositionOptions& options = {});

}  // namespace engram
