// `engram audit` as a program: a run of its own that goes on, and its verdicts.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "cli/run_engram.h"

namespace engram::testing {
namespace {

using nlohmann::json;

class Audit : public ::testing::Test {
 protected:
  void SetUp() override {
    // Four objects of two relations; the tiny model, which is random, gives none of them.
    std::string text;
    const std::vector<std::string> objects = {"Paris", "Berlin", "city", "capital"};
    for (const char* relation : {"P36", "P1376"}) {
      for (int i = 0; i < 8; ++i) {
        const std::string subject = "France " + std::to_string(i);
        const json fact = {{"relation", relation},
                           {"subject", subject},
                           {"object", objects[static_cast<size_t>(i) % objects.size()]},
                           {"prompts",
                            {"The city of " + subject + " is [MASK].", subject + " has the [MASK].",
                             "[MASK] is the one of " + subject}},
                           {"held_out", {"In " + subject + ", it is [MASK]."}}};
        text += fact.dump() + "\n";
      }
    }
    write_text(facts_, text);
  }
  [[nodiscard]] Outcome audit(std::vector<std::string> more, const std::string& name = "run.db") {
    more.insert(more.begin(), {"audit", tiny_model(), "--facts", facts_, "--run",
                               folder_.file(name), "--known", "4", "--never", "6"});
    if (std::ranges::find(more, "--planted-facts") == more.end()) {
      more.insert(more.end(), {"--planted-facts", "0"});  // it takes longest
    }
    return run_engram(more);
  }
  TemporaryFolder folder_;
  std::string facts_ = folder_.file("facts.jsonl");
};

TEST_F(Audit, GivesVerdictsAndGoesOnWhereItWas) {
  const Outcome first = audit({"--json"});
  ASSERT_EQ(first.code, 0) << first.err;
  const json found = json::parse(first.out);
  EXPECT_EQ(found.at("schema"), "engram.audit/1");
  EXPECT_LE(found.at("facts").get<int>(), 10);
  EXPECT_GE(found.at("facts").get<int>(), 1);
  std::map<std::string, int> verdicts;
  for (const json& one : found.at("verdicts")) {
    ++verdicts[one.at("experiment").get<std::string>()];
    // Ten facts of four objects have no interval.
    EXPECT_EQ(one.at("decision"), "undecided");
    EXPECT_EQ(one.at("sentence"), "These facts do not decide it.");
  }
  EXPECT_EQ(verdicts["words"], 3);
  EXPECT_EQ(verdicts["amplify"], 1);
  EXPECT_EQ(verdicts["editors"], 4);
  // The tiny model knows nothing, so there is nothing to search for.
  EXPECT_EQ(verdicts["methods"], 0);
  ASSERT_EQ(found.at("skipped").size(), 4U);
  EXPECT_EQ(found.at("skipped")[0].at("experiment"), "methods");
  EXPECT_EQ(found.at("skipped")[1].at("experiment"), "truth");
  EXPECT_EQ(found.at("skipped")[2].at("experiment"), "nonfacts");
  EXPECT_EQ(found.at("skipped")[3].at("experiment"), "planting");

  const Outcome again = audit({});
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_NE(again.err.find("0 pieces of work done"), std::string::npos) << again.err;
  for (const char* part : {"The facts that could be taken", "Knowledge, or a word?",
                           "H1:", "H2:", "Transfer T", "its held-out prompts", "engram report"}) {
    EXPECT_NE(again.out.find(part), std::string::npos) << part;
  }
  const std::string page = folder_.file("page.html");
  ASSERT_EQ(run_engram({"report", folder_.file("run.db"), "-o", page}).code, 0);
  EXPECT_NE(read_text(page).find("Knowledge, or a word?"), std::string::npos);
  // Threads change nothing.
  ASSERT_EQ(audit({"--threads", "1"}, "other.db").code, 0);
  const auto content = [&](const char* name) {
    const std::string out = folder_.file(std::string(name) + ".tables");
    EXPECT_EQ(run_engram({"export", folder_.file(name), "--to", out}).code, 0);
    return read_text(out + "/word_effect.csv");
  };
  EXPECT_EQ(content("run.db"), content("other.db"));
}

TEST_F(Audit, PlantsWhatScoresMustFind) {
  const std::vector<std::string> plant = {"--only", "screen,locate,planting", "--planted-facts",
                                          "1"};
  const Outcome first = audit(plant);
  ASSERT_EQ(first.code, 0) << first.err;
  for (const char* part :
       {"Do scores find what was planted?", "Check:", "two plants", "hard concrete"}) {
    EXPECT_NE(first.out.find(part), std::string::npos) << part << first.out;
  }
  // Threads change nothing.
  std::vector<std::string> one = plant;
  one.insert(one.end(), {"--threads", "1"});
  ASSERT_EQ(audit(one, "other.db").code, 0);
  for (const char* table : {"planting", "planting_score", "planting_tuning"}) {
    const auto content = [&](const char* name) {
      const std::string out = folder_.file(std::string(name) + ".planted");
      EXPECT_EQ(run_engram({"export", folder_.file(name), "--to", out}).code, 0);
      return read_text(out + "/" + table + ".csv");
    };
    EXPECT_EQ(content("run.db"), content("other.db")) << table;
  }
  // What tunes is not planted besides, and the other plant is of a third fact.
  const auto facts_of = [&](const std::string& table, const std::string& column) {
    std::istringstream lines(read_text(folder_.file("run.db.planted/" + table + ".csv")));
    std::string line;
    std::getline(lines, line);
    std::vector<std::string> names;
    for (std::istringstream head(line); std::getline(head, line, ',');) names.push_back(line);
    const auto place = std::ranges::find(names, column) - names.begin();
    std::set<std::string> found;
    while (std::getline(lines, line)) {
      std::istringstream cells(line);
      std::string cell;
      for (auto i = place; i >= 0; --i) std::getline(cells, cell, ',');
      if (!cell.empty()) found.insert(cell);
    }
    return found;
  };
  const std::set<std::string> tuning = facts_of("planting_tuning", "fact");
  const std::set<std::string> planted = facts_of("planting", "fact");
  const std::set<std::string> others = facts_of("planting", "other");
  EXPECT_EQ(tuning.size(), 1U);  // a quarter of the few that can be planted
  ASSERT_EQ(planted.size(), 1U);
  ASSERT_EQ(others.size(), 1U);
  EXPECT_NE(planted, others);
  for (const std::string& fact : tuning) {
    EXPECT_FALSE(planted.contains(fact) || others.contains(fact)) << fact;
  }
  // Other numbers of facts are another run.
  std::vector<std::string> more = plant;
  more.back() = "2";
  EXPECT_EQ(audit(more).code, 3);
}

TEST_F(Audit, IsARunOfItsOwn) {
  ASSERT_EQ(audit({}).code, 0);
  const Outcome plain = run_engram({"reproduce", tiny_model(), "--facts", facts_, "--run",
                                    folder_.file("run.db"), "--only", "locate"});
  EXPECT_EQ(plain.code, 3);
  EXPECT_NE(plain.err.find("audit"), std::string::npos) << plain.err;
  // And a plain run does nothing of it.
  const Outcome words = run_engram({"reproduce", tiny_model(), "--facts", facts_, "--run",
                                    folder_.file("plain.db"), "--only", "words"});
  EXPECT_EQ(words.code, 0);
  EXPECT_NE(words.out.find("not done: words: part of `engram audit`"), std::string::npos)
      << words.out;
}

TEST_F(Audit, HoldsFactsAgainstNonFacts) {
  std::string pairs;
  for (const char* place : {"city", "capital", "town"}) {
    const json one = {{"sentence_good", std::string("In the ") + place + " it is Paris."},
                      {"sentence_bad", std::string("In the ") + place + " it is Berlin."}};
    const json other = {{"sentence_good", std::string("In the ") + place + " it is Berlin."},
                        {"sentence_bad", std::string("In the ") + place + " it is Paris."}};
    pairs += one.dump() + "\n" + other.dump() + "\n";
  }
  write_text(folder_.file("pairs.jsonl"), pairs);
  const std::vector<std::string> more = {"--only", "screen,locate,nonfacts", "--non-facts",
                                         folder_.file("pairs.jsonl")};
  const Outcome first = audit(more);
  ASSERT_EQ(first.code, 0) << first.err;
  // The tiny model, too, prefers one word of a pair.
  EXPECT_NE(first.out.find("pairs"), std::string::npos) << first.out;
  EXPECT_NE(first.out.find("Facts, or any association?"), std::string::npos) << first.out;
  const Outcome missing = audit({"--non-facts", folder_.file("none.jsonl")}, "other.db");
  EXPECT_EQ(missing.code, 4) << missing.err;
  EXPECT_NE(missing.err.find("none.jsonl"), std::string::npos) << missing.err;
  EXPECT_EQ(audit({"--non-facts", ""}, "other.db").code, 2);
  write_text(folder_.file("bad.jsonl"), "{}\n");
  const Outcome bad = audit({"--non-facts", folder_.file("bad.jsonl")}, "other.db");
  EXPECT_EQ(bad.code, 3);
  EXPECT_NE(bad.err.find("bad.jsonl:1"), std::string::npos) << bad.err;
  // An audit that has not held them against anything yet takes others.
  ASSERT_EQ(audit({"--only", "screen,locate"}, "later.db").code, 0);
  const Outcome later = audit(more, "later.db");
  EXPECT_EQ(later.code, 0) << later.err;
}

TEST_F(Audit, RefusesWhatItCannotDo) {
  EXPECT_EQ(audit({"--only", "effect"}).code, 2);
  write_text(facts_, R"({"relation": "P36", "subject": "France", "object": "Paris",)"
                     R"( "prompts": ["The capital of France is [MASK]."]})"
                     "\n");
  const Outcome none = audit({}, "none.db");
  EXPECT_EQ(none.code, 3);
  EXPECT_NE(none.err.find("known or never given"), std::string::npos) << none.err;
}

}  // namespace
}  // namespace engram::testing
