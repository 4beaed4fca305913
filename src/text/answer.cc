#include "text/answer.h"

#include <algorithm>
#include <sstream>

#include "engram/error.h"
#include "text/jsonl.h"

namespace engram {

void refuse_prompt(const Origin& origin, const std::string& message) {
  throw InputError(origin + ": " + message);
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

std::vector<int64_t> encode_text(const Tokenizer& tokenizer, std::string_view text, bool special,
                                 const Origin& origin) {
  try {
    return tokenizer.encode(text, special);
  } catch (const InputError& error) {
    refuse_prompt(origin, error.what());
  }
}

std::optional<int64_t> spelled_token(const Tokenizer& tokenizer, std::string_view word) {
  const std::string& mark = tokenizer.word_mark();
  if (mark.empty() || !word.starts_with(mark) || word.size() == mark.size()) return std::nullopt;
  const std::optional<int64_t> id = tokenizer.id_of(word);
  return id && !tokenizer.is_special(*id) ? id : std::nullopt;
}

namespace {

/// The first word of `answer` in which the unknown token appears.
std::string unknown_word(const Tokenizer& tokenizer, std::string_view answer, int64_t unknown,
                         const Origin& origin) {
  std::istringstream words{std::string(answer)};
  for (std::string word; words >> word;) {
    const auto ids = encode_text(tokenizer, word, false, origin);
    if (std::ranges::find(ids, unknown) != ids.end()) return word;
  }
  return std::string(answer);
}

}  // namespace

void check_answer_tokens(const Tokenizer& tokenizer, const std::vector<int64_t>& ids,
                         std::string_view word, const Origin& origin,
                         const std::function<std::string()>& other_form) {
  if (ids.empty()) {
    refuse_prompt(origin, "the answer " + in_quotes(word) + " has no token in this vocabulary");
  }
  const std::optional<int64_t> unknown = tokenizer.unknown_id();
  for (const int64_t id : ids) {
    const std::string token = tokenizer.token_of(id);
    if (unknown && id == *unknown && word.find(token) == std::string_view::npos) {
      const std::string form = other_form ? other_form() : "";
      refuse_prompt(origin, "the answer " + in_quotes(word) + " is not in the vocabulary: " +
                                in_quotes(unknown_word(tokenizer, word, id, origin)) + " becomes " +
                                token +
                                (form.empty() ? "" : "; " + in_quotes(form) + " is one token"));
    }
    if (tokenizer.is_special(id)) {
      refuse_prompt(origin, "the answer " + in_quotes(word) + " holds the special token " + token +
                                ", expected a word");
    }
  }
  // A byte-level vocabulary that lacks a byte drops it without a word; only the text shows it.
  if (tokenizer.byte_level() && trimmed(tokenizer.decode(ids, false)) != word) {
    refuse_prompt(origin, "the answer " + in_quotes(word) +
                              " is not in the vocabulary: its tokens read " +
                              in_quotes(trimmed(tokenizer.decode(ids, false))));
  }
}

}  // namespace engram
