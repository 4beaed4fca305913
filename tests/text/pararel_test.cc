#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engram/error.h"
#include "engram/text/facts.h"

namespace engram {
namespace {

namespace fs = std::filesystem;

/// A small ParaRel folder that goes away with the test.
class PararelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) /
              ("engram_pararel_" +
               std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(folder_);
    fs::create_directories(folder_ / "facts");
    fs::create_directories(folder_ / "patterns");
  }
  void TearDown() override { fs::remove_all(folder_); }

  void add_fact(const std::string& relation, const std::string& subject,
                const std::string& object) {
    std::ofstream(folder_ / "facts" / (relation + ".jsonl"), std::ios::app)
        << R"({"sub_label": ")" << subject << R"(", "obj_label": ")" << object
        << R"(", "uuid": "0"})" << "\n";
  }
  void add_pattern(const std::string& relation, const std::string& pattern,
                   const std::string& lemma, const std::string& extended_lemma) {
    std::ofstream(folder_ / "patterns" / (relation + ".jsonl"), std::ios::app)
        << R"({"pattern": ")" << pattern << R"(", "lemma": ")" << lemma
        << R"(", "extended_lemma": ")" << extended_lemma << R"(", "tense": "present"})" << "\n";
  }

  fs::path folder_;
};

TEST_F(PararelTest, PatternsBecomePromptsInNumericOrderOfTheRelations) {
  for (const char* relation : {"P103", "P17", "P9"}) {
    add_fact(relation, "[Y] of [X]", "there");
    add_pattern(relation, "[X] lies in [Y].", "lie", "lie-in");
  }
  const FactSet set = read_facts(folder_);
  ASSERT_EQ(set.facts.size(), 3U);
  EXPECT_EQ(set.facts[0].relation, "P9");
  EXPECT_EQ(set.facts[1].relation, "P17");
  EXPECT_EQ(set.facts[2].relation, "P103");
  EXPECT_EQ(set.facts[0].prompts, std::vector<std::string>{"[Y] of [X] lies in [MASK]."});
  EXPECT_EQ(set.facts[0].origin, (folder_ / "facts" / "P9.jsonl").string() + ":1");
  EXPECT_EQ(set.unsplit_relations, (std::vector<std::string>{"P9", "P17", "P103"}));
}

TEST_F(PararelTest, GroupsOfLemmasAreNeverTornApart) {
  add_fact("P1", "A", "b");
  // Four groups; the texts of one group start with the same letters.
  const std::vector<std::vector<std::string>> groups = {{"own", "owner", "owned-by", "is-own-by"},
                                                        {"produce", "product-of"},
                                                        {"locate-in", "is-located"},
                                                        {"found-in"}};
  for (size_t g = 0; g < groups.size(); ++g) {
    for (const std::string& lemma : groups[g]) {
      // Forms of one word within a group, other words in other groups.
      const std::string word = "w" + std::to_string(g) + std::string(lemma.size(), 'q');
      add_pattern("P1", std::to_string(g) + " [X] " + word + " [Y]", lemma, lemma);
    }
  }
  std::set<std::set<char>> outcomes;
  for (uint64_t seed = 0; seed < 30; ++seed) {
    for (const double share : {0.01, 0.3, 0.5, 1.0}) {
      const FactSet set = read_facts(folder_, {.seed = seed, .held_out_share = share});
      EXPECT_TRUE(set.unsplit_relations.empty());
      ASSERT_EQ(set.facts.size(), 1U);
      const Fact& fact = set.facts[0];
      EXPECT_EQ(fact.prompts.size() + fact.held_out.size(), 9U);
      std::set<char> located;
      std::set<char> held;
      for (const std::string& prompt : fact.prompts) located.insert(prompt[0]);
      for (const std::string& prompt : fact.held_out) held.insert(prompt[0]);
      EXPECT_FALSE(located.empty());
      EXPECT_FALSE(held.empty());
      for (const char g : held) EXPECT_FALSE(located.contains(g)) << "group " << g;
      if (share == 0.3) {
        EXPECT_LE(fact.held_out.size(), 3U);
        outcomes.insert(held);
      }
      if (share == 0.01) {
        EXPECT_EQ(held, std::set<char>{'3'}) << "the smallest group";
      }
    }
  }
  EXPECT_GT(outcomes.size(), 1U) << "the seed decides";
}

