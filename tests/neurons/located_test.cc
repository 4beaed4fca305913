// What locate writes can be read again; what is wrong in a file is named with its line.
#include "engram/neurons/located.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "engram/error.h"

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

}  // namespace
}  // namespace engram
