#include "text/jsonl.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engram/base/lines.h"
#include "engram/error.h"

namespace engram {
namespace {

using nlohmann::json;

json parse_object(std::string_view line) {
  const size_t bad = invalid_utf8(line);
  if (bad != std::string_view::npos) {
    throw LineError{"got bytes that are not UTF-8 at byte " + std::to_string(bad + 1) +
                    ", expected UTF-8"};
  }
  try {
    json object = json::parse(line);
    if (object.is_object()) return object;
    throw LineError{"got a JSON " + std::string(object.type_name()) + ", expected a JSON object"};
  } catch (const json::parse_error& error) {
    throw LineError{"not valid JSON from byte " + std::to_string(error.byte) +
                    " on, expected a JSON object"};
  } catch (const json::exception&) {  // a number that no double holds
    throw LineError{"not usable JSON, expected a JSON object"};
  }
}

}  // namespace

void ProblemSink::malformed(const std::string& file, int64_t line, const std::string& message) {
  if (strict_) throw InputError(file + ":" + std::to_string(line) + ": " + message);
  problems_.push_back({file, line, message});
}

void ProblemSink::skipped(const std::string& file, int64_t line, const std::string& message) {
  problems_.push_back({file, line, message});
}

namespace {

void use_lines(LineReader& lines, const std::string& source, ProblemSink& sink,
               const UseObject& use, const std::function<bool()>& stop) {
  std::string line;
  for (int64_t number = 1; lines.next(line); ++number) {
    std::string_view text = line;
    if (number == 1 && text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // byte order mark
    try {
      if (lines.length() > kLongestLine) {
        throw LineError{"got a line of " + std::to_string(lines.length()) +
                        " bytes, expected at most " + std::to_string(kLongestLine)};
      }
      if (!is_blank(text)) use(parse_object(text), number);
    } catch (const LineError& error) {
      sink.malformed(source, number, error.message);
      if (stop && stop()) return;
    }
  }
}

}  // namespace

void read_json_lines(const std::filesystem::path& path, ProblemSink& sink, const UseObject& use,
                     const std::function<bool()>& stop) {
  LineReader lines(path, kLongestLine);
  use_lines(lines, path.string(), sink, use, stop);
}

void parse_json_lines(std::string_view text, const std::string& source, ProblemSink& sink,
                      const UseObject& use) {
  LineReader lines = LineReader::of_text(text, kLongestLine);
  use_lines(lines, source, sink, use, {});
}

std::string text_value(const json& value, const std::string& what) {
  if (!value.is_string()) {
    throw LineError{"got a JSON " + std::string(value.type_name()) + " as " + what +
                    ", expected a string"};
  }
  std::string text = value.get<std::string>();
  if (text.find('\0') != std::string::npos) {
    throw LineError{"got a NUL character in " + what + ", expected text"};
  }
  return text;
}

std::string text_field(const json& object, const char* key) {
  const std::string name = '"' + std::string(key) + '"';
  const auto found = object.find(key);
  if (found == object.end()) throw LineError{"got no " + name + ", expected a string"};
  std::string text = text_value(*found, name);
  if (is_blank(text)) throw LineError{"got an empty " + name + ", expected text"};
  return text;
}

std::string in_quotes(std::string_view text) {
  constexpr size_t kLongest = 120;
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  size_t end = std::min(text.size(), kLongest);
  const auto continues = [&](size_t at) {
    return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U;
  };
  while (end > 0 && continues(end)) --end;
  std::string quoted = "\"";
  for (const char c : text.substr(0, end)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20U || byte == 0x7FU) {
      quoted += "\\x";
      quoted += kDigits[byte >> 4U];
      quoted += kDigits[byte & 0xFU];
    } else {
      quoted += c;
    }
  }
  return quoted + (end < text.size() ? "...\"" : "\"");
}

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos;
}

size_t invalid_utf8(std::string_view text) {
  const auto byte = [&](size_t at) {
    return at < text.size() ? static_cast<unsigned char>(text[at]) : 0U;
  };
  for (size_t at = 0; at < text.size();) {
    const unsigned first = byte(at);
    // Length by the first byte, and what the second may be: no overlong forms, no surrogates,
    // nothing past U+10FFFF.
    size_t length = 1;
    unsigned low = 0x80;
    unsigned high = 0xBF;
    if (first >= 0x80) {
      if (first < 0xC2 || first > 0xF4) return at;
      length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
      if (first == 0xE0) low = 0xA0;
      if (first == 0xED) high = 0x9F;
      if (first == 0xF0) low = 0x90;
      if (first == 0xF4) high = 0x8F;
      if (byte(at + 1) < low || byte(at + 1) > high) return at;
      for (size_t i = 2; i < length; ++i) {
        if ((byte(at + i) & 0xC0U) != 0x80U) return at;
      }
    }
    at += length;
  }
  return std::string_view::npos;
}

int64_t count_masks(std::string_view text) {
  int64_t count = 0;
  for (const std::string_view mask : {std::string_view("[MASK]"), std::string_view("<mask>")}) {
    for (size_t at = text.find(mask); at != std::string_view::npos;
         at = text.find(mask, at + mask.size())) {
      ++count;
    }
  }
  return count;
}

std::string fact_key(const std::string& relation, const std::string& subject,
                     const std::string& object) {
  // NUL cannot stand in any of the three.
  return relation + '\0' + subject + '\0' + object;
}

uint64_t seeded_number(uint64_t seed, std::string_view text) {
  uint64_t hash = 0xCBF29CE484222325ULL ^ (seed * 0x9E3779B97F4A7C15ULL);  // FNV-1a
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  hash += seed;
  hash = (hash ^ (hash >> 30U)) * 0xBF58476D1CE4E5B9ULL;  // SplitMix64's finaliser
  hash = (hash ^ (hash >> 27U)) * 0x94D049BB133111EBULL;
  return hash ^ (hash >> 31U);
}

}  // namespace engram