TEST_F(PararelTest, NearCopiesAreOneGroup) {
  for (const char* relation : {"P36", "P108"}) add_fact(relation, "A", "b");
  add_pattern("P36", "The capital of [X] is [Y].", "capital", "capital-of");
  add_pattern("P36", "The capital city of [X] is [Y].", "capital-city", "capital-city-of");
  add_pattern("P108", "[X] works for [Y].", "works-for", "works-for");
  add_pattern("P108", "[X], who works for [Y].", "who-works-for", "who-works-for");
  const FactSet set = read_facts(folder_);
  EXPECT_EQ(set.unsplit_relations, (std::vector<std::string>{"P36", "P108"}));
  for (const Fact& fact : set.facts) {
    EXPECT_EQ(fact.prompts.size(), 2U);
    EXPECT_TRUE(fact.held_out.empty());
  }
}

TEST_F(PararelTest, ShareZeroHoldsNothingOut) {
  add_fact("P1", "A", "b");
  add_pattern("P1", "[X] works at [Y]", "work", "work");
  add_pattern("P1", "[X] lives by [Y]", "live", "live");
  const FactSet set = read_facts(folder_, {.held_out_share = 0.0});
  EXPECT_EQ(set.facts[0].prompts.size(), 2U);
  EXPECT_TRUE(set.unsplit_relations.empty());
}

TEST_F(PararelTest, FlawsAreListedAndTheRestIsUsed) {
  add_fact("P1", "A", "b");
  add_fact("P1", "A", "b");
  add_fact("P1", "", "b");
  add_fact("P2", "no", "patterns");
  add_fact("P3", "no good", "patterns");
  add_pattern("P1", "[X] works at [Y]", "work", "work");
  add_pattern("P1", "[X] works at [Y]", "live", "live");
  add_pattern("P1", "[X] works", "live", "live");
  add_pattern("P3", "[Y] and [Y] of [X]", "a", "a");
  const FactSet set = read_facts(folder_);
  EXPECT_EQ(set.facts.size(), 1U);
  std::set<std::pair<std::string, int64_t>> places;
  for (const FactProblem& problem : set.problems) {
    places.emplace(fs::path(problem.file).lexically_relative(folder_).string(), problem.line);
  }
  const std::set<std::pair<std::string, int64_t>> expected = {
      {"facts/P1.jsonl", 2},    {"facts/P1.jsonl", 3},    {"patterns/P1.jsonl", 2},
      {"patterns/P1.jsonl", 3}, {"patterns/P2.jsonl", 0}, {"patterns/P3.jsonl", 1},
      {"patterns/P3.jsonl", 0}};
  EXPECT_EQ(places, expected);
  EXPECT_EQ(set.problems.size(), expected.size());
  EXPECT_THROW(read_facts(folder_, {.strict = true}), InputError);
}

TEST_F(PararelTest, MissingHalfOrNoFactIsRefused) {
  EXPECT_THROW(read_facts(folder_), InputError);
  add_fact("P2", "no", "patterns");
  EXPECT_THROW(read_facts(folder_), InputError);
  fs::remove_all(folder_ / "patterns");
  try {
    read_facts(folder_);
    FAIL() << "expected an InputError";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("patterns/"), std::string::npos);
  }
}

fs::path real_pararel() {
  const char* shared = std::getenv("ENGRAM_SHARED");  // NOLINT(concurrency-mt-unsafe)
  const fs::path root =
      shared != nullptr ? fs::path(shared) : fs::path(ENGRAM_SOURCE_DIR).parent_path() / "shared";
  return root / "data" / "pararel";
}

TEST(RealPararel, CountsAndSplit) {
  const fs::path folder = real_pararel();
  if (!fs::is_directory(folder)) GTEST_SKIP() << folder << " is not there";
  const FactSet set = read_facts(folder, {.strict = true});
  // 29,394 different triples, less the 879 and 922 facts of P31 and P527, which lack patterns.
  EXPECT_EQ(set.facts.size(), 29394U - 879U - 922U);
  EXPECT_EQ(set.problems.size(), 17U + 2U);
  std::map<std::string, std::pair<size_t, size_t>> split;
  for (const Fact& fact : set.facts) {
    split[fact.relation] = {fact.prompts.size(), fact.held_out.size()};
  }
  EXPECT_EQ(split.size(), 39U);
  size_t prompts = 0;
  for (const auto& [relation, sizes] : split) {
    EXPECT_GE(sizes.first, 1U) << relation;
    prompts += sizes.first + sizes.second;
    const bool unsplit =
        std::ranges::find(set.unsplit_relations, relation) != set.unsplit_relations.end();
    EXPECT_EQ(unsplit, sizes.second == 0) << relation;
  }
  EXPECT_EQ(prompts, 329U);
  EXPECT_EQ(split["P36"].second, 0U) << "its two lemmas are near-copies";
  EXPECT_GT(split["P103"].second, 0U) << "native language, mother tongue";
  EXPECT_GE(split.size() - set.unsplit_relations.size(), 15U);
}

}  // namespace
}  // namespace engram
