#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace engram {

/// One prompt of a file of prompts.
struct PromptLine {
  std::string prompt;
  std::string answer;   ///< empty: the line gives none
  std::string subject;  ///< the same
  int64_t line = 0;     ///< in the file, from 1
};

/// Reads prompts with their answers: JSON Lines of {"prompt": TEXT, "answer": WORD, "subject":
/// WORDS}, or lines of text, each a prompt, optionally followed by a tab and the answer; the first
/// line that is not blank decides which. "answer" and "subject" may be left out. Blank lines are
/// passed over. `source` names the file in messages. Throws FileError, Interrupted, and InputError
/// (file, line, got, expected): a malformed line, none at all.
std::vector<PromptLine> read_prompts(const std::filesystem::path& path, const std::string& source);

}  // namespace engram
