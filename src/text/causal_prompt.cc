#include "engram/text/causal_prompt.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "text/answer.h"
#include "text/jsonl.h"
#include "text/prompt_text.h"

namespace engram {
namespace {

constexpr std::array<std::string_view, 2> kPlaces{"[MASK]", "[Y]"};

/// Signs beyond ASCII that may stand behind a mask at the end of a sentence.
constexpr std::array<std::string_view, 12> kSigns{"\u2026", "\u3002", "\u2019", "\u201D",
                                                  "\u00BB", "\uFF01", "\uFF1F", "\uFF0C",
                                                  "\u3001", "\u300D", "\uFF09", "\u0964"};

/// The text up to the answer, and what stands between the two.
struct Opening {
  std::string_view text;
  std::string gap;
};

bool is_punctuation(std::string_view rest) {
  while (!rest.empty()) {
    const auto c = static_cast<unsigned char>(rest.front());
    if (c < 0x80) {
      const bool word = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
      if (word) return false;
      rest.remove_prefix(1);
      continue;
    }
    const auto* sign =
        std::ranges::find_if(kSigns, [&](std::string_view one) { return rest.starts_with(one); });
    if (sign == kSigns.end()) return false;
    rest.remove_prefix(sign->size());
  }
  return true;
}

/// Where masks stand in a prompt.
struct Masks {
  int64_t count = 0;
  size_t place = 0;   ///< of the last one
  size_t length = 0;  ///< of its text
};

Masks masks_in(std::string_view prompt) {
  Masks masks;
  for (const std::string_view mark : kPlaces) {
    for (size_t at = prompt.find(mark); at != std::string_view::npos;
         at = prompt.find(mark, at + mark.size())) {
      masks = {masks.count + 1, at, mark.size()};
    }
  }
  return masks;
}

Opening opening_of(std::string_view prompt, const Origin& origin) {
  const Masks masks = masks_in(prompt);
  if (masks.count > 1) {
    refuse_prompt(origin,
                  "got two masks, expected one at most, in the prompt " + in_quotes(prompt));
  }
  const bool marked = masks.count == 1;
  if (marked && !is_punctuation(prompt.substr(masks.place + masks.length))) {
    refuse_prompt(origin,
                  "got text behind the mask, expected the mask last, since a causal model "
                  "reads nothing behind the answer, in the prompt " +
                      in_quotes(prompt));
  }
  Opening opening;
  opening.text = marked ? prompt.substr(0, masks.place) : prompt;
  const size_t end = opening.text.find_last_not_of(' ') + 1;  // of npos: 0
  opening.gap = opening.text.substr(end);
  opening.text = opening.text.substr(0, end);
  const bool starts_line =
      opening.text.empty() || opening.text.back() == '\n' || opening.text.back() == '\t';
  if (!marked && opening.gap.empty() && !starts_line) opening.gap = " ";
  return opening;
}

/// The tokens of a text with those that the tokenizer puts before it.
std::vector<int64_t> encode_opening(const Tokenizer& tokenizer, std::string_view text,
                                    const Origin& origin) {
  std::vector<int64_t> ids = encode_text(tokenizer, text, true, origin);
  const std::vector<int64_t> plain = encode_text(tokenizer, text, false, origin);
  if (ids.size() < plain.size() ||
      !std::equal(plain.begin(), plain.end(), ids.end() - static_cast<int64_t>(plain.size())) ||
      (plain.empty() && ids.size() > 1)) {
    refuse_prompt(origin, "the tokenizer puts " +
                              (ids.empty() ? std::string("nothing")
                                           : in_quotes(tokenizer.token_of(ids.back()))) +
                              " behind a text, expected nothing there: a causal model goes on "
                              "from the text's last token");
  }
  if (ids.empty()) {
    refuse_prompt(origin,
                  "got an empty prompt and a tokenizer without a begin token, expected a "
                  "text");
  }
  return ids;
}

void check_length(const Cloze& cloze, int64_t max_tokens, std::string_view prompt,
                  const Origin& origin) {
  const auto tokens = static_cast<int64_t>(cloze.ids.size());
  if (tokens <= max_tokens) return;
  refuse_prompt(origin, "got " + std::to_string(tokens) + " tokens, expected at most " +
                            std::to_string(max_tokens) + ", in the prompt " + in_quotes(prompt));
}

}  // namespace

std::string_view opening_text(std::string_view prompt, const Origin& origin) {
  return opening_of(prompt, origin).text;
}

bool answer_stands_last(std::string_view prompt) {
  const Masks masks = masks_in(prompt);
  return masks.count == 0 ||
         (masks.count == 1 && is_punctuation(prompt.substr(masks.place + masks.length)));
}

Cloze causal_prompt(const Tokenizer& tokenizer, std::string_view prompt, int64_t max_tokens,
                    const Origin& origin) {
  Cloze cloze;
  cloze.ids = encode_opening(tokenizer, opening_of(prompt, origin).text, origin);
  cloze.positions = {static_cast<int64_t>(cloze.ids.size()) - 1};
  check_length(cloze, max_tokens, prompt, origin);
  return cloze;
}

Cloze causal_prompt(const Tokenizer& tokenizer, std::string_view prompt, std::string_view answer,
                    int64_t max_tokens, const Origin& origin) {
  const Opening opening = opening_of(prompt, origin);
  const std::string_view word = trimmed(answer);
  if (word.empty()) refuse_prompt(origin, "got an empty answer, expected a word");
  for (const std::string_view mark : kPlaces) {
    if (word.find(mark) != std::string_view::npos) {
      refuse_prompt(origin, "the answer " + in_quotes(word) + " holds a mask, expected a word");
    }
  }
  Cloze cloze;
  cloze.ids = encode_opening(tokenizer, opening.text, origin);
  if (const auto id = spelled_token(tokenizer, word)) {
    cloze.answer = {*id};
  } else {
    // Cut out of the whole, so that the answer's tokens are those that it has in its place.
    const std::string gap = answer.starts_with(' ') ? " " : opening.gap;
    const std::string whole = std::string(opening.text) + gap + std::string(word);
    const std::vector<int64_t> all = encode_text(tokenizer, whole, true, origin);
    if (all.size() < cloze.ids.size() ||
        !std::equal(cloze.ids.begin(), cloze.ids.end(), all.begin())) {
      refuse_prompt(origin, "the end of the prompt and the start of the answer " + in_quotes(word) +
                                " become one token, expected an answer that begins with a token "
                                "of its own, in the prompt " +
                                in_quotes(prompt));
    }
    cloze.answer.assign(all.begin() + static_cast<int64_t>(cloze.ids.size()), all.end());
    check_answer_tokens(tokenizer, cloze.answer, word, origin);
  }
  const auto first = static_cast<int64_t>(cloze.ids.size()) - 1;
  cloze.ids.insert(cloze.ids.end(), cloze.answer.begin(), cloze.answer.end() - 1);
  for (int64_t i = first; i < static_cast<int64_t>(cloze.ids.size()); ++i) {
    cloze.positions.push_back(i);
  }
  check_length(cloze, max_tokens, prompt, origin);
  return cloze;
}

}  // namespace engram
