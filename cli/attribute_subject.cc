#include "cli/attribute_subject.h"

#include "cli/predict.h"
#include "engram/text/causal_prompt.h"
#include "engram/text/prompts.h"
#include "engram/text/subject.h"

namespace engram::cli {
namespace {

/// The likeliest token that is a word: no special token and no padding row of the embedding.
int64_t top_answer(const Tokenizer& tokenizer, const at::Tensor& probabilities) {
  for (const Prediction& guess : top_predictions(probabilities, probabilities.numel())) {
    if (guess.id < tokenizer.vocabulary() && !tokenizer.is_special(guess.id)) return guess.id;
  }
  throw InputError("the vocabulary holds special tokens only");
}

std::vector<AskedPrompt> prompts_of_file(const AttributeOptions& options) {
  if (!options.prompts.empty()) {
    throw UsageError("--prompt and --prompts: expected one of the two");
  }
  if (options.answers.size() > 1) {
    throw UsageError("--answer: got " + std::to_string(options.answers.size()) +
                     " with --prompts, expected one for the lines without an answer");
  }
  const bool is_stdin = options.prompts_file == "-";
  const std::string source = is_stdin ? "stdin" : options.prompts_file;
  std::vector<AskedPrompt> asked;
  for (PromptLine& line : read_prompts(is_stdin ? "/dev/stdin" : options.prompts_file, source)) {
    const std::string place = source + ":" + std::to_string(line.line);
    AskedPrompt one{std::move(line.prompt),
                    std::move(line.answer),
                    std::move(line.subject),
                    place,
                    place,
                    place};
    if (options.predicted) {
      one.answer.clear();
    } else if (one.answer.empty() && options.answers.empty()) {
      throw InputError(place +
                       ": got a prompt without an answer, expected one (or --answer WORD "
                       "for all such lines, or --predicted)");
    } else if (one.answer.empty()) {
      one.answer = options.answers.front();
      one.answer_origin = "--answer";
    }
    if (one.subject.empty() && !options.subjects.empty()) {
      one.subject = options.subjects.front();
      one.subject_origin = "--subject";
    }
    if (options.at == NeuronPlace::kSubject && one.subject.empty()) {
      throw InputError(place +
                       ": got a prompt without a subject, which --at subject needs, expected one "
                       "(or --subject WORDS for all such lines)");
    }
    asked.push_back(std::move(one));
  }
  return asked;
}

/// "--prompt", of several "--prompt 2".
std::string numbered(const std::string& option, size_t index, size_t count) {
  return count > 1 ? option + " " + std::to_string(index + 1) : option;
}

void check_contrast(const Tokenizer& tokenizer, const AttributeOptions& options,
                    const Subject& subject) {
  const bool one_answer = subject.prompt.answer.size() == 1;
  if (!one_answer || subject.prompt.contrast.size() != 1) {
    const std::string& word = one_answer ? options.contrast : subject.answer;
    const std::string one =
        subject.causal ? "" : one_token_spelling(tokenizer, subject.text, word, "--target");
    throw InputError(
        "--target logit-diff: \"" + word + "\" has " +
        std::to_string(one_answer ? subject.prompt.contrast.size() : subject.prompt.answer.size()) +
        " tokens, expected answers of one token" + (one.empty() ? "" : " such as \"" + one + "\""));
  }
  if (subject.prompt.contrast == subject.prompt.answer) {
    throw InputError("--target logit-diff: \"" + options.contrast +
                     "\" is the answer itself, expected another word");
  }
}

Subject make_masked_subject(const LoadedModel& loaded, const AttributeOptions& options,
                            const AskedPrompt& asked) {
  const Tokenizer& tokenizer = loaded.tokenizer;
  const int64_t max_tokens = loaded.model.config().max_tokens();
  Subject subject;
  subject.text = asked.prompt;
  subject.mask = "[MASK]";
  if (asked.prompt.find(subject.mask) == std::string::npos) subject.mask = tokenizer.mask_token();
  // The prompt by itself first, so that messages name the option that is at fault.
  subject.prompt = encode_prompt(tokenizer, asked.prompt, 1, max_tokens, asked.prompt_origin);
  if (asked.answer.empty()) {
    subject.prompt.answer = {
        top_answer(tokenizer, answer_probabilities(loaded.model, subject.prompt))};
    subject.answer = tokenizer.decode(subject.prompt.answer, false);
    subject.answer.erase(0, subject.answer.find_first_not_of(' '));
  } else {
    const auto ids = answer_ids(tokenizer, asked.prompt, asked.answer, asked.answer_origin);
    const std::string one =
        one_token_spelling(tokenizer, asked.prompt, asked.answer, asked.answer_origin);
    if (!one.empty()) {
      note(options.common, "the answer \"" + asked.answer + "\" is " + std::to_string(ids.size()) +
                               " tokens of this model; \"" + one + "\" is one");
    }
    subject.prompt = encode_prompt(tokenizer, asked.prompt, static_cast<int64_t>(ids.size()),
                                   max_tokens, asked.prompt_origin);
    subject.prompt.answer = ids;
    subject.answer = asked.answer;
  }
  if (options.attribution.target == Target::kLogitDifference) {
    subject.prompt.contrast = answer_ids(tokenizer, asked.prompt, options.contrast, "--target");
    check_contrast(tokenizer, options, subject);
  }
  return subject;
}

/// The same for a causal model, whose prompt needs no mask.
Subject make_causal_subject(const LoadedModel& loaded, const AttributeOptions& options,
                            const AskedPrompt& asked) {
  const Tokenizer& tokenizer = loaded.tokenizer;
  const int64_t max_tokens = loaded.model.config().max_tokens();
  Subject subject;
  subject.causal = true;
  subject.text = asked.prompt;
  for (const char* mask : {"[MASK]", "[Y]"}) {
    if (asked.prompt.find(mask) != std::string::npos) subject.mask = mask;
  }
  // The prompt by itself first, so that messages name the option that is at fault.
  subject.prompt = causal_prompt(tokenizer, asked.prompt, max_tokens, asked.prompt_origin);
  if (asked.answer.empty()) {
    subject.prompt.answer = {
        top_answer(tokenizer, answer_probabilities(loaded.model, subject.prompt))};
    subject.answer = tokenizer.decode(subject.prompt.answer, false);
    subject.answer.erase(0, subject.answer.find_first_not_of(' '));
  } else {
    subject.prompt =
        causal_prompt(tokenizer, asked.prompt, asked.answer, max_tokens, asked.answer_origin);
    subject.answer = asked.answer;
  }
  if (options.attribution.target == Target::kLogitDifference) {
    subject.prompt.contrast =
        causal_prompt(tokenizer, asked.prompt, options.contrast, max_tokens, "--target").answer;
    check_contrast(tokenizer, options, subject);
  }
  return subject;
}

}  // namespace

std::vector<AskedPrompt> asked_prompts(const AttributeOptions& options) {
  if (options.at == NeuronPlace::kAnswer && !options.subjects.empty()) {
    throw UsageError("--subject: serves --at subject only");
  }
  if (options.predicted && !options.answers.empty()) {
    throw UsageError("--answer and --predicted: expected one of the two");
  }
  if (!options.prompts_file.empty()) return prompts_of_file(options);
  const size_t prompts = options.prompts.size();
  const size_t answers = options.answers.size();
  if (prompts == 0) {
    throw UsageError("--prompt TEXT is required, or --prompts FILE (see `engram help attribute`)");
  }
  if (answers == 0 && !options.predicted) {
    throw UsageError("--answer WORD is required, or --predicted (see `engram help attribute`)");
  }
  const size_t count = std::max(prompts, answers);
  const size_t subjects = options.subjects.size();
  if (options.at == NeuronPlace::kSubject && subjects != prompts && subjects != 1) {
    throw UsageError("--subject: got " + std::to_string(subjects) + " for " +
                     std::to_string(prompts) +
                     " prompts, which --at subject needs: one for each, or one for all");
  }
  if ((prompts != count && prompts != 1) || (answers != count && answers > 1)) {
    throw UsageError("--answer: got " + std::to_string(answers) + " for " +
                     std::to_string(prompts) +
                     " prompts, expected one for each, one for all, or one prompt for all answers");
  }
  std::vector<AskedPrompt> asked;
  for (size_t i = 0; i < count; ++i) {
    AskedPrompt& one = asked.emplace_back();
    const size_t prompt = prompts > 1 ? i : 0;
    one.prompt = options.prompts[prompt];
    one.prompt_origin = numbered("--prompt", prompt, prompts);
    if (subjects > 0) {
      one.subject = options.subjects[subjects > 1 ? prompt : 0];
      one.subject_origin = numbered("--subject", subjects > 1 ? prompt : 0, subjects);
    }
    if (options.predicted) continue;
    const size_t answer = answers > 1 ? i : 0;
    one.answer = options.answers[answer];
    one.answer_origin = numbered("--answer", answer, answers);
    if (one.answer.empty()) {
      throw InputError(one.answer_origin + ": got \"\", expected the answer");
    }
  }
  return asked;
}

Subject make_subject(const LoadedModel& loaded, const AttributeOptions& options,
                     const AskedPrompt& asked) {
  Subject subject = loaded.model.config().causal() ? make_causal_subject(loaded, options, asked)
                                                   : make_masked_subject(loaded, options, asked);
  if (options.at == NeuronPlace::kSubject) {
    subject.prompt =
        at_subject(std::move(subject.prompt), loaded.tokenizer, asked.prompt, asked.subject,
                   prompt_form(loaded.model.config()), asked.subject_origin);
  }
  return subject;
}

}  // namespace engram::cli
