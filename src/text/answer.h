#pragma once

// What prompts with masks and prompts that are continued share: an answer as tokens.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engram/text/prompt.h"
#include "engram/text/tokenizer.h"

namespace engram {

[[noreturn]] void refuse_prompt(const Origin& origin, const std::string& message);

/// Without white space at its ends.
std::string_view trimmed(std::string_view text);

/// Token ids; what the tokenizer refuses is refused with `origin`.
std::vector<int64_t> encode_text(const Tokenizer& tokenizer, std::string_view text, bool special,
                                 const Origin& origin);

/// The one token that `word` spells as the vocabulary writes it and as `predict` prints it:
/// "##ing", "\u0120London". Only with the vocabulary's own mark: without it the word is text.
std::optional<int64_t> spelled_token(const Tokenizer& tokenizer, std::string_view word);

/// Refuses the tokens of the answer `word` that are no answer: none, special ones, or ones that do
/// not read as the word. `other_form` gives a spelling of it that is one token, or "".
void check_answer_tokens(const Tokenizer& tokenizer, const std::vector<int64_t>& ids,
                         std::string_view word, const Origin& origin,
                         const std::function<std::string()>& other_form = {});

}  // namespace engram
