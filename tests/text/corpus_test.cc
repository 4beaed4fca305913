// Words of ordinary text masked; facts whose answer stands in the prompt.
#include "engram/text/corpus.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "engram/error.h"
#include "engram/model/config.h"
#include "engram/text/prepare.h"
#include "support/temporary.h"

namespace engram {
namespace {

TEST(Corpus, SentencesAreASeededSampleWithOneTokenMasked) {
  const std::filesystem::path model = ENGRAM_SOURCE_DIR "/tests/data/oracle/bert-tiny";
  const Tokenizer tokenizer = Tokenizer::load(model);
  const int64_t most = read_config(model).max_tokens();
  const std::vector<std::string> words = {"capital", "city", "germany", "river", "company"};
  std::set<int64_t> allowed;
  for (const std::string& word : words) allowed.insert(*tokenizer.id_of(word));
  std::string text = "\n1234 5\nzzqx\nthe capital is [MASK]\n";
  std::string too_long;
  for (int i = 0; i < 50; ++i) too_long += "city ";
  text += too_long + "\n";
  for (int i = 0; i < 300; ++i) text += words[static_cast<size_t>(i) % 5] + " zzqx 7.\n";
  const testing::TemporaryFolder folder;
  const auto write = [&](const std::string& content) {
    const std::string path = folder.file("corpus.txt");
    std::ofstream(path, std::ios::binary) << content;
    return path;
  };
  const std::string path = write(text);
  std::set<std::vector<std::vector<int64_t>>> samples;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    const CorpusPrompts found = sample_corpus(path, tokenizer, most, 20, seed);
    EXPECT_EQ(found.lines, 305);
    ASSERT_EQ(found.prompts.size(), 20U);
    std::vector<std::vector<int64_t>> answers;
    for (const Cloze& cloze : found.prompts) {
      ASSERT_EQ(cloze.positions.size(), 1U);
      ASSERT_EQ(cloze.answer.size(), 1U);
      EXPECT_EQ(cloze.ids[static_cast<size_t>(cloze.positions[0])], tokenizer.mask_id());
      EXPECT_TRUE(allowed.contains(cloze.answer[0])) << "zzqx is several tokens";
      answers.push_back(cloze.answer);
    }
    samples.insert(answers);
    const CorpusPrompts again = sample_corpus(path, tokenizer, most, 20, seed);
    EXPECT_EQ(again.prompts.front().answer, found.prompts.front().answer);
  }
  EXPECT_EQ(samples.size(), 4U) << "the seed decides";
  EXPECT_EQ(sample_corpus(path, tokenizer, most, 1000, 0).prompts.size(), 300U);
  EXPECT_THROW(sample_corpus(write("\n12\n"), tokenizer, most, 20, 0), InputError);
  EXPECT_THROW(sample_corpus(folder.file(""), tokenizer, most, 20, 0), FileError);
}

TEST(SubjectHoldsObject, AsAWholeWord) {
  const auto holds = [](const char* subject, const char* object) {
    Fact fact;
    fact.subject = subject;
    fact.object = object;
    return subject_holds_object(fact);
  };
  EXPECT_TRUE(holds("Nokia Lumia 800", "Nokia"));
  EXPECT_TRUE(holds("the nokia-phone", "Nokia"));
  EXPECT_TRUE(holds("New York City", "New York"));
  EXPECT_TRUE(holds("Parisian Paris", "Paris"));
  EXPECT_FALSE(holds("Parisian", "Paris"));
  EXPECT_FALSE(holds("France", "Paris"));
  EXPECT_FALSE(
      holds("Fran\xC3\xA7"
            "ois",
            "ois"));
}

}  // namespace
}  // namespace engram
