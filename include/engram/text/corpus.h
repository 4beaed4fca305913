#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "engram/text/cloze.h"
#include "engram/text/prompt.h"
#include "engram/text/tokenizer.h"

namespace engram {

/// Sentences of ordinary text with one masked word; for a causal model, up to that word.
struct CorpusPrompts {
  std::vector<Cloze> prompts;
  int64_t lines = 0;    ///< read
  int64_t skipped = 0;  ///< blank, without a word that can be masked, or too long
};

/// For mean activations: up to `limit` lines from the start of plain text, one sentence each, with
/// one random word (letters only) of each masked; those of more tokens than the model takes are
/// left out. The answer stands for none, unused. Seeded. Throws FileError; InputError when no line
/// can be used.
CorpusPrompts read_corpus(const std::filesystem::path& path, const Tokenizer& tokenizer,
                          const PromptForm& form, int64_t limit, uint64_t seed);

/// For effects on ordinary text: a seeded sample of up to `limit` lines of all, in the order of the
/// file, each with one random word masked that is one token of the vocabulary: the answer. Throws
/// as read_corpus().
CorpusPrompts sample_corpus(const std::filesystem::path& path, const Tokenizer& tokenizer,
                            const PromptForm& form, int64_t limit, uint64_t seed);

}  // namespace engram
