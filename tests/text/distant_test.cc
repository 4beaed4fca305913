// Folders of distant texts: every usable line is read, every other one is named.
#include "text/distant.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "engram/base/lines.h"
#include "engram/error.h"
#include "support/packed.h"

namespace engram {
namespace {

namespace fs = std::filesystem;

class Distant : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "engram-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }
  [[nodiscard]] std::vector<DistantFact> read(std::vector<FactProblem>& problems) const {
    std::vector<DistantFact> facts;
    for (const DistantFile& file : distant_files(folder_)) {
      read_distant(file, problems, [&](DistantFact&& fact) { facts.push_back(std::move(fact)); });
    }
    return facts;
  }
  fs::path folder_;
};

const std::string kGood =
    R"({"relation":"P36","subject":"France","object":"Paris","in_pararel":true,)"
    R"("with_both":["Paris is in France."," "],"with_subject":["France is large.","So is it."]})"
    "\n";

TEST_F(Distant, PlainAndPackedFilesGiveTheSame) {
  write("P36.jsonl", kGood);
  std::vector<FactProblem> problems;
  const std::vector<DistantFact> plain = read(problems);
  fs::remove(folder_ / "P36.jsonl");
  write("P36.jsonl.xz", testing::xz_packed(kGood));
  const std::vector<DistantFact> unpacked = read(problems);
  EXPECT_TRUE(problems.empty());
  ASSERT_EQ(plain.size(), 1U);
  ASSERT_EQ(unpacked.size(), 1U);
  for (const DistantFact& fact : {plain[0], unpacked[0]}) {
    EXPECT_EQ(fact.relation, "P36");
    EXPECT_EQ(fact.subject, "France");
    EXPECT_EQ(fact.object, "Paris");
    EXPECT_EQ(fact.with_both, std::vector<std::string>{"Paris is in France."});
    EXPECT_EQ(fact.with_subject, (std::vector<std::string>{"France is large.", "So is it."}));
  }
}

TEST_F(Distant, WhatCannotBeUsedIsNamedByItsLine) {
  const auto changed = [](const std::string& from, const std::string& to) {
    std::string line = kGood;
    return line.replace(line.find(from), from.size(), to);
  };
  write("P36.jsonl", kGood + "\n" + "{\"relation\":\n" + "[]\n" + changed("P36", "P37") +
                         changed("\"object\"", "\"objects\"") +
                         changed("[\"Paris", "7,\"w\":[\"Paris") + changed("\"So is it.\"", "3") +
                         kGood + changed("France\"", "Gaul\""));
  std::vector<FactProblem> problems;
  const std::vector<DistantFact> facts = read(problems);
  ASSERT_EQ(facts.size(), 2U);
  EXPECT_EQ(facts[1].subject, "Gaul");
  const std::vector<std::pair<int64_t, std::string>> expected = {
      {3, "not valid JSON"},
      {4, "expected a JSON object"},
      {5, "got the relation \"P37\", expected \"P36\""},
      {6, "got no \"object\""},
      {7, "as \"with_both\", expected a list"},
      {8, "\"with_subject\", expected a string"},
      {9, "the fact of line 1 again"}};
  ASSERT_EQ(problems.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(problems[i].line, expected[i].first);
    EXPECT_NE(problems[i].message.find(expected[i].second), std::string::npos)
        << problems[i].message;
    EXPECT_EQ(problems[i].file, (folder_ / "P36.jsonl").string());
  }
}

TEST_F(Distant, FoldersWithoutAFilePerRelationAreRefused) {
  EXPECT_THROW(distant_files(folder_), InputError);
  EXPECT_THROW(distant_files(folder_ / "nowhere"), FileError);
  write("SOURCES", "not one of them");
  write("P9.jsonl", kGood);
  write("P36.jsonl", kGood);
  ASSERT_EQ(distant_files(folder_).size(), 2U);
  EXPECT_EQ(distant_files(folder_)[0].relation, "P36");
  write("P36.jsonl.xz", testing::xz_packed(kGood));
  EXPECT_THROW(distant_files(folder_), InputError);
  fs::remove(folder_ / "P36.jsonl.xz");
  write("P37.jsonl.gz", testing::gz_packed(kGood));
  write("P38.jsonl.zst", testing::zst_packed(kGood));
  EXPECT_EQ(distant_files(folder_).size(), 4U);
  write("P39.jsonl.bz2", "BZh9");  // not passed over: refused when it is read
  EXPECT_EQ(distant_files(folder_).size(), 5U);
}

TEST_F(Distant, LinesAreCutAtTheBoundAndToldByTheirLength) {
  const std::string text = std::string(200'000, 'a') + "\n\nlast";
  write("a.txt", text);
  write("a.txt.xz", testing::xz_packed(text));
  for (const char* name : {"a.txt", "a.txt.xz"}) {
    LineReader lines(folder_ / name, 100);
    std::string line;
    ASSERT_TRUE(lines.next(line));
    EXPECT_EQ(line, std::string(100, 'a'));
    EXPECT_EQ(lines.length(), 200'000U);
    ASSERT_TRUE(lines.next(line));
    EXPECT_EQ(line, "");
    ASSERT_TRUE(lines.next(line));
    EXPECT_EQ(line, "last");
    EXPECT_FALSE(lines.next(line));
  }
  write("b.xz", testing::xz_packed(text).substr(0, 60));
  EXPECT_THROW(
      {
        LineReader lines(folder_ / "b.xz");
        std::string line;
        while (lines.next(line)) {
        }
      },
      InputError);
}

}  // namespace
}  // namespace engram
