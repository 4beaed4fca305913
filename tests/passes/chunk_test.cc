// How prompts are cut into chunks.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <random>
#include <set>

#include "passes/chunk.h"

namespace engram {
namespace {

double sum_of(std::span<const PromptSize> prompts, const std::vector<size_t>& chunk,
              double PromptSize::*what) {
  return std::accumulate(chunk.begin(), chunk.end(), 0.0,
                         [&](double sum, size_t i) { return sum + prompts[i].*what; });
}

TEST(CutChunks, EveryPromptOnceInFullChunksOfEqualMasks) {
  std::mt19937 random(7);
  for (int round = 0; round < 50; ++round) {
    std::vector<PromptSize> prompts;
    const size_t count = 1 + random() % 60;
    for (size_t i = 0; i < count; ++i) {
      const auto tokens = static_cast<int64_t>(3 + random() % 30);
      const double share =
          static_cast<double>(tokens) / static_cast<double>(20 + random() % 3 * 80);
      prompts.push_back(
          {tokens, static_cast<int64_t>(1 + random() % 2), share, static_cast<double>(tokens)});
    }
    std::set<size_t> seen;
    double last = std::numeric_limits<double>::infinity();
    for (const std::vector<size_t>& chunk : cut_chunks(prompts)) {
      ASSERT_FALSE(chunk.empty());
      for (size_t i = 0; i < chunk.size(); ++i) {
        EXPECT_TRUE(seen.insert(chunk[i]).second);
        EXPECT_EQ(prompts[chunk[i]].masks, prompts[chunk.front()].masks);
        EXPECT_LE(prompts[chunk[i]].tokens, prompts[chunk[i == 0 ? 0 : i - 1]].tokens);
      }
      EXPECT_TRUE(chunk.size() == 1 || sum_of(prompts, chunk, &PromptSize::share) <= 1 + 1e-6);
      const double work = sum_of(prompts, chunk, &PromptSize::work);
      EXPECT_LE(work, last);
      last = work;
    }
    EXPECT_EQ(seen.size(), count);
  }
}

TEST(CutChunks, AboutEquallyFull) {
  // 100 prompts of a tenth: ten chunks would do, twelve can be dealt to two and to four workers.
  const std::vector<PromptSize> prompts(100, PromptSize{8, 1, 0.1, 8});
  const std::vector<std::vector<size_t>> chunks = cut_chunks(prompts);
  EXPECT_EQ(chunks.size(), 12U);
  const auto [fewest, most] = std::ranges::minmax(chunks, {}, &std::vector<size_t>::size);
  EXPECT_LE(most.size() - fewest.size(), 1U);
  // Few prompts share a chunk; a few more are dealt to some workers.
  EXPECT_EQ(cut_chunks(std::vector<PromptSize>(4, PromptSize{8, 1, 0.01, 8})).size(), 1U);
  EXPECT_EQ(cut_chunks(std::vector<PromptSize>(30, PromptSize{8, 1, 0.01, 8})).size(), 4U);
  EXPECT_EQ(cut_chunks(std::vector<PromptSize>(3, PromptSize{8, 1, 5, 8})).size(), 3U);
  EXPECT_TRUE(cut_chunks({}).empty());
}

}  // namespace
}  // namespace engram
