#include "engram/text/prepare.h"

#include <charconv>
#include <utility>

#include "engram/error.h"
#include "engram/text/prompt.h"
#include "engram/text/subject.h"
#include "text/words.h"

namespace engram {
namespace {

std::string fact_name(const Fact& fact) {
  return fact.relation + " \"" + fact.subject + "\" -> \"" + fact.object + "\"";
}

std::vector<Cloze> encode_all(const std::vector<std::string>& prompts, const Fact& fact,
                              const Tokenizer& tokenizer, const PromptForm& form) {
  std::vector<Cloze> clozes;
  clozes.reserve(prompts.size());
  for (const std::string& prompt : prompts) {
    Cloze cloze = encode_cloze(tokenizer, prompt, fact.object, form, fact.origin);
    if (form.neurons == NeuronPlace::kSubject) {
      cloze = at_subject(std::move(cloze), tokenizer, prompt, fact.subject, form, fact.origin);
    }
    clozes.push_back(std::move(cloze));
  }
  return clozes;
}

/// "FILE:LINE" as its two parts.
FactProblem problem_at(const std::string& origin, std::string message) {
  FactProblem problem{origin, 0, std::move(message)};
  const size_t colon = origin.rfind(':');
  if (colon == std::string::npos) return problem;
  int64_t line = 0;
  const char* end = origin.data() + origin.size();
  const auto parsed = std::from_chars(origin.data() + colon + 1, end, line);
  if (parsed.ec == std::errc() && parsed.ptr == end) {
    problem.file = origin.substr(0, colon);
    problem.line = line;
  }
  return problem;
}

}  // namespace

PreparedFact prepare_fact(const Fact& fact, const Tokenizer& tokenizer, const PromptForm& form) {
  const std::string where = fact.origin.empty() ? "" : fact.origin + ": ";
  if (fact.prompts.empty()) {
    throw InputError(where + fact_name(fact) + ": has no prompt, expected at least one");
  }
  try {
    PreparedFact prepared;
    prepared.prompts = encode_all(fact.prompts, fact, tokenizer, form);
    prepared.held_out = encode_all(fact.held_out, fact, tokenizer, form);
    return prepared;
  } catch (const InputError& error) {
    std::string message = error.what();
    if (!where.empty() && message.starts_with(where)) message.erase(0, where.size());
    throw InputError(where + fact_name(fact) + ": " + message);
  }
}

std::optional<PreparedFact> prepare_fact(const Fact& fact, const Tokenizer& tokenizer,
                                         const PromptForm& form,
                                         std::vector<FactProblem>& problems) {
  try {
    return prepare_fact(fact, tokenizer, form);
  } catch (const InputError& error) {
    std::string message = error.what();
    const std::string where = fact.origin + ": ";
    if (message.starts_with(where)) message.erase(0, where.size());
    problems.push_back(problem_at(fact.origin, std::move(message)));
    return std::nullopt;
  }
}

bool subject_holds_object(const Fact& fact) {
  const std::string subject = lower(fact.subject);
  const std::string object = lower(fact.object);
  if (object.empty()) return false;
  for (size_t at = subject.find(object); at != std::string::npos;
       at = subject.find(object, at + 1)) {
    const size_t end = at + object.size();
    const bool starts = at == 0 || !is_word_byte(static_cast<unsigned char>(subject[at - 1]));
    const bool ends =
        end == subject.size() || !is_word_byte(static_cast<unsigned char>(subject[end]));
    if (starts && ends) return true;
  }
  return false;
}

}  // namespace engram
