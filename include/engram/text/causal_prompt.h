#pragma once

#include <cstdint>
#include <string_view>

#include "engram/text/cloze.h"
#include "engram/text/prompt.h"
#include "engram/text/tokenizer.h"

namespace engram {

/// Whether a causal model can take the prompt: it holds no mask, or one that stands last but for
/// punctuation.
bool answer_stands_last(std::string_view prompt);

/// A prompt of a causal model, which ends where the answer begins (METHOD section 8): its tokens,
/// with the ones that the tokenizer puts before a text, and the last position, whose logits predict
/// the next token; no answer. A mask ([MASK] or ParaRel's [Y]) may mark the place: it stands last,
/// and punctuation behind it is cut. Spaces at the end belong to the answer. Throws InputError: a
/// mask elsewhere or twice, nothing to read, longer than `max_tokens`, a tokenizer that puts tokens
/// behind a text.
Cloze causal_prompt(const Tokenizer& tokenizer, std::string_view prompt, int64_t max_tokens,
                    const Origin& origin);

/// The same with an answer of k tokens behind it, all but the last of which the model reads, too:
/// the positions are the prompt's last and the answer's first k-1. The answer has the space that
/// its place gives it: that before the mask, or one where no mask is written and the text does not
/// end a line. One that the vocabulary itself writes so ("\u0120London") is that one token. Throws
/// InputError as above and for answers as answer_ids(), and where the text's last token and the
/// answer's first would be one.
Cloze causal_prompt(const Tokenizer& tokenizer, std::string_view prompt, std::string_view answer,
                    int64_t max_tokens, const Origin& origin);

}  // namespace engram
