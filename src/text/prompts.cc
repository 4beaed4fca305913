#include "engram/text/prompts.h"

#include <nlohmann/json.hpp>

#include "engram/base/lines.h"
#include "engram/base/utf8.h"
#include "engram/error.h"
#include "text/jsonl.h"

namespace engram {
namespace {

PromptLine prompt_of_json(std::string_view text) {
  const nlohmann::json object = parse_object(text);
  PromptLine one;
  one.prompt = text_field(object, "prompt");
  if (object.contains("answer")) one.answer = text_field(object, "answer");
  if (object.contains("subject")) one.subject = text_field(object, "subject");
  for (const auto& [key, value] : object.items()) {
    if (key != "prompt" && key != "answer" && key != "subject") {
      throw LineError{"got the field " + in_quotes(key) +
                      ", expected \"prompt\", \"answer\" and \"subject\""};
    }
  }
  return one;
}

PromptLine prompt_of_text(std::string_view text) {
  const size_t bad = invalid_utf8(text);
  if (bad != std::string_view::npos) {
    throw LineError{"got bytes that are not UTF-8 at byte " + std::to_string(bad + 1) +
                    ", expected UTF-8"};
  }
  while (!text.empty() && text.back() == '\r') text.remove_suffix(1);
  const size_t tab = text.find('\t');
  PromptLine one;
  one.prompt = text.substr(0, tab);
  if (tab == std::string_view::npos) return one;
  one.answer = text.substr(tab + 1);
  if (is_blank(one.prompt) || is_blank(one.answer) || one.answer.find('\t') != std::string::npos) {
    throw LineError{"got " + in_quotes(text) + ", expected PROMPT or PROMPT<tab>ANSWER"};
  }
  return one;
}

}  // namespace

std::vector<PromptLine> read_prompts(const std::filesystem::path& path, const std::string& source) {
  LineReader lines(path, kLongestLine);
  std::vector<PromptLine> prompts;
  bool json = false;
  std::string line;
  for (int64_t number = 1; lines.next(line); ++number) {
    std::string_view text = line;
    if (number == 1 && text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // byte order mark
    if (is_blank(text)) continue;
    if (prompts.empty()) json = text[text.find_first_not_of(" \t")] == '{';
    try {
      if (lines.length() > kLongestLine) {
        throw LineError{"got a line of " + std::to_string(lines.length()) +
                        " bytes, expected at most " + std::to_string(kLongestLine)};
      }
      prompts.push_back(json ? prompt_of_json(text) : prompt_of_text(text));
      prompts.back().line = number;
    } catch (const LineError& error) {
      throw InputError(source + ":" + std::to_string(number) + ": " + error.message);
    }
  }
  if (prompts.empty()) {
    throw InputError(source +
                     ": got no line, expected prompts: a sentence with [MASK] on each, or "
                     "JSON Lines of {\"prompt\", \"answer\"}");
  }
  return prompts;
}

}  // namespace engram
