// The windows that a corpus is read in.
#include "reading/windows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "engram/error.h"
#include "reading/small_corpus.h"
#include "support/oracle.h"
#include "support/temporary.h"

namespace engram {
namespace {

using testing::TemporaryFolder;

class EveryWindow : public ::testing::TestWithParam<std::string> {
 protected:
  const std::filesystem::path model_ = testing::stored_oracle(GetParam());
  const Tokenizer tokenizer_ = Tokenizer::load(model_);
  const ModelConfig config_ = read_config(model_);
};

std::vector<Window> all_windows(WindowReader& reader, int64_t tokens) {
  std::vector<Window> all;
  for (;;) {
    const std::vector<Window> some = reader.next(tokens);
    if (some.empty()) return all;
    all.insert(all.end(), some.begin(), some.end());
  }
}

TEST_P(EveryWindow, HoldEveryTokenOfEveryLineOnce) {
  const TemporaryFolder folder;
  const std::vector<std::string> lines = testing::made_up_lines(30, 40, 7);
  CorpusOptions options;
  options.file = folder.file("corpus.txt");
  options.window = 12;
  testing::write_corpus(options.file, testing::joined_lines(lines));
  WindowReader reader(tokenizer_, config_, options);
  const std::vector<Window> windows = all_windows(reader, 50);
  size_t at = 0;
  int64_t cut = 0;
  int64_t tokens = 0;
  for (size_t line = 0; line < lines.size(); ++line) {
    const std::vector<int64_t> plain = tokenizer_.encode(lines[line], false);
    const std::vector<int64_t> whole = tokenizer_.encode(lines[line], true);
    std::vector<int64_t> seen;
    int64_t next = -1;
    const size_t first = at;
    for (; at < windows.size() && windows[at].line == static_cast<int64_t>(line) + 1; ++at) {
      const Window& window = windows[at];
      ASSERT_LE(window.ids.size(), 12U);
      const auto begin = window.ids.begin() + window.first;
      if (at > first) {
        EXPECT_EQ(next, *begin) << "the window before says what comes next";
      }
      seen.insert(seen.end(), begin, begin + window.count);
      next = window.next;
      tokens += window.count;
    }
    EXPECT_EQ(next, -1);
    EXPECT_EQ(seen, plain);
    // A line of one window is what the tokenizer makes of it, but for what stands behind a causal
    // model's text.
    if (at == first + 1) {
      const std::vector<int64_t>& ids = windows[first].ids;
      EXPECT_TRUE(std::equal(ids.begin(), ids.end(), whole.begin()));
      if (!config_.causal()) {
        EXPECT_EQ(ids.size(), whole.size());
      }
    } else {
      ++cut;
    }
  }
  EXPECT_EQ(at, windows.size());
  EXPECT_GT(cut, 0);
  EXPECT_EQ(reader.counts().cut, cut);
  EXPECT_EQ(reader.counts().tokens, tokens);
  EXPECT_EQ(reader.counts().lines, 30);
  EXPECT_EQ(reader.counts().windows, static_cast<int64_t>(windows.size()));
}

TEST_P(EveryWindow, SkipsWhatIsNoTextAndStopsAtTheLimit) {
  const TemporaryFolder folder;
  CorpusOptions options;
  options.file = folder.file("corpus.txt");
  testing::write_corpus(options.file, "A sea.\r\n\n \t\nRome \xFF.\nOslo is old.\nA king.\n");
  WindowReader reader(tokenizer_, config_, options);
  const std::vector<Window> windows = all_windows(reader, 1);
  ASSERT_EQ(windows.size(), 3U);
  EXPECT_EQ(windows[0].line, 1);
  EXPECT_EQ(windows[1].line, 5);
  EXPECT_EQ(reader.counts().skipped, 1);
  EXPECT_EQ(reader.counts().words, 2 + 3 + 2);
  options.limit = 4;
  WindowReader limited(tokenizer_, config_, options);
  EXPECT_EQ(all_windows(limited, 1000).size(), 1U);
  EXPECT_EQ(limited.counts().lines, 4);
}

TEST_P(EveryWindow, RefusesWindowsWithoutRoom) {
  const TemporaryFolder folder;
  CorpusOptions options;
  options.file = folder.file("corpus.txt");
  testing::write_corpus(options.file, "A sea.\n");
  options.window = 0;
  EXPECT_THROW(WindowReader(tokenizer_, config_, options), UsageError);
  options.window = 1'000'000;  // the model's longest prompt stands in
  WindowReader reader(tokenizer_, config_, options);
  EXPECT_EQ(all_windows(reader, 10).size(), 1U);
}

INSTANTIATE_TEST_SUITE_P(, EveryWindow, ::testing::ValuesIn(testing::stored_oracles()),
                         testing::test_name);

}  // namespace
}  // namespace engram
