#include "text/text_positions.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "engram/error.h"
#include "engram/model/config.h"

namespace engram {
namespace {

namespace fs = std::filesystem;

class TextPositions : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const fs::path folder = fs::path(ENGRAM_SOURCE_DIR) / "models/engram-base";
    tokenizer_ = std::make_unique<Tokenizer>(Tokenizer::load(folder));
    config_ = read_config(folder);
  }
  static void TearDownTestSuite() { tokenizer_.reset(); }
  void TearDown() override { fs::remove(path_); }
  void write(const std::string& text) { std::ofstream(path_) << text; }
  [[nodiscard]] std::vector<Cloze> positions(int64_t count, uint64_t seed = 0,
                                             int64_t window = 64) const {
    return text_positions(path_, *tokenizer_, prompt_form(config_), {count, window, seed});
  }
  /// The prompt with its answer in the place of the mask.
  static std::vector<int64_t> unmasked(const Cloze& cloze) {
    std::vector<int64_t> ids = cloze.ids;
    EXPECT_EQ(ids[static_cast<size_t>(cloze.positions[0])], tokenizer_->mask_id());
    ids[static_cast<size_t>(cloze.positions[0])] = cloze.answer[0];
    return ids;
  }

  inline static std::unique_ptr<Tokenizer> tokenizer_;
  inline static ModelConfig config_;
  fs::path path_ =
      fs::temp_directory_path() /
      ("engram_positions_" +
       std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()) + ".txt");
};

TEST_F(TextPositions, AnswersStandInTheTextOnceEach) {
  const std::vector<std::string> lines = {"Paris is the capital of France.",
                                          "The river flows through the old town, and on."};
  write(lines[0] + "\n\n" + lines[1] + "\n");
  const std::vector<Cloze> found = positions(1000);
  std::map<std::vector<int64_t>, int64_t> counted;
  for (const std::string& line : lines) counted[tokenizer_->encode(line)] = 0;
  std::vector<std::pair<std::vector<int64_t>, int64_t>> seen;
  for (const Cloze& cloze : found) {
    const std::vector<int64_t> ids = unmasked(cloze);
    ASSERT_TRUE(counted.contains(ids));
    ++counted[ids];
    seen.emplace_back(ids, cloze.positions[0]);
  }
  std::ranges::sort(seen);
  EXPECT_EQ(std::ranges::adjacent_find(seen), seen.end());
  // So many draws find every token but the two special ones of each line.
  for (const auto& [ids, number] : counted) {
    EXPECT_EQ(number, static_cast<int64_t>(ids.size()) - 2);
  }
}

TEST_F(TextPositions, AllTokensHaveAboutTheSameChance) {
  std::string text;
  for (int i = 0; i < 400; ++i)
    text += "one two three\nall that was said by the king of the land\n";
  write(text);
  std::map<size_t, int64_t> by_length;
  const std::vector<Cloze> found = positions(1500, 7);
  ASSERT_EQ(found.size(), 1500U);
  for (const Cloze& cloze : found) ++by_length[cloze.ids.size()];
  ASSERT_EQ(by_length.size(), 2U);
  const size_t shorter = by_length.begin()->first - 2;
  const size_t longer = by_length.rbegin()->first - 2;
  // Bytes per token differ between the lines, and so do their shares a little.
  const double expected = static_cast<double>(longer) / static_cast<double>(longer + shorter);
  EXPECT_NEAR(static_cast<double>(by_length.rbegin()->second) / 1500, expected, 0.1);
}

TEST_F(TextPositions, ALongLineIsCutAroundThePosition) {
  std::string text;
  for (int i = 0; i < 4000; ++i) text += "word and ";
  write(text);
  const std::vector<Cloze> found = positions(50, 3, 20);
  ASSERT_EQ(found.size(), 50U);
  for (const Cloze& cloze : found) {
    EXPECT_EQ(cloze.ids.size(), 20U);
    EXPECT_GT(cloze.positions[0], 0);
    EXPECT_LT(cloze.positions[0], 19);
  }
}

TEST_F(TextPositions, TheSeedDecides) {
  std::string text;
  for (int i = 0; i < 300; ++i)
    text += "The number " + std::to_string(i) + " comes after another.\n";
  write(text);
  const auto ids = [&](uint64_t seed) {
    std::vector<std::vector<int64_t>> all;
    for (const Cloze& cloze : positions(40, seed)) all.push_back(cloze.ids);
    return all;
  };
  EXPECT_EQ(ids(1), ids(1));
  EXPECT_NE(ids(1), ids(2));
}

TEST_F(TextPositions, ATextWithoutAPositionIsRefused) {
  write("\n\n\n");
  EXPECT_THROW((void)positions(10), InputError);
  write("");
  EXPECT_THROW((void)positions(10), InputError);
  fs::remove(path_);
  EXPECT_THROW((void)positions(10), FileError);
  EXPECT_THROW(text_positions(fs::temp_directory_path(), *tokenizer_, prompt_form(config_)),
               FileError);
}

TEST_F(TextPositions, OfACausalModelAreTheTextUpToThem) {
  const fs::path folder = fs::path(ENGRAM_SOURCE_DIR) / "tests/data/oracle/llama-tiny";
  const Tokenizer tokenizer = Tokenizer::load(folder);
  const PromptForm form = prompt_form(read_config(folder));
  const std::string line = "The capital of France is Paris, and the river is old and long.";
  write(line + "\n");
  const std::vector<int64_t> all = tokenizer.encode(line);
  const std::vector<int64_t> plain = tokenizer.encode(line, false);
  ASSERT_EQ(all.size(), plain.size() + 1) << "a begin token";
  std::set<size_t> asked;
  for (const Cloze& cloze : text_positions(path_, tokenizer, form, {1000, 64, 3})) {
    ASSERT_EQ(cloze.positions, std::vector{static_cast<int64_t>(cloze.ids.size()) - 1});
    ASSERT_TRUE(std::equal(cloze.ids.begin(), cloze.ids.end(), all.begin()));
    EXPECT_EQ(cloze.answer, std::vector{all[cloze.ids.size()]});
    EXPECT_TRUE(asked.insert(cloze.ids.size()).second) << "twice";
  }
  EXPECT_GT(asked.size(), plain.size() / 2);
  EXPECT_TRUE(asked.contains(1)) << "the first token follows the begin token";
  // A window ends where the position is.
  for (const Cloze& cloze : text_positions(path_, tokenizer, form, {1000, 5, 3})) {
    ASSERT_LE(cloze.ids.size(), 5U);
    EXPECT_EQ(cloze.ids.front(), all.front());
    const auto found =
        std::search(plain.begin(), plain.end(), cloze.ids.begin() + 1, cloze.ids.end());
    EXPECT_NE(found, plain.end());
  }
}

}  // namespace
}  // namespace engram
