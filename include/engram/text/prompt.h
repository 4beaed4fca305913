#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engram/text/cloze.h"
#include "engram/text/tokenizer.h"

namespace engram {

/// Where a prompt or fact comes from, for messages: "FILE:LINE" or "--prompt".
using Origin = std::string;

/// At which tokens of a prompt neurons are read and changed (METHOD section 8).
enum class NeuronPlace {
  kAnswer,   ///< where the answer is asked: the masks, or the tokens that predict it
  kSubject,  ///< at the last token of the fact's subject
};

/// In which form a model reads prompts: with a mask in the answer's place, or up to where the
/// answer begins.
struct PromptForm {
  int64_t max_tokens = 0;  ///< special tokens included
  bool causal = false;
  NeuronPlace neurons = NeuronPlace::kAnswer;  ///< of a fact's prompts
};

/// That of a model's `config` (a ModelConfig).
template <class Config>
PromptForm prompt_form(const Config& config) {
  return {config.max_tokens(), config.causal(), NeuronPlace::kAnswer};
}

/// A prompt and its answer in the model's form, neurons where the answer is asked: encode_prompt()
/// below, or causal_prompt() of engram/text/causal_prompt.h. Throws as these.
Cloze encode_cloze(const Tokenizer& tokenizer, std::string_view prompt, std::string_view answer,
                   const PromptForm& form, const Origin& origin);

/// A prompt without an answer, which asks for one token. Throws as these.
Cloze encode_open(const Tokenizer& tokenizer, std::string_view prompt, const PromptForm& form,
                  const Origin& origin);

/// `cloze` with other tokens for its answer. A masked one has as many tokens as before; in a causal
/// one the tokens that the model reads behind the prompt change with the answer. Throws
/// InternalError for no token, and for another number in a masked one.
Cloze with_answer(Cloze cloze, const std::vector<int64_t>& answer, const PromptForm& form);

// Prompts of masked models, with a mask in the answer's place.

/// Token ids of `answer` in the place of the mask of `prompt`. An answer that the vocabulary itself
/// writes so ("##ing", "\u0120London", as `predict` prints them) is that one token. In a byte-level
/// vocabulary a word gets the space that stands before the mask if the mask swallows it, and keeps
/// one that the answer begins with. Throws InputError when the answer is empty, is a special token,
/// or has a token that the vocabulary does not know.
std::vector<int64_t> answer_ids(const Tokenizer& tokenizer, std::string_view prompt,
                                std::string_view answer, const Origin& origin);

/// For an answer of several tokens: the same word in another case, or after a space, that is one
/// token of this vocabulary ("Paris" for "paris"); "" if there is none.
std::string one_token_spelling(const Tokenizer& tokenizer, std::string_view prompt,
                               std::string_view answer, const Origin& origin);

/// Encodes a prompt written with `[MASK]` or the tokenizer's own mask token, expanding the one mask
/// to `masks` masks. Throws InputError: no mask, a second mask, longer than `max_tokens`, masks<1.
Cloze encode_prompt(const Tokenizer& tokenizer, std::string_view prompt, int64_t masks,
                    int64_t max_tokens, const Origin& origin);

/// encode_prompt for a given answer (both of the above).
Cloze encode_prompt(const Tokenizer& tokenizer, std::string_view prompt, std::string_view answer,
                    int64_t max_tokens, const Origin& origin);

}  // namespace engram
