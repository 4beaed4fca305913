// `engram lens`: what it prints, and that it ends where `predict` does.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/run_engram.h"

namespace engram::testing {
namespace {

using nlohmann::json;
using Words = std::vector<std::string>;

json lens_json(Words words) {
  words.insert(words.begin(), "lens");
  words.emplace_back("--json");
  const Outcome outcome = run_engram(words);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(lines_of(outcome.out).size(), 1U);
  return json::parse(outcome.out);
}

struct LensModel {
  const char* name;
  const char* prompt;
  bool pre;
};

class EveryLens : public ::testing::TestWithParam<LensModel> {
 protected:
  const std::string model_ = tiny_model(GetParam().name);
  const std::string prompt_ = GetParam().prompt;
};

TEST_P(EveryLens, EndsWherePredictDoes) {
  const std::string answer = "Paris";
  const json lens = lens_json({model_, prompt_, "--answer", answer, "--top", "2"});
  const Outcome outcome =
      run_engram({"predict", model_, prompt_, "--answer", answer, "--json", "--top", "1000000"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const json predicted = json::parse(outcome.out);
  const json& first = predicted.at("answer").at("tokens").at(0);
  EXPECT_EQ(lens.at("schema"), "engram.lens/1");
  EXPECT_EQ(lens.at("answer").at("token"), first.at("token"));
  EXPECT_EQ(lens.at("answer").at("id"), first.at("id"));
  EXPECT_EQ(lens.at("answer").at("tokens"), predicted.at("answer").at("tokens").size());
  EXPECT_EQ(lens.at("answer").at("rank"), first.at("rank"));
  EXPECT_NEAR(lens.at("answer").at("p").get<double>(), first.at("p").get<double>(), 1e-7);
  EXPECT_EQ(lens.at("position"), predicted.at("position"));
  const json& last = lens.at("stages").back();
  EXPECT_EQ(last.at("p"), lens.at("answer").at("p"));
  EXPECT_EQ(last.at("after"), "ffn");
  EXPECT_EQ(last.at("top").size(), 2U);
  if (predicted.at("answer").at("tokens").size() == 1) {
    EXPECT_EQ(last.at("top").at(0).at("id"), predicted.at("predictions").at(0).at("id"));
  }
}

TEST_P(EveryLens, WhatIsAddedSumsToTheLogit) {
  const json lens = lens_json({model_, prompt_, "--answer", "Paris"});
  const json config = json::parse(read_text(model_ + "/config.json"));
  double changes = 0;
  double shares = 0;
  for (const json& stage : lens.at("stages")) {
    changes += stage.at("change").get<double>();
    EXPECT_EQ(stage.at("share").is_null(), !GetParam().pre);
    if (GetParam().pre) shares += stage.at("share").get<double>();
  }
  const auto logit = lens.at("answer").at("logit").get<double>();
  EXPECT_NEAR(changes, logit, 1e-9);
  EXPECT_EQ(lens.at("bias_share").is_null(), !GetParam().pre);
  if (GetParam().pre) {
    EXPECT_NEAR(shares + lens.at("bias_share").get<double>(), logit, 1e-4);
  }
  EXPECT_TRUE(lens.at("stages").at(0).at("layer").is_null());
  EXPECT_EQ(lens.at("stages").at(0).at("after"), "embedding");
  EXPECT_EQ(lens.at("stages").at(3).at("layer"), 1);
  EXPECT_EQ(lens.at("stages").at(3).at("after"), "attention");
}

TEST_P(EveryLens, TableAndPicture) {
  const TemporaryFolder folder;
  const std::string file = folder.file("lens.svg");
  const Outcome outcome = run_engram({"lens", model_, prompt_, "--answer", "Paris", "--svg", file});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("embedding"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("attention"), std::string::npos) << outcome.out;
  EXPECT_EQ(outcome.out.find("biases") != std::string::npos, GetParam().pre) << outcome.out;
  EXPECT_NE(outcome.err.find("wrote " + file), std::string::npos) << outcome.err;
  const std::string svg = read_text(file);
  EXPECT_TRUE(svg.starts_with("<?xml"));
  EXPECT_TRUE(svg.ends_with("</svg>\n"));
  // A title for every cell and every bar, and the picture's own.
  const json lens = lens_json({model_, prompt_, "--answer", "Paris"});
  size_t titles = 0;
  for (size_t at = svg.find("<title>"); at != std::string::npos; at = svg.find("<title>", at + 1)) {
    ++titles;
  }
  EXPECT_EQ(titles, 1 + 2 * lens.at("stages").size());
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("http", svg.find("viewBox")), std::string::npos) << "nothing is fetched";
}

INSTANTIATE_TEST_SUITE_P(
    , EveryLens,
    ::testing::Values(LensModel{"bert-tiny", "The capital of France is [MASK].", false},
                      LensModel{"roberta-tiny", "The capital of France is [MASK].", false},
                      LensModel{"distilbert-tiny", "The capital of France is [MASK].", false},
                      LensModel{"electra-tiny", "The capital of France is [MASK].", false},
                      LensModel{"gpt2-tiny", "The capital of France is", true},
                      LensModel{"gpt-neox-tiny", "The capital of France is", true},
                      LensModel{"llama-tiny", "The capital of France is [MASK].", true},
                      LensModel{"gemma-tiny", "The capital of France is", true}),
    [](const auto& parameter) {
      std::string name = parameter.param.name;
      for (char& c : name) c = c == '-' ? '_' : c;
      return name;
    });

TEST(Lens, SaysWhichTokenItFollows) {
  const Outcome outcome = run_engram(
      {"lens", tiny_model(), "The capital of France is [MASK].", "--answer", "berlin, paris"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("tokens: the lens follows the first, \"berlin\""), std::string::npos)
      << outcome.out;
}

TEST(Lens, ThePictureEscapesWhatTheUserWrote) {
  const TemporaryFolder folder;
  const std::string file = folder.file("lens.svg");
  const Outcome outcome = run_engram({"lens", tiny_model(), "<b>& \"the\" capital [MASK]\x01</b>",
                                      "--answer", "paris", "--svg", file, "--quiet"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const std::string svg = read_text(file);
  EXPECT_EQ(svg.find("<b>"), std::string::npos);
  EXPECT_NE(svg.find("&lt;b&gt;&amp;"), std::string::npos);
  EXPECT_EQ(svg.find('\x01'), std::string::npos);
}

TEST(Lens, RefusesWhatCannotBeMeant) {
  const std::string prompt = "The capital of France is [MASK].";
  const TemporaryFolder folder;
  const auto code = [](const Words& words) {
    const Outcome outcome = run_engram(words);
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(lines_of(outcome.err).size(), 1U) << outcome.err;
    return outcome.code;
  };
  EXPECT_EQ(code({"lens", tiny_model(), prompt}), 2);
  EXPECT_EQ(code({"lens", tiny_model(), prompt, "--answer", "paris", "--top", "0"}), 2);
  EXPECT_EQ(code({"lens", tiny_model(), prompt, "--answer", "paris", "--svg", "lens.png"}), 2);
  EXPECT_EQ(code({"lens", tiny_model(), "no mask", "--answer", "paris"}), 3);
  EXPECT_EQ(code({"lens", tiny_model(), prompt, "--answer", ""}), 3);
  EXPECT_EQ(code({"lens", tiny_model(), prompt, "--answer", "\xE9\x9D\x92\xE9\x9D\x92"}), 3);
  EXPECT_EQ(code({"lens", tiny_model("gpt2-tiny"), "a [MASK] b", "--answer", "Paris"}), 3);
  EXPECT_EQ(code({"lens", folder.file("none"), prompt, "--answer", "paris"}), 4);
  EXPECT_EQ(code({"lens", tiny_model(), prompt, "--answer", "paris", "--svg",
                  folder.file("none/lens.svg")}),
            4);
}

}  // namespace
}  // namespace engram::testing
