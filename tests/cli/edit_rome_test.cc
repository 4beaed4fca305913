// `edit rome` from outside, on the shipped model.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/run_engram.h"

namespace engram::testing {
namespace {

using nlohmann::json;

const std::string kRomeModel = ENGRAM_SOURCE_DIR "/models/engram-base";

class RomeCommand : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = std::make_unique<TemporaryFolder>();
    std::string facts;
    int of_relation = 0;
    int others = 0;
    for (const std::string& line : lines_of(read_text(kRomeModel + "/facts.jsonl"))) {
      const json fact = json::parse(line);
      const bool france = fact.at("subject") == "France" && fact.at("relation") == "P36";
      const bool kept =
          france || (fact.at("relation") == "P36" ? of_relation++ < 12 : others++ < 12);
      if (kept) facts += line + "\n";
    }
    write_text(shared_->file("facts.jsonl"), facts);
    made_ = rome({{"--corpus", kRomeModel + "/corpus.txt"}, {"--corpus-tokens", "6000"}}, "delta");
  }
  static void TearDownTestSuite() { shared_.reset(); }

  static Outcome rome(const std::map<std::string, std::string>& more, const std::string& out) {
    std::map<std::string, std::string> options = {{"--facts", shared_->file("facts.jsonl")},
                                                  {"--relation", "P36"},
                                                  {"--subject", "France"},
                                                  {"--to", "Rome"},
                                                  {"--moments", file("moments")},
                                                  {"--out", file(out)},
                                                  {"--steps", "12"},
                                                  {"--prefixes", "2"}};
    for (const auto& [name, value] : more) options[name] = value;
    std::vector<std::string> arguments = {"edit", "rome", kRomeModel, "--json"};
    for (const auto& [name, value] : options) {
      arguments.push_back(name);
      arguments.push_back(value);
    }
    return run_engram(arguments);
  }
  static std::string file(const std::string& name) { return shared_->file(name + ".safetensors"); }

  static inline std::unique_ptr<TemporaryFolder> shared_;
  static inline Outcome made_;
};

TEST_F(RomeCommand, WritesTheNewAnswerAndLeavesOtherFacts) {
  ASSERT_EQ(made_.code, 0) << made_.err;
  const json made = json::parse(made_.out);
  EXPECT_EQ(made.at("record"), "rome");
  EXPECT_EQ(made.at("target"), "Rome");
  EXPECT_GE(made.at("moments").at("tokens").get<int>(), 6000);
  EXPECT_EQ(made.at("neurons").size(), 1024U);
  for (const json& neuron : made.at("neurons")) EXPECT_EQ(neuron.at(0), made.at("layer"));
  const json& steps = made.at("steps");
  EXPECT_LT(steps.back().at("negative_log_p").get<double>(),
            steps.front().at("negative_log_p").get<double>());
  EXPECT_LE(made.at("delta_length").get<double>(), 4.001 * made.at("value_length").get<double>());
  for (const json& scope : made.at("scopes")) {
    const auto prompts = scope.at("after").at("prompts").get<double>();
    if (scope.contains("target_after")) {
      EXPECT_GT(scope.at("target_after").at("top").get<double>(), 0.5 * prompts);
    } else {
      EXPECT_GE(scope.at("after").at("top").get<double>(),
                scope.at("before").at("top").get<double>() - 0.2 * prompts);
    }
  }
  for (const json& row : made.at("prompts")) EXPECT_EQ(row.at("top_before"), "Paris");
}

TEST_F(RomeCommand, TheDeltaIsAppliedAndTakenBackAsAnyOther) {
  const std::string copy = shared_->file("copy");
  ASSERT_EQ(run_engram({"edit", "apply", kRomeModel, file("delta"), "--to", copy}).code, 0);
  const auto answer = [&](const std::string& model) {
    const Outcome out =
        run_engram({"predict", model, "The capital city of France is called [MASK].", "--json"});
    return json::parse(out.out).at("predictions").at(0).at("token").get<std::string>();
  };
  EXPECT_EQ(answer(kRomeModel), "Paris");
  EXPECT_EQ(answer(copy), "Rome");
  const Outcome list = run_engram({"edit", "list", copy});
  EXPECT_NE(list.out.find("France: Paris → Rome (ROME)"), std::string::npos) << list.out;
  ASSERT_EQ(run_engram({"edit", "undo", copy}).code, 0);
  EXPECT_EQ(read_text(copy + "/model.safetensors"), read_text(kRomeModel + "/model.safetensors"));
}

TEST_F(RomeCommand, TheSecondMomentIsReadWhereItIsThere) {
  const std::string before = read_text(file("moments"));
  const Outcome again = rome({}, "again");
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(read_text(file("moments")), before);
  EXPECT_EQ(json::parse(again.out).at("steps"), json::parse(made_.out).at("steps"));
  EXPECT_EQ(read_text(file("again")), read_text(file("delta")));
}

TEST_F(RomeCommand, RefusesWithTheReason) {
  const auto refused = [&](const std::map<std::string, std::string>& more, int code,
                           const std::string& because) {
    const Outcome out = rome(more, "refused");
    EXPECT_EQ(out.code, code) << out.err;
    EXPECT_NE(out.err.find(because), std::string::npos) << out.err;
    EXPECT_FALSE(std::filesystem::exists(file("refused")));
  };
  refused({{"--layer", "0"}}, 3, "is of layer 1, expected the --layer 0");
  refused({{"--prefixes", "60"}}, 3, "holds 50 texts");
  refused({{"--moments", file("absent")}}, 2, "--corpus is required");
  refused({{"--moments", kRomeModel + "/model.safetensors"}}, 2, "MODEL");
  refused({{"--moments", file("delta")}}, 3, "no valid second moment");
  refused({{"--to", "Paris"}}, 2, "the fact's answer already");
}

}  // namespace
}  // namespace engram::testing
