// The experiment "memories" against the measures themselves.
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "engram/reading/memories.h"
#include "experiments/memories/rows.h"
#include "prepared_run.h"
#include "support/temporary.h"

namespace engram::testing {
namespace {

using experiments::memories::KeyRow;

class RunMemories : public ::testing::Test {
 protected:
  RunMemories() : prepared_(first_facts({"P106"}, 3), "memories") {
    // Enough lines that an n-gram in 3 of them is rare.
    std::ifstream all(shipped().folder / "corpus.txt");
    std::ofstream text(corpus_);
    std::string line;
    for (int i = 0; i < 500 && std::getline(all, line); ++i) text << line << "\n";
    prepared_.options.corpus = corpus_;
    prepared_.options.memory_keys = 6;
  }
  [[nodiscard]] std::vector<KeyRow> rows(int threads) {
    const MeasureOptions measure{threads, 0, int64_t{1} << 30};
    std::vector<KeyRow> found;
    for (const Row& row :
         rows_of(run_all(make_experiment("memories"), prepared_.context(measure), ""),
                 KeyRow::kTable)) {
      found.push_back(from_row<KeyRow>(row));
    }
    return found;
  }
  TemporaryFolder folder_;
  const std::string corpus_ = folder_.file("corpus.txt");
  PreparedRun prepared_;
};

TEST_F(RunMemories, RowsAreTheMeasuresOfTheSameKeys) {
  const std::vector<KeyRow> found = rows(2);
  MemoriesOptions options;
  options.corpus.file = corpus_;
  options.corpus.window = memories_window(shipped().model.config());
  options.keys = 6;
  options.masks = 1;
  options.seed = prepared_.options.seed;
  const Memories expected = measure_memories(shipped().model, shipped().tokenizer, options);
  ASSERT_EQ(found.size(), expected.keys.size());
  ASSERT_EQ(found.size(), static_cast<size_t>(6 * shipped().model.config().layers));
  bool any_pattern = false;
  for (size_t i = 0; i < found.size(); ++i) {
    const KeyRow& row = found[i];
    const MemoryKey& key = expected.keys[i];
    EXPECT_EQ(neuron_of(row), key.neuron);
    EXPECT_EQ(row.triggers, static_cast<int64_t>(key.triggers.size()));
    EXPECT_EQ(row.has_pattern, key.has_pattern);
    EXPECT_EQ(row.direction_pattern, key.direction_pattern);
    EXPECT_EQ(row.shuffled_pattern, key.shuffled_pattern);
    EXPECT_EQ(row.agrees.has_value(), key.triggered);
    EXPECT_EQ(row.rank.value_or(0), key.rank);
    EXPECT_NEAR(row.top_p, key.top_p, 1e-9);
    EXPECT_EQ(row.pattern.has_value(), !key.pattern.empty());
    any_pattern = any_pattern || row.has_pattern;
  }
  EXPECT_TRUE(any_pattern);  // else nothing was compared
}

TEST_F(RunMemories, DoNotDependOnThreads) {
  const std::vector<KeyRow> one = rows(1);
  const std::vector<KeyRow> three = rows(3);
  ASSERT_EQ(one.size(), three.size());
  for (size_t i = 0; i < one.size(); ++i) {
    EXPECT_EQ(one[i].trigger, three[i].trigger);
    EXPECT_EQ(one[i].rank, three[i].rank);
    EXPECT_EQ(one[i].top_p, three[i].top_p);
  }
}

TEST_F(RunMemories, NeedACorpus) {
  prepared_.options.corpus.clear();
  EXPECT_TRUE(make_experiment("memories")->skipped(prepared_.context()).has_value());
}

}  // namespace
}  // namespace engram::testing
