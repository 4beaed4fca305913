#pragma once

// Words of plain text, byte by byte: whatever is not ASCII counts as a letter.

#include <cctype>
#include <string>

namespace engram {

inline bool is_word_byte(unsigned char c) { return std::isalnum(c) != 0 || c >= 0x80; }

inline std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace engram
