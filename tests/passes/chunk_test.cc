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

PromptSize size_of(int64_t tokens, int64_t masks, double share) {
  PromptSize size;
  size.tokens = tokens;
  size.targets = masks;
  size.asked = masks;
  size.share = share;
  size.work = static_cast<double>(tokens);
  return size;
}

TEST(CutChunks, EveryPromptOnceInFullChunksOfEqualKind) {
  std::mt19937 random(7);
  for (int round = 0; round < 50; ++round) {
    std::vector<PromptSize> prompts;
    const size_t count = 1 + random() % 60;
    for (size_t i = 0; i < count; ++i) {
      const auto tokens = static_cast<int64_t>(3 + random() % 30);
      const double share =
          static_cast<double>(tokens) / static_cast<double>(20 + random() % 3 * 80);
      prompts.push_back(size_of(tokens, static_cast<int64_t>(1 + random() % 2), share));
      // Of neurons apart: one more target row, unless they are where the answer is asked.
      prompts.back().apart = random() % 3 == 0;
      if (prompts.back().apart) prompts.back().targets += static_cast<int64_t>(random() % 2);
    }
    std::set<size_t> seen;
    double last = std::numeric_limits<double>::infinity();
    for (const std::vector<size_t>& chunk : cut_chunks(prompts)) {
      ASSERT_FALSE(chunk.empty());
      for (size_t i = 0; i < chunk.size(); ++i) {
        EXPECT_TRUE(seen.insert(chunk[i]).second);
        const PromptSize& first = prompts[chunk.front()];
        EXPECT_EQ(prompts[chunk[i]].targets, first.targets);
        EXPECT_EQ(prompts[chunk[i]].asked, first.asked);
        EXPECT_EQ(prompts[chunk[i]].apart, first.apart);
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
  const std::vector<PromptSize> prompts(100, size_of(8, 1, 0.1));
  const std::vector<std::vector<size_t>> chunks = cut_chunks(prompts);
  EXPECT_EQ(chunks.size(), 12U);
  const auto [fewest, most] = std::ranges::minmax(chunks, {}, &std::vector<size_t>::size);
  EXPECT_LE(most.size() - fewest.size(), 1U);
  // Few prompts share a chunk; a few more are dealt to some workers.
  EXPECT_EQ(cut_chunks(std::vector<PromptSize>(4, size_of(8, 1, 0.01))).size(), 1U);
  EXPECT_EQ(cut_chunks(std::vector<PromptSize>(30, size_of(8, 1, 0.01))).size(), 4U);
  EXPECT_EQ(cut_chunks(std::vector<PromptSize>(3, size_of(8, 1, 5))).size(), 3U);
  EXPECT_TRUE(cut_chunks({}).empty());
}

TEST(MakeChunk, TargetRowsAreTheAnswersAndTheNeurons) {
  Cloze before{{1, 2, 3, 4, 5}, {3, 4}, {8, 9}};
  before.neurons_at = 1;
  Cloze behind{{1, 2, 3, 4, 5, 6}, {0, 1}, {8, 9}};
  behind.neurons_at = 5;
  const Chunk apart = make_chunk(std::vector<Cloze>{before, behind}, {0, 1});
  EXPECT_EQ(apart.targets, 3);
  EXPECT_EQ(apart.asked, 2);
  EXPECT_EQ(apart.position, (std::vector<int64_t>{1, 3, 4, 0, 1, 5}));
  EXPECT_EQ(apart.neuron_row, (std::vector<int64_t>{0, 2}));
  EXPECT_EQ(apart.asked_rows({1, 0}), (std::vector<int64_t>{0, 1, 4, 5}));
  EXPECT_EQ(apart.answer, (std::vector<int64_t>{8, 9, 8, 9}));
  EXPECT_TRUE(apart.has_neurons(0, 0) && !apart.has_neurons(0, 2) && apart.has_neurons(1, 2));
  EXPECT_EQ(apart.first_neuron_row(1), 5);

  Cloze at = before;
  at.neurons_at = 3;  // where the answer is asked: no further row
  const Chunk same = make_chunk(std::vector<Cloze>{at}, {0});
  EXPECT_EQ(same.targets, 2);
  EXPECT_EQ(same.asked_rows({0}), (std::vector<int64_t>{0, 1}));
  EXPECT_TRUE(same.has_neurons(0, 0) && !same.has_neurons(0, 1));

  before.neurons_at.reset();
  const Chunk plain = make_chunk(std::vector<Cloze>{before}, {0});
  EXPECT_EQ(plain.targets, 2);
  EXPECT_TRUE(plain.asked_row.empty() && plain.neuron_row.empty());
  EXPECT_EQ(plain.neuron_rows(), 2);
}

}  // namespace
}  // namespace engram
