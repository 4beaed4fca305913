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
  const PromptForm most = prompt_form(read_config(model));
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

TEST(Corpus, ACausalModelReadsASentenceUpToTheWord) {
  const std::filesystem::path model = ENGRAM_SOURCE_DIR "/tests/data/oracle/gpt2-tiny";
  const Tokenizer tokenizer = Tokenizer::load(model);
  const PromptForm form = prompt_form(read_config(model));
  ASSERT_TRUE(form.causal);
  const testing::TemporaryFolder folder;
  const std::string path = folder.file("corpus.txt");
  const std::vector<std::string> lines = {"The capital of France is the city of Paris now",
                                          "A river flows, and the city is old"};
  std::ofstream(path, std::ios::binary) << lines[0] << "\n" << lines[1] << "\n";
  std::set<size_t> lengths;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    const CorpusPrompts found = sample_corpus(path, tokenizer, form, 20, seed);
    ASSERT_EQ(found.prompts.size(), 2U);
    for (size_t i = 0; i < 2; ++i) {
      const Cloze& cloze = found.prompts[i];
      // With its answer it is the start of the sentence as the tokenizer reads it.
      std::vector<int64_t> ids = cloze.ids;
      ids.insert(ids.end(), cloze.answer.begin(), cloze.answer.end());
      const std::vector<int64_t> all = tokenizer.encode(lines[i]);
      ASSERT_LE(ids.size(), all.size());
      EXPECT_TRUE(std::equal(ids.begin(), ids.end(), all.begin()));
      EXPECT_EQ(cloze.positions, std::vector{static_cast<int64_t>(cloze.ids.size()) - 1});
      lengths.insert(cloze.ids.size());
    }
    EXPECT_FALSE(read_corpus(path, tokenizer, form, 20, seed).prompts.empty());
  }
  EXPECT_GT(lengths.size(), 2U) << "the seed chooses the word";
}

}  // namespace
}  // namespace engram
