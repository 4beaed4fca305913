#include "base/json.h"

#include "engram/base/file.h"
#include "engram/error.h"

namespace engram {
namespace {

/// Byte of the bracket that opens a level too many; npos if there is none.
size_t too_deep_at(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        quoted = false;
      }
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kDeepestJson) return i;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return std::string_view::npos;
}

}  // namespace

nlohmann::json parse_json(std::string_view text,
                          const nlohmann::json::parser_callback_t& callback) {
  const size_t deep = too_deep_at(text);
  if (deep != std::string_view::npos) {
    throw JsonFault{"got JSON nested more than " + std::to_string(kDeepestJson) + " deep at byte " +
                    std::to_string(deep + 1) + ", expected less"};
  }
  try {
    return nlohmann::json::parse(text, callback);
  } catch (const nlohmann::json::parse_error& error) {
    // The parser's own words may repeat bytes of the file that are not UTF-8.
    throw JsonFault{"not valid JSON in UTF-8 at byte " + std::to_string(error.byte)};
  } catch (const nlohmann::json::exception&) {
    throw JsonFault{"not valid JSON: a number is out of range"};
  }
}

nlohmann::json parse_json(std::string_view text, const std::string& source) {
  try {
    return parse_json(text);
  } catch (const JsonFault& fault) {
    throw InputError(source + ": " + fault.message);
  }
}

nlohmann::json read_json_file(const std::filesystem::path& path, std::uintmax_t max_bytes) {
  return parse_json(read_file(path, max_bytes), path.string());
}

}  // namespace engram
