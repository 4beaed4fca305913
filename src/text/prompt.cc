#include "engram/text/prompt.h"

#include <algorithm>
#include <optional>
#include <sstream>

#include "engram/error.h"
#include "engram/text/causal_prompt.h"
#include "text/answer.h"
#include "text/jsonl.h"
#include "text/prompt_text.h"

namespace engram {
namespace {

/// What a prompt is written with, whatever the model's own mask token is.
constexpr std::string_view kMask = "[MASK]";

/// Places of the masks in `prompt`, as offset and length, ascending.
std::vector<std::pair<size_t, size_t>> find_masks(std::string_view prompt, std::string_view own) {
  std::vector<std::pair<size_t, size_t>> places;
  for (size_t at = 0; at < prompt.size();) {
    const std::string_view rest = prompt.substr(at);
    if (rest.starts_with(kMask)) {
      places.emplace_back(at, kMask.size());
    } else if (!own.empty() && rest.starts_with(own)) {
      places.emplace_back(at, own.size());
    }
    at += !places.empty() && places.back().first == at ? places.back().second : 1;
  }
  return places;
}

/// The place of the one mask of `prompt`.
std::pair<size_t, size_t> find_mask(const Tokenizer& tokenizer, std::string_view prompt,
                                    const Origin& origin) {
  const std::string own = tokenizer.mask_token();
  const auto places = find_masks(prompt, own);
  if (places.size() == 1) return places.front();
  const std::string expected =
      own == kMask ? std::string("one [MASK]") : "one [MASK] (or " + own + ")";
  refuse_prompt(origin,
                "got " + (places.empty() ? "no mask" : std::to_string(places.size()) + " masks") +
                    ", expected " + expected + ", in the prompt " + in_quotes(prompt));
}

/// Token ids of `word` in the mask's place, with the space that the place or the writer gives it.
std::vector<int64_t> encode_answer(const Tokenizer& tokenizer, std::string_view word, bool space,
                                   const Origin& origin) {
  return encode_text(tokenizer, (tokenizer.byte_level() && space ? " " : "") + std::string(word),
                     false, origin);
}

/// `word` with its first letter, or all of them, in the other case (ASCII).
std::vector<std::string> other_cases(std::string_view word) {
  const auto is_lower = [](char c) { return c >= 'a' && c <= 'z'; };
  const auto is_upper = [](char c) { return c >= 'A' && c <= 'Z'; };
  std::string first(word);
  if (is_lower(first[0]) || is_upper(first[0])) first[0] = static_cast<char>(first[0] ^ 0x20);
  std::string lower(word);
  std::string upper(word);
  for (char& c : lower) c = static_cast<char>(is_upper(c) ? c ^ 0x20 : c);
  for (char& c : upper) c = static_cast<char>(is_lower(c) ? c ^ 0x20 : c);
  std::string title = lower;
  if (is_lower(title[0])) title[0] = static_cast<char>(title[0] ^ 0x20);
  return {first, title, lower, upper};
}

/// Whether the answer in the place of the mask at `mask` begins with a space: the writer's own, or
/// the one before a mask that swallows it.
bool has_space(const Tokenizer& tokenizer, std::string_view prompt, size_t mask,
               std::string_view answer) {
  const bool before = mask > 0 && prompt[mask - 1] == ' ' && tokenizer.mask_takes_space();
  return before || answer.starts_with(' ');
}

/// The same word in another case, or after a space, as one token of the vocabulary; "" if none is.
std::string one_token_form(const Tokenizer& tokenizer, std::string_view prompt, size_t mask,
                           std::string_view answer) {
  const std::string_view word = trimmed(answer);
  const std::optional<int64_t> unknown = tokenizer.unknown_id();
  const bool natural = has_space(tokenizer, prompt, mask, answer);
  for (const bool space : {natural, true}) {
    std::vector<std::string> spellings = other_cases(word);
    if (space != natural) spellings.emplace_back(word);
    for (const std::string& spelling : spellings) {
      const std::vector<int64_t> ids = encode_answer(tokenizer, spelling, space, "");
      if (ids.size() == 1 && ids[0] != unknown && !tokenizer.is_special(ids[0])) {
        return (space != natural ? " " : "") + spelling;
      }
    }
    if (!tokenizer.byte_level()) break;
  }
  return "";
}

}  // namespace

std::vector<int64_t> answer_ids(const Tokenizer& tokenizer, std::string_view prompt,
                                std::string_view answer, const Origin& origin) {
  const auto [mask, length] = find_mask(tokenizer, prompt, origin);
  const std::string_view word = trimmed(answer);
  if (word.empty()) refuse_prompt(origin, "got an empty answer, expected a word");
  if (!find_masks(word, tokenizer.mask_token()).empty()) {
    refuse_prompt(origin, "the answer " + in_quotes(word) + " holds a mask, expected a word");
  }
  if (const auto id = spelled_token(tokenizer, word)) return {*id};
  // A byte-level vocabulary writes the space before a word into the word's first token.
  const std::vector<int64_t> ids =
      encode_answer(tokenizer, word, has_space(tokenizer, prompt, mask, answer), origin);
  check_answer_tokens(tokenizer, ids, word, origin,
                      [&, at = mask] { return one_token_form(tokenizer, prompt, at, answer); });
  return ids;
}

std::string one_token_spelling(const Tokenizer& tokenizer, std::string_view prompt,
                               std::string_view answer, const Origin& origin) {
  if (answer_ids(tokenizer, prompt, answer, origin).size() == 1) return "";
  return one_token_form(tokenizer, prompt, find_mask(tokenizer, prompt, origin).first, answer);
}

std::string masked_text(const Tokenizer& tokenizer, std::string_view prompt, const Origin& origin) {
  const auto [place, length] = find_mask(tokenizer, prompt, origin);
  std::string text(prompt.substr(0, place));
  text += tokenizer.mask_token();
  text += prompt.substr(place + length);
  return text;
}

Cloze encode_prompt(const Tokenizer& tokenizer, std::string_view prompt, int64_t masks,
                    int64_t max_tokens, const Origin& origin) {
  if (masks < 1)
    refuse_prompt(origin, "got " + std::to_string(masks) + " masks, expected at least 1");
  const std::string text = masked_text(tokenizer, prompt, origin);
  const std::vector<int64_t> ids = encode_text(tokenizer, text, true, origin);
  const int64_t mask = tokenizer.mask_id();
  const auto found = std::ranges::find(ids, mask);
  if (std::ranges::count(ids, mask) != 1) {
    refuse_prompt(origin, "the tokenizer does not keep " + tokenizer.mask_token() +
                              " as one token in the prompt " + in_quotes(prompt));
  }
  // Compared without overflow: `masks` can be any number that a caller asks for.
  const int64_t others = static_cast<int64_t>(ids.size()) - 1;
  if (masks > max_tokens - others) {
    refuse_prompt(origin, "got " + std::to_string(others) + " tokens and " + std::to_string(masks) +
                              (masks == 1 ? " mask" : " masks") + ", expected at most " +
                              std::to_string(max_tokens) + " in all, in the prompt " +
                              in_quotes(prompt));
  }
  Cloze result;
  result.ids.assign(ids.begin(), found);
  for (int64_t i = 0; i < masks; ++i) {
    result.positions.push_back(static_cast<int64_t>(result.ids.size()));
    result.ids.push_back(mask);
  }
  result.ids.insert(result.ids.end(), found + 1, ids.end());
  return result;
}

Cloze encode_prompt(const Tokenizer& tokenizer, std::string_view prompt, std::string_view answer,
                    int64_t max_tokens, const Origin& origin) {
  std::vector<int64_t> ids = answer_ids(tokenizer, prompt, answer, origin);
  Cloze result =
      encode_prompt(tokenizer, prompt, static_cast<int64_t>(ids.size()), max_tokens, origin);
  result.answer = std::move(ids);
  return result;
}

Cloze encode_cloze(const Tokenizer& tokenizer, std::string_view prompt, std::string_view answer,
                   const PromptForm& form, const Origin& origin) {
  return form.causal ? causal_prompt(tokenizer, prompt, answer, form.max_tokens, origin)
                     : encode_prompt(tokenizer, prompt, answer, form.max_tokens, origin);
}

Cloze encode_open(const Tokenizer& tokenizer, std::string_view prompt, const PromptForm& form,
                  const Origin& origin) {
  return form.causal ? causal_prompt(tokenizer, prompt, form.max_tokens, origin)
                     : encode_prompt(tokenizer, prompt, 1, form.max_tokens, origin);
}

Cloze with_answer(Cloze cloze, const std::vector<int64_t>& answer, const PromptForm& form) {
  if (answer.empty() || (!form.causal && answer.size() != cloze.positions.size())) {
    throw InternalError("with_answer: a masked prompt takes as many tokens as it has masks");
  }
  if (form.causal) {
    const int64_t first = cloze.positions.front();
    cloze.ids.resize(static_cast<size_t>(first) + 1);
    cloze.ids.insert(cloze.ids.end(), answer.begin(), answer.end() - 1);
    cloze.positions.clear();
    for (size_t i = 0; i < answer.size(); ++i) {
      cloze.positions.push_back(first + static_cast<int64_t>(i));
    }
  }
  cloze.answer = answer;
  return cloze;
}

}  // namespace engram
