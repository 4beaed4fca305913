// `engram memories`: what it prints.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/run_engram.h"

namespace engram::testing {
namespace {

using nlohmann::json;
using Words = std::vector<std::string>;

std::string memories_corpus() {
  std::string text;
  for (const char* place : {"France", "Italy", "Norway", "the old sea", "music", "Oslo", "Rome"}) {
    const std::string name = place;
    text += "The capital of " + name + " is not the king of " + name + " and his music.\n";
    text += "A king was born in the old town by the sea near " + name + ".\n";
  }
  return text;
}

class EveryMemoriesModel : public ::testing::TestWithParam<const char*> {};

TEST_P(EveryMemoriesModel, JsonAndTableSayTheSame) {
  const TemporaryFolder folder;
  const std::string corpus = folder.file("corpus.txt");
  write_text(corpus, memories_corpus());
  const std::string model = tiny_model(GetParam());
  const Words words{"memories", model, "--corpus", corpus, "--keys", "4", "--seed", "2"};
  Words as_json = words;
  as_json.insert(as_json.end(), {"--json", "--quiet"});
  const Outcome outcome = run_engram(as_json);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  EXPECT_EQ(lines_of(outcome.out).size(), 1U);
  const json found = json::parse(outcome.out);
  const json config = json::parse(read_text(model + "/config.json"));
  const bool causal = config.at("model_type") != "bert";
  EXPECT_EQ(found.at("schema"), "engram.memories/1");
  EXPECT_EQ(found.at("window"), causal ? 256 : 64);
  EXPECT_EQ(found.at("masks").is_null(), causal);
  EXPECT_EQ(found.at("lines"), 14);
  EXPECT_GT(found.at("places").get<int64_t>(), 14);
  EXPECT_EQ(found.at("keys").size(), 4 * found.at("layers").size());
  EXPECT_EQ(found.at("all").at("keys"), found.at("keys").size());
  double patterns = 0;
  bool behind = false;  // what stands behind a mask is looked at, too
  for (const json& key : found.at("keys")) {
    patterns += key.at("pattern").is_null() ? 0 : 1;
    EXPECT_LE(key.at("triggers").size(), 14U);
    for (const json& trigger : key.at("triggers")) {
      behind = behind || !trigger.at("behind").empty();
      EXPECT_FALSE(trigger.at("next").get<std::string>().empty());
    }
  }
  EXPECT_EQ(behind, !causal);
  EXPECT_DOUBLE_EQ(found.at("all").at("pattern").at("value").get<double>(),
                   patterns / static_cast<double>(found.at("keys").size()));
  const Outcome text = run_engram(words);
  ASSERT_EQ(text.code, 0) << text.err;
  for (const char* part : {"keys, seed 2; ", "random directions", "shuffled", "agreement",
                           "mean rank", "Agreement by the value's largest P"}) {
    EXPECT_NE(text.out.find(part), std::string::npos) << part << text.out;
  }
  EXPECT_NE(text.out.find(causal ? " prefixes; " : " masked tokens; "), std::string::npos);
  EXPECT_NE(text.err.find("keys over "), std::string::npos) << text.err;
}

INSTANTIATE_TEST_SUITE_P(, EveryMemoriesModel,
                         ::testing::Values("bert-tiny", "gpt2-tiny", "llama-tiny"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST(MemoriesCommand, RefusesWhatCannotBeMeant) {
  const TemporaryFolder folder;
  write_text(folder.file("corpus.txt"), memories_corpus());
  write_text(folder.file("short.txt"), "A sea.\n");
  const auto code = [&](const std::string& model, Words words) {
    words.insert(words.begin(), {"memories", tiny_model(model)});
    const Outcome outcome = run_engram(words);
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(lines_of(outcome.err).size(), 1U) << outcome.err;
    return outcome.code;
  };
  EXPECT_EQ(code("bert-tiny", {}), 2);
  EXPECT_EQ(code("bert-tiny", {"--corpus", folder.file("corpus.txt"), "--keys", "1"}), 2);
  EXPECT_EQ(code("bert-tiny", {"--corpus", folder.file("corpus.txt"), "--masks", "0"}), 2);
  EXPECT_EQ(code("bert-tiny", {"--corpus", folder.file("corpus.txt"), "--window", "2"}), 2);
  EXPECT_EQ(code("bert-tiny", {"--corpus", folder.file("none.txt")}), 4);
  EXPECT_EQ(code("gpt2-tiny", {"--corpus", folder.file("short.txt")}), 3);
}

}  // namespace
}  // namespace engram::testing
