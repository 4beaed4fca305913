#include "engram/base/utf8.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace engram {
namespace {

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

}  // namespace

CodePoint code_point(std::string_view text, size_t at) {
  constexpr CodePoint kBroken{0xFFFD, 1, false};
  const auto first = static_cast<unsigned char>(text[at]);
  if (first < 0x80) return {first, 1, true};
  if (first < 0xC2 || first > 0xF4) return kBroken;
  const size_t length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  if (text.size() - at < length) return kBroken;
  char32_t value = first & (0x7FU >> length);
  for (size_t i = 1; i < length; ++i) {
    if (!continues(text[at + i])) return kBroken;
    value = (value << 6U) | (static_cast<unsigned char>(text[at + i]) & 0x3FU);
  }
  const bool overlong = (length == 3 && value < 0x800) || (length == 4 && value < 0x10000);
  const bool surrogate = value >= 0xD800 && value < 0xE000;
  if (overlong || surrogate || value > 0x10FFFF) return kBroken;
  return {value, length, true};
}

size_t invalid_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = code_point(text, at);
    if (!point.valid) return at;
    at += point.length;
  }
  return std::string_view::npos;
}

size_t character_start(std::string_view text, size_t at) {
  at = std::min(at, text.size());
  while (at > 0 && at < text.size() && continues(text[at])) --at;
  return at;
}

std::string printable(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = code_point(text, at);
    const char32_t c = point.value;
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (!point.valid || c < 0x20 || c == 0x7F || (c >= 0x80 && c < 0xA0)) {
      std::array<char, 8> code{};
      std::snprintf(code.data(), code.size(), "\\x%02x",
                    static_cast<unsigned>(point.valid ? c : static_cast<unsigned char>(text[at])));
      out += code.data();
    } else {
      out += text.substr(at, point.length);
    }
    at += point.length;
  }
  return out;
}

}  // namespace engram
