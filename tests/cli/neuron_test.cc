// `engram neuron`: what it prints, as JSON and as a page.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/run_engram.h"

namespace engram::testing {
namespace {

using nlohmann::json;
using Words = std::vector<std::string>;

const std::string kCorpus =
    "The capital of France is Paris.\nA king was born in Oslo.\n\nMusic of the old sea.\n"
    "The sea is old & <b>blue</b>.\nRome is the capital of Italy.\n";

json neuron_json(Words words) {
  words.insert(words.begin(), "neuron");
  words.emplace_back("--json");
  words.emplace_back("--quiet");
  const Outcome outcome = run_engram(words);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  return json::parse(outcome.out);
}

class EveryNeuron : public ::testing::TestWithParam<const char*> {
 protected:
  EveryNeuron() { write_text(corpus_, kCorpus); }
  const std::string model_ = tiny_model(GetParam());
  const TemporaryFolder folder_;
  const std::string corpus_ = folder_.file("corpus.txt");
};

TEST_P(EveryNeuron, JsonHasAllOfIt) {
  const json found = neuron_json({model_, "1:5", "--corpus", corpus_, "--top", "3"});
  EXPECT_EQ(found.at("schema"), "engram.neuron/1");
  EXPECT_EQ(found.at("layer"), 1);
  EXPECT_EQ(found.at("neuron"), 5);
  EXPECT_TRUE(found.at("facts").is_null());
  for (const char* list : {"raises", "lowers", "near_by_key", "near_by_value"}) {
    EXPECT_EQ(found.at(list).size(), 3U) << list;
  }
  EXPECT_GE(found.at("raises").at(0).at("logit"), found.at("raises").at(1).at("logit"));
  EXPECT_LE(found.at("lowers").at(0).at("logit"), found.at("lowers").at(1).at("logit"));
  const json& activity = found.at("activity");
  EXPECT_EQ(activity.at("lines"), 6);
  EXPECT_EQ(activity.at("most_active").size(), 3U);
  int64_t tokens = 0;
  for (const json& bin : activity.at("histogram")) tokens += bin.at("tokens").get<int64_t>();
  EXPECT_EQ(activity.at("tokens"), tokens);
  for (const char* end : {"most_active", "least_active"}) {
    for (const json& text : activity.at(end)) {
      const auto at = text.at("at").get<size_t>();
      EXPECT_EQ(text.at("tokens").at(at).at(1), text.at("activation"));
    }
  }
}

TEST_P(EveryNeuron, TextAndPageSayTheSame) {
  const std::string page = folder_.file("neuron.html");
  const Outcome outcome =
      run_engram({"neuron", model_, "0:7", "--corpus", corpus_, "--top", "4", "--html", page});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const char* part :
       {"neuron 0:7", "raises", "lowers", "Neurons with a similar key",
        "Neurons with a similar value", "Most active", "Least active", "above 0: "}) {
    EXPECT_NE(outcome.out.find(part), std::string::npos) << part;
  }
  const std::string html = read_text(page);
  EXPECT_TRUE(html.starts_with("<!DOCTYPE html>"));
  EXPECT_TRUE(html.ends_with("</html>\n"));
  for (const char* part :
       {"Layer 0, neuron 7", "most active", "least active", "Tokens that it raises",
        "With a similar key", "With a similar value", "How its activation is spread", "<svg"}) {
    EXPECT_NE(html.find(part), std::string::npos) << part;
  }
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_EQ(html.find("<b>blue"), std::string::npos) << "the corpus is text, not markup";
  EXPECT_EQ(html.find("src=\"http"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(, EveryNeuron,
                         ::testing::Values("bert-tiny", "gpt2-tiny", "gpt-neox-tiny", "llama-tiny",
                                           "gemma-tiny"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

class EveryCausalNeuron : public EveryNeuron {};

TEST_P(EveryCausalNeuron, ActivationsAreThoseOfAttribute) {
  int compared = 0;
  for (const char* neuron : {"0:3", "1:7", "1:8"}) {
    const json found = neuron_json({model_, neuron, "--corpus", corpus_, "--top", "1"});
    for (const char* end : {"most_active", "least_active"}) {
      const json& trigger = found.at("activity").at(end).at(0);
      const Outcome outcome =
          run_engram({"attribute", model_, "--prompt", trigger.at("text"), "--predicted", "--top",
                      "all", "--score", "activation", "--json"});
      ASSERT_EQ(outcome.code, 0) << outcome.err;
      const json attributed = json::parse(outcome.out);
      // The start of a text may have other tokens than the text itself.
      std::vector<json> tokens = attributed.at("tokens");
      const size_t begins = tokens.size() - std::min(tokens.size(), trigger.at("tokens").size());
      bool same = tokens.size() == begins + trigger.at("tokens").size() && begins <= 1;
      for (size_t i = 0; same && begins + i < tokens.size(); ++i) {
        same = tokens[begins + i] == trigger.at("tokens").at(i).at(0);
      }
      if (!same) continue;
      for (const json& one : attributed.at("neurons")) {
        if (one.at("layer") != found.at("layer") || one.at("neuron") != found.at("neuron")) {
          continue;
        }
        EXPECT_NEAR(one.at("activation").get<double>(), trigger.at("activation").get<double>(),
                    1e-5);
        ++compared;
      }
    }
  }
  EXPECT_GT(compared, 0);
}

INSTANTIATE_TEST_SUITE_P(, EveryCausalNeuron,
                         ::testing::Values("gpt2-tiny", "gpt-neox-tiny", "llama-tiny",
                                           "gemma-tiny"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST(Neuron, NamesTheFactsThatHoldIt) {
  const TemporaryFolder folder;
  const std::string file = folder.file("neurons.jsonl");
  const auto fact = [](const std::string& subject, const std::string& neurons, bool refined,
                       const std::string& unrefined) {
    return R"({"schema":"engram.locate/1","record":"fact","relation":"P36","subject":")" + subject +
           R"(","object":"X","refined":)" + (refined ? "true" : "false") + R"(,"neurons":[)" +
           neurons + R"(],"prompts":[{"prompt":"It is [MASK]."}],"held_out":[])" +
           (refined ? "" : R"(,"unrefined":[)" + unrefined + "]") + "}\n";
  };
  const std::string here = R"({"layer":1,"neuron":5,"prompts":3,"score":0.1})";
  const std::string there = R"({"layer":1,"neuron":6,"prompts":3,"score":0.1})";
  write_text(file, fact("France", there + "," + here, true, "") + fact("Italy", there, true, "") +
                       fact("Spain", "", false, here));
  const json found = neuron_json({tiny_model(), "1:5", "--neurons", file});
  EXPECT_TRUE(found.at("activity").is_null());
  EXPECT_EQ(found.at("located_facts"), 3);
  ASSERT_EQ(found.at("facts").size(), 2U);
  EXPECT_EQ(found.at("facts").at(0).at("subject"), "France");
  EXPECT_EQ(found.at("facts").at(0).at("refined"), true);
  EXPECT_EQ(found.at("facts").at(1).at("subject"), "Spain");
  EXPECT_EQ(found.at("facts").at(1).at("refined"), false);
  const Outcome text = run_engram({"neuron", tiny_model(), "1:5", "--neurons", file});
  EXPECT_NE(text.out.find("In the sets of 2 of 3 located facts"), std::string::npos) << text.out;
  EXPECT_NE(text.err.find("no --corpus"), std::string::npos) << text.err;
}

TEST(Neuron, ReadsARunAsWhatWasLocatedInIt) {
  const TemporaryFolder folder;
  const std::string facts = folder.file("facts.jsonl");
  const std::string run = folder.file("run.db");
  const std::string file = folder.file("neurons.jsonl");
  std::string text;
  for (const char* subject : {"France", "Italy", "Norway"}) {
    const std::string name = subject;
    text += R"({"relation":"P36","subject":")" + name + R"(","object":"Paris","prompts":[)" +
            R"("The capital of )" + name + R"( is [MASK].","The king of )" + name +
            R"( sits in [MASK].","[MASK] is the capital of )" + name + R"(."]})" + "\n";
  }
  write_text(facts, text);
  const Outcome located = run_engram(
      {"locate", tiny_model(), "--facts", facts, "--run", run, "--out", file, "--quiet"});
  ASSERT_EQ(located.code, 0) << located.err;
  std::string neuron;
  for (const std::string& line : lines_of(read_text(file))) {
    const json record = json::parse(line);
    if (record.at("record") != "fact" || record.at("neurons").empty()) continue;
    const json& first = record.at("neurons").at(0);
    neuron = std::to_string(first.at("layer").get<int>()) + ":" +
             std::to_string(first.at("neuron").get<int>());
  }
  ASSERT_NE(neuron, "");
  const json by_run = neuron_json({tiny_model(), neuron, "--run", run});
  const json by_file = neuron_json({tiny_model(), neuron, "--neurons", file});
  EXPECT_EQ(by_run.at("located_facts"), 3);
  EXPECT_GE(by_run.at("facts").size(), 1U);
  EXPECT_EQ(by_run.at("facts"), by_file.at("facts"));
  // A copy under another name is the same model to a run, and remarked on beside a file; one with
  // another config.json is another model to a run.
  const std::string copy = copy_of_model(folder);
  EXPECT_EQ(run_engram({"neuron", copy, neuron, "--run", run}).code, 0);
  const std::string other = folder.file("other");
  std::filesystem::rename(copy, other);
  const Outcome remarked = run_engram({"neuron", other, neuron, "--neurons", file});
  EXPECT_EQ(remarked.code, 0) << remarked.err;
  EXPECT_NE(remarked.err.find("was located on the model "), std::string::npos) << remarked.err;
  write_text(other + "/config.json", read_text(other + "/config.json") + "\n");
  const Outcome refused = run_engram({"neuron", other, neuron, "--run", run});
  EXPECT_EQ(refused.code, 3) << refused.err;
  EXPECT_NE(refused.err.find("another model"), std::string::npos) << refused.err;
}

TEST(Neuron, RefusesWhatCannotBeMeant) {
  const TemporaryFolder folder;
  write_text(folder.file("corpus.txt"), kCorpus);
  write_text(folder.file("empty.txt"), "\n");
  write_text(folder.file("run.db"), "no run");
  const auto code = [&](Words words) {
    words.insert(words.begin(), {"neuron", tiny_model()});
    const Outcome outcome = run_engram(words);
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(lines_of(outcome.err).size(), 1U) << outcome.err;
    return outcome.code;
  };
  EXPECT_EQ(code({}), 2);
  EXPECT_EQ(code({"1"}), 2);
  EXPECT_EQ(code({"0:1,0:2"}), 2);
  EXPECT_EQ(code({"0:1", "--top", "0"}), 2);
  EXPECT_EQ(code({"0:1", "--window", "2", "--corpus", folder.file("corpus.txt")}), 2);
  EXPECT_EQ(code({"0:1", "--run", "a", "--neurons", "b"}), 2);
  EXPECT_EQ(code({"9:1"}), 3);
  EXPECT_EQ(code({"0:100000"}), 3);
  EXPECT_EQ(code({"0:1", "--corpus", folder.file("empty.txt")}), 3);
  EXPECT_EQ(code({"0:1", "--corpus", folder.file("none.txt")}), 4);
  EXPECT_EQ(code({"0:1", "--neurons", folder.file("none.jsonl")}), 4);
  EXPECT_EQ(code({"0:1", "--run", folder.file("run.db")}), 4);
}

}  // namespace
}  // namespace engram::testing
