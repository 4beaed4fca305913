#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engram/text/cloze.h"
#include "engram/text/facts.h"
#include "engram/text/prompt.h"
#include "engram/text/tokenizer.h"

namespace engram {

/// A fact whose prompts are token ids. A fact is used whole or not at all, so that the size of its
/// bag is what its file says.
struct PreparedFact {
  size_t index = 0;             ///< in the fact set
  std::vector<Cloze> prompts;   ///< as Fact::prompts
  std::vector<Cloze> held_out;  ///< as Fact::held_out
};

/// Encodes a fact's prompts, its neurons where `form` says. Throws InputError that names the fact,
/// where it stands, and what is wrong: an answer that the vocabulary does not hold, a prompt that
/// does not have the model's form or is too long, a subject that does not stand in one
/// (NeuronPlace::kSubject), or no prompt at all.
PreparedFact prepare_fact(const Fact& fact, const Tokenizer& tokenizer, const PromptForm& form);

/// The same with the problem as a value.
std::optional<PreparedFact> prepare_fact(const Fact& fact, const Tokenizer& tokenizer,
                                         const PromptForm& form,
                                         std::vector<FactProblem>& problems);

/// True when the object occurs in the subject as a whole word, whatever the case: a model can copy
/// such an answer.
bool subject_holds_object(const Fact& fact);

}  // namespace engram
