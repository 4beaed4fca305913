#pragma once

// The one way in which text from outside becomes JSON: bounded in depth, checked for UTF-8.

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace engram {

/// Deepest nesting of arrays and objects that is read. Copying, printing and freeing a value
/// recurse, so a file of brackets alone would run over the stack; no file of ours or of the field
/// is nested more than ten deep.
inline constexpr int kDeepestJson = 100;

/// Why a text is no JSON that is read. Thrown by parse_json only.
struct JsonFault {
  std::string message;  ///< "not valid JSON in UTF-8 at byte 12", one line of ASCII
};

/// `text` as JSON; `callback` sees every part of it (nlohmann's parser_callback_t). Throws
/// JsonFault, and what the callback throws.
nlohmann::json parse_json(std::string_view text,
                          const nlohmann::json::parser_callback_t& callback = nullptr);

/// The same; throws InputError "SOURCE: what is wrong".
nlohmann::json parse_json(std::string_view text, const std::string& source);

/// The whole file as JSON. Throws FileError, and InputError with the file's name for what is no
/// JSON or larger than `max_bytes`.
nlohmann::json read_json_file(const std::filesystem::path& path, std::uintmax_t max_bytes);

}  // namespace engram
