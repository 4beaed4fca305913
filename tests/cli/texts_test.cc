// `engram texts`: extreme texts of neurons, the activation marked per token.
#include "cli/texts.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/run_engram.h"

namespace engram::cli {
namespace {

using engram::testing::Outcome;
using engram::testing::run_engram;
using engram::testing::TemporaryFolder;
using engram::testing::tiny_model;
using engram::testing::write_text;

TEST(MarkedText, BracketsStandAroundWhatIsActive) {
  TextExample example;
  example.activation = 2;
  example.tokens = {{"Par", 0.5F}, {"##is", 2.0F}, {"is", 1.0F}, {"old", -3.0F}};
  EXPECT_EQ(marked_text(example, false, Marking::kBrackets), "Par[is 2.00] [is] old");
  example.activation = -3;
  EXPECT_EQ(marked_text(example, false, Marking::kBrackets), "Paris is [old -3.00]");
  const std::string coloured = marked_text(example, false, Marking::kColour);
  EXPECT_TRUE(coloured.starts_with("Paris is \x1b["));
  EXPECT_TRUE(coloured.ends_with("mold\x1b[0m"));
}

TEST(MarkedText, ByteLevelTokensReadAsText) {
  TextExample example;
  example.activation = 1;
  example.tokens = {{"Der", 0},
                    {"\xC4\xA0"
                     "Flu\xC3\x83\xC5\x81",
                     1},
                    {"\xC4\xA0", 1}};
  EXPECT_EQ(marked_text(example, true, Marking::kBrackets), "Der [Flu\xC3\x9F 1.00] ");
}

TEST(TextsCommand, PrintsTextsAndJson) {
  const TemporaryFolder folder;
  const std::string corpus = folder.file("corpus.txt");
  write_text(corpus, "The sea is old.\nA king was born.\n\nMusic of the sea.\n");
  const Outcome plain =
      run_engram({"texts", tiny_model(), "--neurons", "2:7,0:1", "--corpus", corpus, "--top", "2"});
  EXPECT_EQ(plain.code, 0) << plain.err;
  EXPECT_NE(plain.out.find("3 texts, 12 words, 4 lines"), std::string::npos) << plain.out;
  EXPECT_NE(plain.out.find("neuron 2:7, most active"), std::string::npos);
  EXPECT_NE(plain.err.find("words/s"), std::string::npos);
  const Outcome json = run_engram({"texts", tiny_model(), "--neurons", "2:7", "--corpus", corpus,
                                   "--top", "2", "--limit", "2", "--json", "--quiet"});
  EXPECT_EQ(json.code, 0) << json.err;
  const auto out = nlohmann::json::parse(json.out);
  EXPECT_EQ(out["schema"], "engram.texts/1");
  EXPECT_EQ(out["lines"], 2);
  ASSERT_EQ(out["neurons"].size(), 1U);
  ASSERT_EQ(out["neurons"][0]["highest"].size(), 2U);
  EXPECT_GE(out["neurons"][0]["highest"][0]["activation"],
            out["neurons"][0]["highest"][1]["activation"]);
}

TEST(TextsCommand, RefusesWhatCannotBeMeant) {
  const TemporaryFolder folder;
  EXPECT_EQ(run_engram({"texts", tiny_model()}).code, 2);
  const Outcome corpus = run_engram({"texts", tiny_model(), "--neurons", "0:1"});
  EXPECT_EQ(corpus.code, 2);
  EXPECT_NE(corpus.err.find("has no corpus.txt"), std::string::npos) << corpus.err;
  EXPECT_EQ(run_engram({"texts", tiny_model(), "--neurons", "0-1", "--corpus", "x"}).code, 2);
  EXPECT_EQ(
      run_engram({"texts", tiny_model(), "--neurons", "0:1", "--corpus", folder.file("nowhere")})
          .code,
      4);
}

}  // namespace
}  // namespace engram::cli
