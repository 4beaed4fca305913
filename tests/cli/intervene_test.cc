// What intervene takes from a neurons file, and what it must not claim.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/run_engram.h"

namespace engram::testing {
namespace {

using nlohmann::json;

/// A ParaRel folder of two relations: one with six lemmas, one with two patterns.
class InterveneCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::filesystem::path facts = folder_.path() / "pararel" / "facts";
    const std::filesystem::path patterns = folder_.path() / "pararel" / "patterns";
    std::filesystem::create_directories(facts);
    std::filesystem::create_directories(patterns);
    for (const char* relation : {"P36", "P1376"}) {
      std::string lines;
      for (int i = 0; i < 4; ++i) {
        lines += json({{"sub_label", "France " + std::to_string(i)},
                       {"obj_label", i % 2 == 0 ? "Paris" : "Berlin"}})
                     .dump() +
                 "\n";
      }
      write_text(facts / (std::string(relation) + ".jsonl"), lines);
    }
    const std::vector<std::string> words = {"city", "company", "river", "language", "born", "was"};
    std::string lines;
    for (const std::string& word : words) {
      lines += json({{"pattern", "[X] " + word + " [Y]."}, {"extended_lemma", word}}).dump() + "\n";
    }
    write_text(patterns / "P36.jsonl", lines);
    write_text(patterns / "P1376.jsonl",
               json({{"pattern", "[X] city [Y]."}, {"extended_lemma", "a"}}).dump() + "\n" +
                   json({{"pattern", "[X] river [Y]."}, {"extended_lemma", "b"}}).dump() + "\n");
    ASSERT_EQ(run_engram({"locate", tiny_model(), "--facts", pararel_, "--seed", "0", "--out",
                          neurons_, "--preset", "eleuther", "--score", "activation"})
                  .code,
              0);
  }
  [[nodiscard]] Outcome intervene(const std::string& neurons, std::vector<std::string> more) const {
    more.insert(more.begin(), {"intervene", tiny_model(), "--facts", pararel_, "--neurons", neurons,
                               "--bootstrap", "50", "--draws", "3"});
    return run_engram(more);
  }
  [[nodiscard]] json report(const std::string& neurons, std::vector<std::string> more) const {
    more.emplace_back("--json");
    const Outcome outcome = intervene(neurons, more);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return outcome.code == 0 ? json::parse(outcome.out) : json();
  }
  /// The lines of the neurons file.
  [[nodiscard]] std::vector<json> located() const {
    std::vector<json> lines;
    for (const std::string& line : lines_of(read_text(neurons_)))
      lines.push_back(json::parse(line));
    return lines;
  }
  [[nodiscard]] std::string write_located(const std::vector<json>& lines) const {
    std::string text;
    for (const json& line : lines) text += line.dump() + "\n";
    const std::string path = folder_.file("other.jsonl");
    write_text(path, text);
    return path;
  }

  TemporaryFolder folder_;
  std::string pararel_ = folder_.file("pararel");
  std::string neurons_ = folder_.file("neurons.jsonl");
};

TEST_F(InterveneCommand, HeldOutPromptsAreThoseOfTheNeuronsFile) {
  double p = 0;
  int facts = 0;
  int prompts = 0;
  int held_out = 0;
  for (const json& line : located()) {
    if (line.at("record") != "fact") continue;
    double sum = 0;
    for (const json& prompt : line.at("prompts")) sum += prompt.at("p").get<double>();
    p += sum / static_cast<double>(line.at("prompts").size());
    ++facts;
    prompts += static_cast<int>(line.at("prompts").size());
    held_out += static_cast<int>(line.at("held_out").size());
  }
  ASSERT_EQ(facts, 8);
  ASSERT_EQ(held_out, 4) << "one pattern of P36";
  double held_out_p = -1;
  for (const char* seed : {"0", "1", "2", "3", "4"}) {
    const json found = report(neurons_, {"--do", "zero", "--seed", seed});
    const json& own = found.at("scopes").at(0);
    const json& held = found.at("scopes").at(1);
    EXPECT_EQ(own.at("prompts"), prompts);
    EXPECT_EQ(held.at("prompts"), held_out);
    EXPECT_NEAR(own.at("before").at("p").get<double>(), p / facts, 1e-7);
    if (held_out_p < 0) held_out_p = held.at("before").at("p").get<double>();
    EXPECT_NEAR(held.at("before").at("p").get<double>(), held_out_p, 1e-9) << seed;
    EXPECT_EQ(own.at("relations"), 2);
    EXPECT_EQ(held.at("relations"), 1);
    EXPECT_EQ(found.at("unsplit_relations"), json::array({"P1376"}));
    EXPECT_TRUE(found.at("options").at("held_out_share").is_null());
  }
  EXPECT_EQ(located().front().at("unsplit_relations"), json::array({"P1376"}));
  EXPECT_EQ(located().front().at("held_out_share"), 0.3);
  const Outcome text = intervene(neurons_, {"--do", "zero"});
  EXPECT_NE(text.out.find("no held-out prompts in 1 of 2 relations: P1376"), std::string::npos);
  EXPECT_EQ(intervene(neurons_, {"--do", "zero", "--held-out-share", "0.5"}).code, 2);
}

