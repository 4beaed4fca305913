// What locate writes can be read again; what is wrong in a file is named with its line.
#include "engram/evaluation/located.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <set>

#include "engram/error.h"
#include "engram/evaluation/prepare.h"

namespace engram {
namespace {

class Folder : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "engram-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  [[nodiscard]] std::filesystem::path write(const std::string& text) const {
    const std::filesystem::path path = folder_ / "neurons.jsonl";
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }
  /// The message of the error that reading `text` gives.
  [[nodiscard]] std::string message(const std::string& text) const {
    try {
      read_located(write(text));
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  }
  std::filesystem::path folder_;
};
using Located = Folder;

LocatedFact some_fact() {
  LocatedFact fact;
  fact.relation = "P36";
  fact.subject = "Fran\"ce\n\xC3\xA9";
  fact.object = "Paris";
  fact.origin = "facts.jsonl:3";
  fact.prompts = {{"a [MASK].", 0.5, 0.25F, 2, true, 7}};
  fact.held_out = {"b [MASK]."};
  fact.neurons = {{{2, 30}, 3, 0.5F}, {{1, 17}, 4, 0.25F}};
  return fact;
}

TEST_F(Located, LinesCanBeReadAgain) {
  LocatedRelation relation;
  relation.relation = "P36";
  relation.selection.mean = std::numeric_limits<double>::quiet_NaN();  // null in JSON
  LocateSummary summary;
  const LocatedFile file = read_located(
      write("{\"schema\":\"engram.locate/1\",\"record\":\"run\",\"model\":\"m\",\"layers\":3,"
            "\"d_ff\":40}\n" +
            located_fact_line(some_fact()) + "\n\n" + located_relation_line(relation) + "\n" +
            located_problem_line({"f", 3, "bad"}) + "\n" + located_summary_line(summary)));
  ASSERT_EQ(file.facts.size(), 1U);
  EXPECT_EQ(file.facts[0].subject, some_fact().subject);
  EXPECT_EQ(file.facts[0].neurons, (std::vector<NeuronId>{{1, 17}, {2, 30}}));
  EXPECT_EQ(file.facts[0].prompts, std::vector<std::string>{"a [MASK]."});
  EXPECT_EQ(file.facts[0].held_out, std::vector<std::string>{"b [MASK]."});
  EXPECT_EQ(file.model, "m");
  EXPECT_EQ(file.layers, 3);
  EXPECT_EQ(file.d_ff, 40);
  EXPECT_EQ(located_fact_line(some_fact()).find('\n'), std::string::npos);
}

TEST_F(Located, ProblemsNameTheLine) {
  const std::string good = located_fact_line(some_fact());
  EXPECT_NE(message(good + "\n{\"schema\":").find("neurons.jsonl:2: "), std::string::npos);
  EXPECT_NE(message("[]").find(":1: is no JSON object"), std::string::npos);
  EXPECT_NE(message("{\"schema\":\"engram.intervene/1\"}").find("expected \"engram.locate/1\""),
            std::string::npos);
  EXPECT_NE(message("{\"schema\":\"engram.locate/1\",\"record\":\"run\"}").find("holds no fact"),
            std::string::npos);
  EXPECT_NE(message("").find("holds no fact"), std::string::npos);
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return message(text);
  };
  EXPECT_NE(changed("\"relation\"", "\"relations\"").find("has no text"), std::string::npos);
  EXPECT_NE(changed("\"neuron\":30", "\"neuron\":-1").find("is -1"), std::string::npos);
  EXPECT_NE(changed("\"neuron\":30", "\"neuron\":3.5").find("no whole number"), std::string::npos);
  EXPECT_NE(changed("{\"layer\":2,\"neuron\":30", "{\"layer\":1,\"neuron\":17").find("twice"),
            std::string::npos);
  EXPECT_NE(changed("\"prompts\":[{\"prompt\"", "\"prompt\":[{\"prompt\"")
                .find("has no list \"prompts\""),
            std::string::npos);
  EXPECT_NE(changed("{\"prompt\":", "{\"text\":").find("has no text \"prompt\""),
            std::string::npos);
  EXPECT_NE(changed("[\"b [MASK].\"]", "[3]").find("no text"), std::string::npos);
  EXPECT_NE(changed("\"held_out\"", "\"held\"").find("has no list \"held_out\""),
            std::string::npos);
  EXPECT_THROW(read_located(folder_ / "missing.jsonl"), FileError);
}

TEST(ParseNeurons, ListsGivenByHand) {
  EXPECT_EQ(parse_neurons("3:17"), (std::vector<NeuronId>{{3, 17}}));
  EXPECT_EQ(parse_neurons("5:201,3:17,5:201"), (std::vector<NeuronId>{{3, 17}, {5, 201}}));
  for (const char* wrong :
       {"", "3", "3:", ":3", "3:1,", "3:1;4:2", "-1:2", "1:-2", "a:b", "99999999999:1"}) {
    EXPECT_THROW(parse_neurons(wrong), UsageError) << wrong;
  }
}

using Corpus = Folder;

TEST_F(Corpus, SentencesAreASeededSampleWithOneTokenMasked) {
  const std::filesystem::path model = ENGRAM_SOURCE_DIR "/tests/data/oracle/bert-tiny";
  const Tokenizer tokenizer = Tokenizer::load(model);
  const ModelConfig config = Model::load(model).config();
  const std::vector<std::string> words = {"capital", "city", "germany", "river", "company"};
  std::set<int64_t> allowed;
  for (const std::string& word : words) allowed.insert(*tokenizer.id_of(word));
  std::string text = "\n1234 5\nzzqx\nthe capital is [MASK]\n";
  std::string too_long;
  for (int i = 0; i < 50; ++i) too_long += "city ";
  text += too_long + "\n";
  for (int i = 0; i < 300; ++i) text += words[static_cast<size_t>(i) % 5] + " zzqx 7.\n";
  const std::filesystem::path path = write(text);
  std::set<std::vector<std::vector<int64_t>>> samples;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    const CorpusPrompts found = sample_corpus(path, tokenizer, config, 20, seed);
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
    const CorpusPrompts again = sample_corpus(path, tokenizer, config, 20, seed);
    EXPECT_EQ(again.prompts.front().answer, found.prompts.front().answer);
  }
  EXPECT_EQ(samples.size(), 4U) << "the seed decides";
  EXPECT_EQ(sample_corpus(path, tokenizer, config, 1000, 0).prompts.size(), 300U);
  EXPECT_THROW(sample_corpus(write("\n12\n"), tokenizer, config, 20, 0), InputError);
  EXPECT_THROW(sample_corpus(folder_, tokenizer, config, 20, 0), FileError);
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
