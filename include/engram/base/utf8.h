#pragma once

// UTF-8 (RFC 3629), decoded in one place.

#include <cstddef>
#include <string>
#include <string_view>

namespace engram {

/// A character of a text.
struct CodePoint {
  char32_t value = 0;  ///< U+FFFD of a byte that is no UTF-8
  size_t length = 1;   ///< in bytes; 1 of such a byte
  bool valid = true;   ///< false: overlong, a surrogate, past U+10FFFF, cut off, or a stray byte
};

/// The character that starts at `at`. REQUIRES: at < text.size().
CodePoint code_point(std::string_view text, size_t at);

/// Byte from which `text` is not UTF-8; npos when all of it is.
size_t invalid_utf8(std::string_view text);

/// The largest start of a character that is not after `at`: where to cut.
size_t character_start(std::string_view text, size_t at);

/// `text` in one line of UTF-8 for tables and messages: line breaks, control characters and bytes
/// that are no UTF-8 are written as \n, \t or \x1b.
std::string printable(std::string_view text);

}  // namespace engram