TEST_F(InterveneCommand, WithAListTheShareOfTheFactSetCounts) {
  EXPECT_EQ(report("0:1", {"--do", "zero"}).at("scopes").at(1).at("prompts"), 4);
  const json half = report("0:1", {"--do", "zero", "--held-out-share", "0.5"});
  EXPECT_EQ(half.at("scopes").at(1).at("prompts"), 12);
  EXPECT_EQ(half.at("options").at("held_out_share"), 0.5);
  const json none = report("0:1", {"--do", "zero", "--held-out-share", "0"});
  EXPECT_EQ(none.at("scopes").at(1).at("prompts"), 0);
  EXPECT_EQ(none.at("unsplit_relations").size(), 2U);
  const Outcome located =
      run_engram({"locate", tiny_model(), "--facts", pararel_, "--json", "--held-out-share", "0"});
  EXPECT_EQ(json::parse(lines_of(located.out).front()).at("unsplit_relations").size(), 2U);
}

TEST_F(InterveneCommand, FactsOfTheFileThatTheFactSetLacksAreCounted) {
  std::vector<json> lines = located();
  for (json& line : lines) {
    if (line.at("record") == "fact" && line.at("subject") == "France 2") line["subject"] = "Gone";
  }
  const std::string other = write_located(lines);
  const json found = report(other, {"--do", "zero"});
  EXPECT_EQ(found.at("left_out").at("not_in_facts"), 2);
  EXPECT_EQ(found.at("left_out").at("not_in_neurons"), 2);
  EXPECT_EQ(found.at("facts"), 6);
  const Outcome text = intervene(other, {"--do", "zero"});
  EXPECT_NE(text.out.find("not in --facts, not used: 2 facts"), std::string::npos) << text.out;
}

TEST_F(InterveneCommand, TheNeuronsMustBeOfThisModel) {
  std::vector<json> lines = located();
  const json layers = lines.front().at("layers");
  lines.front()["layers"] = layers.get<int>() + 1;
  const Outcome more = intervene(write_located(lines), {"--do", "zero"});
  EXPECT_EQ(more.code, 3);
  EXPECT_NE(more.err.find("layers " + std::to_string(layers.get<int>() + 1)), std::string::npos)
      << more.err;
  EXPECT_NE(more.err.find("expected the " + layers.dump()), std::string::npos) << more.err;
  lines.front()["layers"] = layers;
  lines.front()["d_ff"] = 7;
  EXPECT_EQ(intervene(write_located(lines), {"--do", "zero"}).code, 3);

  // Another folder's name is only remarked on.
  const Outcome same = intervene(neurons_, {"--do", "zero"});
  EXPECT_EQ(same.err.find("was located on"), std::string::npos) << same.err;
  lines = located();
  lines.front()["model"] = "/elsewhere/bert-tiny/";
  const Outcome moved = intervene(write_located(lines), {"--do", "zero"});
  EXPECT_EQ(moved.err.find("was located on"), std::string::npos) << moved.err;
  lines.front()["model"] = "models/other";
  const Outcome other = intervene(write_located(lines), {"--do", "zero"});
  EXPECT_EQ(other.code, 0);
  EXPECT_NE(other.err.find("was located on the model models/other"), std::string::npos);
}

