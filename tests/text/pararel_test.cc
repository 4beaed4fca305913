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
        << R"(", "uuid": "0"})"
        << "\n";
  }
  void add_pattern(const std::string& relation, const std::string& pattern,
                   const std::string& lemma, const std::string& extended_lemma) {
    std::ofstream(folder_ / "patterns" / (relation + ".jsonl"), std::ios::app)
        << R"({"pattern": ")" << pattern << R"(", "lemma": ")" << lemma
        << R"(", "extended_lemma": ")" << extended_lemma << R"(", "tense": "present"})"
        << "\n";
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

TEST_F(PararelTest, ThreePromptsRemainToLocateOn) {
  // Groups of one pattern each: with 3 nothing can be held out, with 4 one of them.
  const std::vector<std::string> verbs = {"works", "lives", "sleeps", "sings", "dances"};
  for (size_t patterns = 2; patterns <= 5; ++patterns) {
    const std::string relation = "P" + std::to_string(patterns);
    add_fact(relation, "A", "b");
    for (size_t i = 0; i < patterns; ++i) {
      add_pattern(relation, "[X] " + verbs[i] + " at [Y]", verbs[i], verbs[i]);
    }
  }
  // Two of two: either would leave two.
  add_fact("P6", "A", "b");
  for (size_t i = 0; i < 4; ++i) {
    add_pattern("P6", "[X] " + verbs[i] + " at [Y]", "l", i < 2 ? "a" : "b");
  }
  for (const double share : {0.1, 0.3, 1.0}) {
    for (uint64_t seed = 0; seed < 10; ++seed) {
      const FactSet set = read_facts(folder_, {.seed = seed, .held_out_share = share});
      EXPECT_EQ(set.unsplit_relations, (std::vector<std::string>{"P2", "P3", "P6"}));
      for (const Fact& fact : set.facts) {
        const size_t held_out = fact.relation == "P4"   ? 1
                                : fact.relation == "P5" ? (share == 1.0 ? 2 : 1)
                                                        : 0;
        EXPECT_EQ(fact.held_out.size(), held_out) << fact.relation << " " << share;
      }
    }
  }
}

TEST_F(PararelTest, AShareOnTheBoundaryCounts) {
  // 0.29 * 100 is a little less than 29 in doubles.
  add_fact("P1", "A", "b");
  for (int i = 0; i < 100; ++i) {
    const std::string word = "w" + std::string(1, static_cast<char>('a' + i / 10)) +
                             std::string(1, static_cast<char>('a' + i % 10)) + "q";
    add_pattern("P1", "[X] " + word + " [Y]", word, word);
  }
  const FactSet set = read_facts(folder_, {.held_out_share = 0.29});
  EXPECT_EQ(set.facts[0].held_out.size(), 29U);
}

