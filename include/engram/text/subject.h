#pragma once

#include <optional>
#include <string_view>

#include "engram/text/cloze.h"
#include "engram/text/prompt.h"
#include "engram/text/tokenizer.h"

namespace engram {

/// `cloze`, which is `prompt` in the model's form, with its neurons at the last token of `subject`
/// (METHOD section 8; where ROME, 2202.05262, edits). Where the subject stands in the prompt
/// several times, the last one counts, and one that is a word of its own before one that is part of
/// another. Throws InputError for a subject that is empty or does not stand in what the model
/// reads.
Cloze at_subject(Cloze cloze, const Tokenizer& tokenizer, std::string_view prompt,
                 std::string_view subject, const PromptForm& form, const Origin& origin);

/// `cloze` of a masked model with its mask in the place of every token of `subject`; nothing where
/// the subject does not stand in the prompt.
std::optional<Cloze> without_subject(Cloze cloze, const Tokenizer& tokenizer,
                                     std::string_view prompt, std::string_view subject,
                                     const PromptForm& form);

/// "answer" or "subject"; UsageError otherwise.
NeuronPlace parse_neuron_place(std::string_view name);
std::string_view neuron_place_name(NeuronPlace place);

}  // namespace engram
