#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engram/intervention/measure.h"
#include "engram/model/config.h"
#include "engram/text/facts.h"
#include "engram/text/tokenizer.h"

namespace engram {

/// A fact whose prompts are token ids. A fact is used whole or not at all, so that the size of its
/// bag is what its file says.
struct PreparedFact {
  size_t index = 0;             ///< in the fact set
  std::vector<Cloze> prompts;   ///< as Fact::prompts
  std::vector<Cloze> held_out;  ///< as Fact::held_out
};

/// Encodes a fact's prompts. Throws InputError that names the fact, where it stands, and what is
/// wrong: an answer that the vocabulary does not hold, a prompt without mask or too long, or no
/// prompt at all.
PreparedFact prepare_fact(const Fact& fact, const Tokenizer& tokenizer, const ModelConfig& config);

/// The same with the problem as a value.
std::optional<PreparedFact> prepare_fact(const Fact& fact, const Tokenizer& tokenizer,
                                         const ModelConfig& config,
                                         std::vector<FactProblem>& problems);

/// True when the object occurs in the subject as a whole word, whatever the case: a model can copy
/// such an answer.
bool subject_holds_object(const Fact& fact);

/// Sentences of ordinary text with one masked word.
struct CorpusPrompts {
  std::vector<Cloze> prompts;
  int64_t lines = 0;    ///< read
  int64_t skipped = 0;  ///< blank, without a word that can be masked, or too long
};

/// For mean activations: up to `limit` lines from the start of plain text, one sentence each, with
/// one random word (letters only) of each masked. The answer is the mask token, unused. Seeded.
/// Throws FileError; InputError when no line can be used.
CorpusPrompts read_corpus(const std::filesystem::path& path, const Tokenizer& tokenizer,
                          const ModelConfig& config, int64_t limit, uint64_t seed);

/// For effects on ordinary text: a seeded sample of up to `limit` lines of all, in the order of the
/// file, each with one random word masked that is one token of the vocabulary: the answer. Throws
/// as read_corpus().
CorpusPrompts sample_corpus(const std::filesystem::path& path, const Tokenizer& tokenizer,
                            const ModelConfig& config, int64_t limit, uint64_t seed);

}  // namespace engram
