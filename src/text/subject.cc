#include "engram/text/subject.h"

#include <optional>
#include <string>
#include <vector>

#include "engram/error.h"
#include "text/answer.h"
#include "text/jsonl.h"
#include "text/prompt_text.h"
#include "text/words.h"

namespace engram {
namespace {

/// The last place of `subject` in `text`, as a word of its own if it is one anywhere.
std::optional<size_t> place_of(std::string_view text, std::string_view subject) {
  const auto is_word = [&](size_t at) {
    return at < text.size() && is_word_byte(static_cast<unsigned char>(text[at]));
  };
  std::optional<size_t> inside;
  for (size_t at = text.rfind(subject); at != std::string_view::npos;
       at = at == 0 ? std::string_view::npos : text.rfind(subject, at - 1)) {
    if ((at == 0 || !is_word(at - 1)) && !is_word(at + subject.size())) return at;
    if (!inside) inside = at;
  }
  return inside;
}

/// Tokens of a cloze, the first and the last one.
struct TokenRange {
  int64_t first = 0;
  int64_t last = 0;
};

/// The tokens of `cloze`, which is `prompt`, that hold a piece of its text; none where the
/// tokenizer makes none of it. `text` is what the tokenizer reads.
std::optional<TokenRange> tokens_of(const Cloze& cloze, const Tokenizer& tokenizer,
                                    std::string_view text, size_t place, size_t length,
                                    const PromptForm& form) {
  const std::vector<TokenSpan> spans = tokenizer.spans(text);
  std::optional<TokenRange> range;
  for (size_t i = 0; i < spans.size(); ++i) {
    const TokenSpan& span = spans[i];
    if (span.begin >= span.end || span.begin >= place + length || span.end <= place) continue;
    const auto token = static_cast<int64_t>(i);
    range = TokenRange{range ? range->first : token, token};
  }
  // One mask was read, and the cloze may have several in its place.
  if (range && !form.causal && range->last > cloze.positions.front()) {
    const int64_t more = static_cast<int64_t>(cloze.positions.size()) - 1;
    range->first += more;
    range->last += more;
  }
  return range;
}

std::string text_read(const Tokenizer& tokenizer, std::string_view prompt, const PromptForm& form,
                      const Origin& origin) {
  return form.causal ? std::string(opening_text(prompt, origin))
                     : masked_text(tokenizer, prompt, origin);
}

}  // namespace

Cloze at_subject(Cloze cloze, const Tokenizer& tokenizer, std::string_view prompt,
                 std::string_view subject, const PromptForm& form, const Origin& origin) {
  const std::string_view name = trimmed(subject);
  if (name.empty()) refuse_prompt(origin, "got an empty subject, expected a name");
  const std::string text = text_read(tokenizer, prompt, form, origin);
  const std::optional<size_t> place = place_of(text, name);
  if (!place) {
    refuse_prompt(origin, "the subject " + in_quotes(name) + " does not stand " +
                              (form.causal ? "before the answer " : "") + "in the prompt " +
                              in_quotes(prompt));
  }
  const std::optional<TokenRange> range =
      tokens_of(cloze, tokenizer, text, *place, name.size(), form);
  if (!range) {
    refuse_prompt(origin, "the tokenizer makes no token of the subject " + in_quotes(name) +
                              " in the prompt " + in_quotes(prompt));
  }
  cloze.neurons_at = range->last;
  return cloze;
}

std::optional<Cloze> without_subject(Cloze cloze, const Tokenizer& tokenizer,
                                     std::string_view prompt, std::string_view subject,
                                     const PromptForm& form) {
  if (form.causal) throw InternalError("without_subject: a causal model has no mask");
  const std::string_view name = trimmed(subject);
  const std::string text = text_read(tokenizer, prompt, form, "the prompt");
  const std::optional<size_t> place = name.empty() ? std::nullopt : place_of(text, name);
  if (!place) return {};
  const std::optional<TokenRange> range =
      tokens_of(cloze, tokenizer, text, *place, name.size(), form);
  if (!range) return {};
  for (int64_t i = range->first; i <= range->last; ++i) {
    cloze.ids[static_cast<size_t>(i)] = tokenizer.mask_id();
  }
  return cloze;
}

NeuronPlace parse_neuron_place(std::string_view name) {
  for (const NeuronPlace place : {NeuronPlace::kAnswer, NeuronPlace::kSubject}) {
    if (neuron_place_name(place) == name) return place;
  }
  throw UsageError("got " + in_quotes(name) + ", expected answer or subject");
}

std::string_view neuron_place_name(NeuronPlace place) {
  return place == NeuronPlace::kAnswer ? "answer" : "subject";
}

}  // namespace engram