TEST_F(InterveneCommand, NothingIsClaimedOfNothing) {
  const json found = report(neurons_, {"--do", "scale:1"});
  for (const json& scope : found.at("scopes")) {
    if (scope.at("facts") == 0) continue;
    for (const char* source : {"located", "random-layer", "random-gradient"}) {
      for (const auto& [name, change] : scope.at(source).at("change").items()) {
        if (change.at("value").is_null()) continue;
        EXPECT_EQ(change.at("value"), 0) << name;
        EXPECT_TRUE(change.at("low").is_null() || change.at("low") == 0) << name;
      }
    }
    EXPECT_TRUE(scope.at("random-layer").at("draws_as_strong").is_null());
  }
  const Outcome text = intervene(neurons_, {"--do", "scale:1"});
  EXPECT_EQ(text.out.find("The located neurons"), std::string::npos) << text.out;
  for (const char* part : {"-0.0", "+0.0", "e-1"}) {
    EXPECT_EQ(text.out.find(part), std::string::npos) << part << "\n" << text.out;
  }
  const Outcome zero = intervene(neurons_, {"--do", "zero"});
  EXPECT_NE(zero.out.find("The located neurons"), std::string::npos);
}

TEST_F(InterveneCommand, TheVerdictStandsFirstAndTheRestBehindFull) {
  const Outcome brief = intervene(neurons_, {"--do", "zero"});
  ASSERT_EQ(brief.code, 0) << brief.err;
  EXPECT_NE(brief.out.find("the answer's log-odds change by"), std::string::npos) << brief.out;
  EXPECT_EQ(brief.out.find("Rank of the answer"), std::string::npos) << brief.out;
  EXPECT_NE(brief.out.find("--full"), std::string::npos);
  EXPECT_LT(lines_of(brief.out).size(), 25U) << brief.out;
  const Outcome full = intervene(neurons_, {"--do", "zero", "--full"});
  EXPECT_LT(full.out.find("the answer's log-odds change by"), full.out.find("Change of log-odds"));
  for (const char* part : {"Rank of the answer", "next", "another fact's", "known", "never",
                           "p (Holm)", "activation x gradient"}) {
    EXPECT_NE(full.out.find(part), std::string::npos) << part;
  }
}

TEST_F(InterveneCommand, OutHoldsEveryFactAndPrompt) {
  const json found = report(neurons_, {"--do", "zero"});
  const json& facts = found.at("fact_effects");
  EXPECT_EQ(static_cast<int64_t>(facts.size()), found.at("facts").get<int64_t>());
  int64_t own = 0;
  double change = 0;
  for (const json& fact : facts) {
    EXPECT_TRUE(fact.at("subject").is_string());
    double of_fact = 0;
    int64_t prompts = 0;
    for (const json& prompt : fact.at("prompts")) {
      EXPECT_NE(prompt.at("prompt").get<std::string>().find("[MASK]"), std::string::npos);
      EXPECT_TRUE(prompt.at("next").at("log_odds").is_number());
      if (prompt.at("held_out").get<bool>()) continue;
      of_fact += prompt.at("located").at("log_odds").get<double>() -
                 prompt.at("before").at("log_odds").get<double>();
      ++prompts;
    }
    change += of_fact / static_cast<double>(prompts) / static_cast<double>(facts.size());
    own += prompts;
  }
  const json& scope = found.at("scopes").at(0);
  EXPECT_EQ(scope.at("prompts"), own);
  EXPECT_NEAR(scope.at("located").at("change").at("log_odds").at("value").get<double>(), change,
              1e-9);
  const json known = report(neurons_, {"--do", "zero", "--known-only"});
  for (const json& row : known.at("scopes")) EXPECT_EQ(row.at("group"), "known");
  EXPECT_EQ(intervene(neurons_, {"--do", "zero", "--random-from", "some"}).code, 2);
}

TEST_F(InterveneCommand, AnOutputThatIsNotFiniteIsAnInputError) {
  const Outcome outcome = intervene("0:1,0:2,1:3", {"--do", "scale:1e38", "--json"});
  EXPECT_EQ(outcome.code, 3) << outcome.out;
  EXPECT_NE(outcome.err.find("scale:1e+38"), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("no longer finite"), std::string::npos) << outcome.err;
}

