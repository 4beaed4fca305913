#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/attribute.h"
#include "cli/common.h"
#include "engram/text/prompt.h"

// What `engram attribute` is asked about: prompts with their answers, checked and tokenized.
namespace engram::cli {

/// A prompt as the user wrote it, and where, for messages ("--prompt", "FILE:3").
struct AskedPrompt {
  std::string prompt;
  std::string answer;   ///< empty: the model's own
  std::string subject;  ///< of --at subject
  std::string prompt_origin;
  std::string answer_origin;
  std::string subject_origin;
};

/// The prompts of the command line or of --prompts, in their order. Throws UsageError (answers and
/// prompts that do not fit each other), InputError, FileError.
std::vector<AskedPrompt> asked_prompts(const AttributeOptions& options);

/// Everything about a prompt that is attributed.
struct Subject {
  std::string text;  ///< of the prompt, as the user wrote it
  Cloze prompt;
  std::string answer;
  std::string mask;     ///< as it stands in the user's prompt; "" where none does
  bool causal = false;  ///< the answer continues the prompt
};

Subject make_subject(const LoadedModel& loaded, const AttributeOptions& options,
                     const AskedPrompt& asked);

}  // namespace engram::cli