TEST_F(PararelTest, ShareZeroHoldsNothingOut) {
  add_fact("P1", "A", "b");
  for (const char* verb : {"works", "lives", "sleeps", "sings", "dances"}) {
    add_pattern("P1", std::string("[X] ") + verb + " at [Y]", verb, verb);
  }
  EXPECT_FALSE(read_facts(folder_).facts[0].held_out.empty());
  const FactSet set = read_facts(folder_, {.held_out_share = 0.0});
  EXPECT_EQ(set.facts[0].prompts.size(), 5U);
  EXPECT_EQ(set.unsplit_relations, std::vector<std::string>{"P1"});
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

/// Facts and patterns of P9 and P36, as the folders of a published checkout.
class PararelCheckout : public PararelTest {
 protected:
  void move_to(const std::string& facts, const std::string& patterns) {
    for (const char* relation : {"P9", "P36"}) {
      add_fact(relation, "A", "b");
      add_pattern(relation, "[X] lies in [Y].", "lie", "lie-in");
    }
    for (const auto& [from, to] : {std::pair<std::string, std::string>{"facts", facts},
                                   std::pair<std::string, std::string>{"patterns", patterns}}) {
      fs::create_directories((folder_ / to).parent_path());
      fs::rename(folder_ / from, folder_ / to);
    }
  }
  static std::string refusal(const fs::path& path) {
    try {
      (void)read_facts(path);
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  }
  static std::vector<std::string> relations(const fs::path& path) {
    std::vector<std::string> names;
    for (const Fact& fact : read_facts(path).facts) names.push_back(fact.relation);
    return names;
  }
};

const std::vector<std::pair<std::string, std::string>> kPublished = {
    {"data/trex_lms_vocab", "data/pattern_data/graphs_json"},
    {"data/LAMA/raw_data/TREx", "data/PARAREL/raw_data/patterns"}};

TEST_F(PararelCheckout, AnyFolderOfItLeadsToBothHalves) {
  for (const auto& [facts, patterns] : kPublished) {
    move_to(facts, patterns);
    std::set<fs::path> places = {folder_, folder_ / ""};
    for (const std::string& half : {facts, patterns}) {
      for (fs::path part = half; !part.empty(); part = part.parent_path()) {
        places.insert(folder_ / part);
      }
    }
    for (const fs::path& place : places) {
      EXPECT_EQ(relations(place), (std::vector<std::string>{"P9", "P36"})) << place;
    }
    for (const std::string& half : {facts, patterns}) {
      EXPECT_EQ(relations(folder_ / half / "P36.jsonl"), std::vector<std::string>{"P36"}) << half;
    }
    const fs::path before = fs::current_path();
    fs::current_path(folder_ / facts);
    EXPECT_EQ(relations("P9.jsonl"), std::vector<std::string>{"P9"});
    EXPECT_EQ(relations("."), (std::vector<std::string>{"P9", "P36"}));
    fs::current_path(before);
    TearDown();
    SetUp();
  }
}

TEST_F(PararelCheckout, AMissingHalfIsNamed) {
  for (const auto& [facts, patterns] : kPublished) {
    for (const bool without_facts : {true, false}) {
      move_to(facts, patterns);
      fs::remove_all(folder_ / (without_facts ? facts : patterns));
      const std::string there = without_facts ? patterns : facts;
      const std::string missing = (folder_ / (without_facts ? facts : patterns)).string();
      for (const fs::path& place : {folder_, folder_ / there}) {
        EXPECT_NE(refusal(place).find("expected these in " + missing), std::string::npos)
            << refusal(place);
      }
      TearDown();
      SetUp();
    }
  }
  EXPECT_NE(refusal(fs::path(::testing::TempDir())).find("ParaRel folder"), std::string::npos);
}

TEST_F(PararelCheckout, AFileAloneSaysWhatIsMissing) {
  move_to("facts", "patterns");
  EXPECT_EQ(relations(folder_ / "facts" / "P36.jsonl"), std::vector<std::string>{"P36"});
  fs::copy(folder_ / "facts" / "P36.jsonl", folder_ / "P36.jsonl");
  const std::string fact = refusal(folder_ / "P36.jsonl");
  EXPECT_NE(fact.find("P36.jsonl:1: got ParaRel's facts without their patterns"), std::string::npos)
      << fact;
  fs::copy(folder_ / "patterns" / "P9.jsonl", folder_ / "P9.jsonl");
  EXPECT_NE(refusal(folder_ / "P9.jsonl").find("patterns without their facts"), std::string::npos);
  // A file of our own among them is no ParaRel.
  std::ofstream(folder_ / "facts" / "own.jsonl")
      << R"({"relation":"P1","subject":"s","object":"o","prompts":["[MASK]"]})"
      << "\n";
  EXPECT_EQ(relations(folder_ / "facts" / "own.jsonl"), std::vector<std::string>{"P1"});
}

TEST_F(PararelCheckout, RelationsAloneAreReadAndPatternsWithoutFactsAreListed) {
  move_to("facts", "patterns");
  add_pattern("P7", "[X] sings [Y].", "sing", "sing");
  FactSet set = read_facts(folder_);
  ASSERT_EQ(set.problems.size(), 1U);
  EXPECT_EQ(fs::path(set.problems[0].file).filename(), "P7.jsonl");
  EXPECT_EQ(set.problems[0].message.substr(0, 26), "got patterns without facts");
  set = read_facts(folder_, {.choice = {.relations = {"P36"}}});
  ASSERT_EQ(set.facts.size(), 1U);
  EXPECT_EQ(set.facts[0].relation, "P36");
  EXPECT_THROW((void)read_facts(folder_, {.choice = {.relations = {"P7"}}}), InputError);
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
  for (uint64_t seed = 0; seed < 5; ++seed) {
    const FactSet some = read_facts(folder, {.seed = seed});
    std::map<std::string, std::pair<size_t, size_t>> split;
    for (const Fact& fact : some.facts) {
      split[fact.relation] = {fact.prompts.size(), fact.held_out.size()};
    }
    ASSERT_EQ(split.size(), 39U);
    size_t prompts = 0;
    for (const auto& [relation, sizes] : split) {
      const auto [locating, held_out] = sizes;
      prompts += locating + held_out;
      EXPECT_GE(locating, held_out > 0 ? 3U : 1U) << relation;
      const bool unsplit =
          std::ranges::find(some.unsplit_relations, relation) != some.unsplit_relations.end();
      EXPECT_EQ(unsplit, held_out == 0) << relation;
      // Within the share, or the smallest group there is: four patterns of P1412.
      EXPECT_LE(held_out, std::max<size_t>(4, (locating + held_out) * 3 / 10)) << relation;
    }
    EXPECT_EQ(prompts, 329U);
    EXPECT_EQ(split["P36"].second, 0U) << "its two lemmas are near-copies";
    EXPECT_EQ(split["P103"].second, 0U) << "two of its four patterns would remain";
    EXPECT_GE(split.size() - some.unsplit_relations.size(), 15U);
  }
}

TEST_F(PararelTest, ACausalModelTakesThePatternsThatEndWithTheAnswer) {
  add_fact("P36", "France", "Paris");
  add_fact("P37", "France", "French");
  add_pattern("P36", "[X] has the capital [Y] .", "have", "have-capital");
  add_pattern("P36", "[Y] is the capital of [X].", "be", "capital-of");
  add_pattern("P36", "People of [X] go to [Y]", "go", "go-to");
  add_pattern("P36", "The king of [X] lives in [Y] today.", "live", "live-in");
  add_pattern("P36", "The government of [X] meets in [Y]!", "meet", "meet-in");
  add_pattern("P36", "Trains through [X] arrive at [Y]...", "arrive", "arrive-at");
  add_pattern("P37", "[Y] is spoken in [X].", "speak", "speak");
  FactSetOptions options;
  options.answer_last = true;
  const FactSet set = read_facts(folder_, options);
  ASSERT_EQ(set.facts.size(), 1U);
  const Fact& fact = set.facts.front();
  EXPECT_EQ(fact.left_out, 2);
  // The split is made among those that are left.
  EXPECT_EQ(fact.prompts.size() + fact.held_out.size(), 4U);
  EXPECT_EQ(fact.held_out.size(), 1U);
  ASSERT_EQ(set.problems.size(), 1U);
  EXPECT_NE(problem_text(set.problems.front()).find("none of which ends with [Y]"),
            std::string::npos)
      << problem_text(set.problems.front());
}

}  // namespace
}  // namespace engram
