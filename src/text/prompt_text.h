#pragma once

// What of a prompt the tokenizer reads.

#include <string>
#include <string_view>

#include "engram/text/prompt.h"
#include "engram/text/tokenizer.h"

namespace engram {

/// A masked model's: the prompt with the model's own mask token. Throws as encode_prompt().
std::string masked_text(const Tokenizer& tokenizer, std::string_view prompt, const Origin& origin);

/// A causal model's: the prompt up to where the answer begins. Throws as causal_prompt().
std::string_view opening_text(std::string_view prompt, const Origin& origin);

}  // namespace engram