TEST_F(InterveneCommand, OneGroupOfFactsGetsADash) {
  const std::string facts = folder_.file("facts.jsonl");
  write_text(facts, json({{"relation", "P36"},
                          {"subject", "France"},
                          {"object", "Paris"},
                          {"prompts", {"The city is [MASK].", "[MASK] is the capital."}}})
                            .dump() +
                        "\n");
  const std::vector<std::string> arguments = {"intervene", tiny_model(), "--facts", facts,
                                              "--neurons", "0:1,1:2",    "--do",    "zero"};
  const Outcome text = run_engram(arguments);
  ASSERT_EQ(text.code, 0) << text.err;
  EXPECT_NE(text.out.find("% [-]"), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("[-]: no interval"), std::string::npos) << text.out;
  std::vector<std::string> more = arguments;
  more.emplace_back("--json");
  const json own = json::parse(run_engram(more).out).at("scopes").at(0).at("located").at("change");
  EXPECT_TRUE(own.at("log_odds").at("value").is_number());
  EXPECT_TRUE(own.at("log_p").at("low").is_null());
  EXPECT_TRUE(own.at("log_p").at("high").is_null());
}

TEST_F(InterveneCommand, OrdinaryTextIsAScopeWhereItIsAskedFor) {
  const std::string text = folder_.file("text.txt");
  write_text(text, "The city is the capital.\n\n1234\nThe river flows through Paris.\n");
  const json with = report(neurons_, {"--do", "zero", "--text", text});
  ASSERT_EQ(with.at("scopes").size(), 27U) << "all, known, never";
  EXPECT_EQ(with.at("scopes").at(8).at("scope"), "text");
  EXPECT_EQ(with.at("scopes").at(8).at("prompts"), 16) << "8 facts, 2 sentences";
  EXPECT_EQ(with.at("text"), text);
  EXPECT_TRUE(with.at("scopes").at(8).at("random-layer").contains("change"));
  const json one = report(neurons_, {"--do", "zero", "--text", text, "--text-lines", "1"});
  EXPECT_EQ(one.at("scopes").at(8).at("prompts"), 8);
  const json without = report(neurons_, {"--do", "zero"});
  EXPECT_EQ(without.at("scopes").size(), 24U);
  EXPECT_TRUE(without.at("text").is_null());
  EXPECT_NE(
      intervene(neurons_, {"--do", "zero", "--text", text, "--full"}).out.find("ordinary text"),
      std::string::npos);
  EXPECT_EQ(intervene(neurons_, {"--do", "zero", "--text-lines", "3"}).code, 2);
  EXPECT_EQ(intervene(neurons_, {"--do", "zero", "--text", folder_.file("none")}).code, 4);
}

TEST_F(InterveneCommand, AnswersOfSeveralTokensAreSaidByLocate) {
  const std::string facts = folder_.file("facts.jsonl");
  std::string lines;
  for (const char* object : {"Paris", "capital city", "river city"}) {
    lines += json({{"relation", "P36"},
                   {"subject", object},
                   {"object", object},
                   {"prompts", {"The city is [MASK].", "[MASK] is it.", "It was [MASK]."}}})
                 .dump() +
             "\n";
  }
  write_text(facts, lines);
  const Outcome text = run_engram({"locate", tiny_model(), "--facts", facts});
  EXPECT_NE(text.out.find("2 facts have answers of several tokens"), std::string::npos) << text.out;
  const Outcome found = run_engram({"locate", tiny_model(), "--facts", facts, "--json"});
  EXPECT_EQ(json::parse(lines_of(found.out).back()).at("several_tokens"), 2);
}

TEST_F(InterveneCommand, TheLimitIsMetExactly) {
  for (const int limit : {1, 3, 5, 8, 20}) {
    const json found = report(neurons_, {"--do", "zero", "--limit", std::to_string(limit)});
    EXPECT_EQ(found.at("facts"), std::min(limit, 8));
  }
}

}  // namespace
}  // namespace engram::testing
