#include "engram/base/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace engram {
namespace {

/// By RFC 3629's table of lengths.
std::string encoded(char32_t c) {
  const auto byte = [](char32_t value) {
    return static_cast<char>(static_cast<unsigned char>(value));
  };
  if (c < 0x80) return {byte(c)};
  if (c < 0x800) return {byte(0xC0 | (c >> 6)), byte(0x80 | (c & 0x3F))};
  if (c < 0x10000) {
    return {byte(0xE0 | (c >> 12)), byte(0x80 | ((c >> 6) & 0x3F)), byte(0x80 | (c & 0x3F))};
  }
  return {byte(0xF0 | (c >> 18)), byte(0x80 | ((c >> 12) & 0x3F)), byte(0x80 | ((c >> 6) & 0x3F)),
          byte(0x80 | (c & 0x3F))};
}

TEST(Utf8, EveryCharacterAndNothingElse) {
  for (char32_t c = 0; c < 0x110800; ++c) {
    const std::string text = encoded(c);
    const bool valid = c <= 0x10FFFF && (c < 0xD800 || c >= 0xE000);
    const CodePoint point = code_point(text, 0);
    ASSERT_EQ(point.valid, valid) << std::hex << static_cast<uint32_t>(c);
    ASSERT_EQ(point.value, valid ? c : 0xFFFD);
    ASSERT_EQ(point.length, valid ? text.size() : 1);
    ASSERT_EQ(invalid_utf8("a" + text), valid ? std::string::npos : 1);
    // Cut off anywhere it is broken.
    if (c % 97 != 0) continue;
    for (size_t cut = 1; cut < text.size(); ++cut) {
      ASSERT_FALSE(code_point(text.substr(0, cut), 0).valid);
    }
  }
}

TEST(Utf8, LongerFormsThanNeededAreBroken) {
  for (const char* text :
       {"\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xE0\x9F\xBF", "\xF0\x80\x80\x80",
        "\xF0\x8F\xBF\xBF", "\x80", "\xBF", "\xFE", "\xFF", "\xF8\x88\x80\x80\x80"}) {
    EXPECT_FALSE(code_point(text, 0).valid) << text;
  }
}

TEST(Utf8, ATextIsCutBetweenCharacters) {
  const std::string text =
      "a\xC3\xA9\xE2\x82\xAC"
      "b";  // a, e with acute, euro sign, b
  const size_t starts[] = {0, 1, 1, 3, 3, 3, 6, 7, 7};
  for (size_t at = 0; at < 9; ++at) EXPECT_EQ(character_start(text, at), starts[at]) << at;
  EXPECT_EQ(character_start("\x80\x80", 1), 0U);
}

}  // namespace
}  // namespace engram
