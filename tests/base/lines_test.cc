#include "engram/base/lines.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "engram/error.h"
#include "support/packed.h"

namespace engram {
namespace {

namespace fs = std::filesystem;
using namespace std::string_literals;

using Pack = std::string (*)(const std::string&);
const std::vector<std::pair<std::string, Pack>> kPacks = {
    {".xz", testing::xz_packed}, {".gz", testing::gz_packed}, {".zst", testing::zst_packed}};

class Lines : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) /
              ("engram_lines_" +
               std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path write(const std::string& name, const std::string& bytes) {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return folder_ / name;
  }
  static std::vector<std::string> lines_of(const fs::path& file) {
    LineReader reader(file);
    std::vector<std::string> lines;
    for (std::string line; reader.next(line);) lines.push_back(line);
    return lines;
  }
  /// The message of the InputError that reading `file` ends in.
  static std::string refusal(const fs::path& file) {
    try {
      (void)lines_of(file);
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  }

  fs::path folder_;
};

TEST_F(Lines, ContentDecidesHowAFileIsPackedNotItsName) {
  const std::string text = "first\n\n" + std::string(300'000, 'x') + "\nlast";
  const std::vector<std::string> expected = {"first", "", std::string(300'000, 'x'), "last"};
  EXPECT_EQ(lines_of(write("plain.xz", text)), expected);
  for (const auto& [ending, pack] : kPacks) {
    SCOPED_TRACE(ending);
    EXPECT_EQ(lines_of(write("a.txt", pack(text))), expected);
    // Files behind one another are one text, as `cat` and the packers' own tools have it.
    EXPECT_EQ(lines_of(write("two", pack("a\nb") + pack("") + pack("c\n"))),
              (std::vector<std::string>{"a", "bc"}));
    EXPECT_EQ(lines_of(write("none", pack(""))), std::vector<std::string>{});
  }
  EXPECT_EQ(lines_of(write("padded.gz", testing::gz_packed("a\n") + std::string(512, '\0'))),
            std::vector<std::string>{"a"});
}

TEST_F(Lines, WhatBreaksOffOrIsDamagedIsSaidInOneMessage) {
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += std::to_string(i * i) + " ";
  for (const auto& [ending, pack] : kPacks) {
    const std::string whole = pack(text);
    for (const size_t size : {size_t{12}, whole.size() / 2, whole.size() - 1}) {
      const fs::path file = write("cut", whole.substr(0, size));
      const std::string message = refusal(file);
      EXPECT_EQ(message,
                file.string() + ": got a damaged or truncated " + ending + " file (it breaks off)")
          << size;
    }
    std::string flipped = whole;
    for (size_t i = whole.size() / 2; i < whole.size() / 2 + 40; ++i) flipped[i] ^= 0x55;
    EXPECT_NE(refusal(write("flipped", flipped)).find("damaged or truncated " + ending + " file ("),
              std::string::npos)
        << refusal(folder_ / "flipped");
    EXPECT_NE(refusal(write("tail", whole + "and more text behind")).find("damaged or truncated"),
              std::string::npos);
  }
}

TEST_F(Lines, OtherKindsOfFilesAreRefusedByName) {
  const std::vector<std::pair<std::string, std::string>> kinds = {
      {"BZh91AY&SY", "bzip2"},
      {"PK\x03\x04rest", "zip"},
      {"7z\xBC\xAF\x27\x1C", "7z"},
      {"\x04\x22\x4D\x18", "lz4"},
      {"\x5D\x00\x00\x80\x00"s, ".lzma"},
      {"PAR1", "Parquet"},
      {"SQLite format 3\0"s, "SQLite"},
      {"\xFF\xFEt\0e\0"s, "UTF-16"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:00", "git lfs pull"},
      {"t\0ext"s, "binary"}};
  for (const auto& [bytes, name] : kinds) {
    const fs::path file = write("file.txt", bytes);
    EXPECT_NE(refusal(file).find(name), std::string::npos) << name << ": " << refusal(file);
    EXPECT_TRUE(refusal(file).starts_with(file.string() + ": got ")) << refusal(file);
  }
}

TEST_F(Lines, BytesAtHandCanBeTakenInsteadOfLines) {
  const fs::path file = write("a", "[1,\n2]\nline\n");
  LineReader reader(file);
  EXPECT_TRUE(reader.rest().starts_with("[1,\n2]"));
  reader.take(7);
  std::string line;
  ASSERT_TRUE(reader.next(line));
  EXPECT_EQ(line, "line");
  EXPECT_TRUE(reader.rest().empty());
  EXPECT_FALSE(reader.next(line));
}

}  // namespace
}  // namespace engram
