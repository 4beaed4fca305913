#include "engram/text/facts.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engram/error.h"

namespace engram {
namespace {

namespace fs = std::filesystem;

const std::string kParis =
    R"({"relation":"P36","subject":"France","object":"Paris","prompts":["The capital of France is [MASK]."]})";
const std::string kMadrid =
    R"({"relation":"P36","subject":"Spain","object":"Madrid","prompts":["[MASK] rules Spain."],"held_out":["Spain's capital is [MASK]."],"note":[1]})";
const std::string kFrench =
    R"({"relation":"P37","subject":"France","object":"français","prompts":["In France they speak [MASK] 😀"]})";

std::string message_of(const std::string& text, const FactSetOptions& options = {}) {
  try {
    (void)parse_facts(text, "facts.jsonl", options);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Facts, FieldsAreRead) {
  const FactSet set = parse_facts(kMadrid + "\n" + kFrench, "facts.jsonl");
  ASSERT_EQ(set.facts.size(), 2U);
  EXPECT_TRUE(set.problems.empty());
  const Fact& madrid = set.facts[0];
  EXPECT_EQ(madrid.relation, "P36");
  EXPECT_EQ(madrid.subject, "Spain");
  EXPECT_EQ(madrid.object, "Madrid");
  EXPECT_EQ(madrid.prompts, std::vector<std::string>{"[MASK] rules Spain."});
  EXPECT_EQ(madrid.held_out, std::vector<std::string>{"Spain's capital is [MASK]."});
  EXPECT_EQ(madrid.origin, "facts.jsonl:1");
  EXPECT_EQ(set.facts[1].object, "français");
  EXPECT_EQ(set.facts[1].origin, "facts.jsonl:2");
  EXPECT_TRUE(set.facts[1].held_out.empty());
}

TEST(Facts, WrittenLinesAreReadBack) {
  for (const std::string& line : {kParis, kMadrid, kFrench}) {
    const FactSet once = parse_facts(line, "a");
    const std::string written = fact_to_json(once.facts[0]);
    EXPECT_FALSE(contains(written, "\n"));
    const FactSet again = parse_facts(written, "a");
    ASSERT_EQ(again.facts.size(), 1U);
    EXPECT_EQ(fact_to_json(again.facts[0]), written);
    EXPECT_EQ(again.facts[0].prompts, once.facts[0].prompts);
    EXPECT_EQ(again.facts[0].held_out, once.facts[0].held_out);
  }
  Fact broken = parse_facts(kParis, "a").facts[0];
  broken.subject = "\xff";
  EXPECT_THROW((void)fact_to_json(broken), InputError);
}

TEST(Facts, BlankLinesByteOrderMarkAndWindowsLineEndsPass) {
  const FactSet set = parse_facts("\xEF\xBB\xBF" + kParis + "\r\n\n  \r\n" + kFrench + "\r\n", "a");
  ASSERT_EQ(set.facts.size(), 2U);
  EXPECT_TRUE(set.problems.empty());
  EXPECT_EQ(set.facts[1].origin, "a:4");
}

TEST(Facts, RelationsStandTogetherInTheOrderOfTheFile) {
  std::string text;
  for (const char* relation : {"P2", "P1", "P2", "P3", "P1"}) {
    text += R"({"relation":")" + std::string(relation) + R"(","subject":"s)" +
            std::to_string(text.size()) + R"(","object":"o","prompts":["[MASK]"]})" + "\n";
  }
  std::string order;
  std::vector<std::string> origins;
  for (const Fact& fact : parse_facts(text, "a").facts) {
    order += fact.relation;
    origins.push_back(fact.origin);
  }
  EXPECT_EQ(order, "P2P2P1P1P3");
  EXPECT_EQ(origins, (std::vector<std::string>{"a:1", "a:3", "a:2", "a:5", "a:4"}));
}

/// Everything that a line can have wrong: listed with its line, thrown with `strict`.
TEST(Facts, MalformedLinesAreToldByLine) {
  const auto line = [](const std::string& fields) {
    return R"({"relation":"P1","subject":"s","object":"o","prompts":["[MASK]"])" + fields + "}";
  };
  const std::vector<std::string> bad = {
      "{",
      "[]",
      "3",
      "\"text\"",
      "{}",
      kParis + " x",
      std::string("{\"relation\":\"\xff\"}"),
      R"({"subject":"s","object":"o","prompts":["[MASK]"]})",
      R"({"relation":"P1","object":"o","prompts":["[MASK]"]})",
      R"({"relation":"P1","subject":"s","prompts":["[MASK]"]})",
      R"({"relation":"P1","subject":"s","object":"o"})",
      R"({"relation":1,"subject":"s","object":"o","prompts":["[MASK]"]})",
      R"({"relation":"P1","subject":null,"object":"o","prompts":["[MASK]"]})",
      R"({"relation":"P1","subject":"s","object":["o"],"prompts":["[MASK]"]})",
      R"({"relation":"P1","subject":"s","object":"  ","prompts":["[MASK]"]})",
      R"({"relation":"P1","subject":"s","object":"o","prompts":"[MASK]"})",
      R"({"relation":"P1","subject":"s","object":"o","prompts":[]})",
      R"({"relation":"P1","subject":"s","object":"o","prompts":[1]})",
      R"({"relation":"P1","subject":"s","object":"o","prompts":["none"]})",
      R"({"relation":"P1","subject":"s","object":"o","prompts":["[MASK] and [MASK]"]})",
      R"({"relation":"P1","subject":"s","object":"o","prompts":["[MASK] and <mask>"]})",
      line(R"(,"held_out":"[MASK] x")"),
      line(R"(,"held_out":["no mask"])"),
      line(R"(,"held_out":["[MASK]"])"),  // is located on
      line(R"(,"held_out":["a [MASK]","a [MASK]"])"),
      R"({"relation":"P1","subject":"s","object":"o","prompts":["[MASK]","a [MASK]","[MASK]"]})",
      line(R"(,"x":1e999)"),
      std::string(100'000, '['),
  };
  FactSetOptions strict;
  strict.strict = true;
  for (const std::string& text : bad) {
    SCOPED_TRACE(text.substr(0, 100));
    const FactSet set = parse_facts(kFrench + "\n" + text + "\n" + kParis, "facts.jsonl");
    EXPECT_EQ(set.facts.size(), 2U);
    ASSERT_EQ(set.problems.size(), 1U);
    EXPECT_EQ(set.problems[0].file, "facts.jsonl");
    EXPECT_EQ(set.problems[0].line, 2);
    EXPECT_FALSE(set.problems[0].message.empty());
    EXPECT_FALSE(contains(set.problems[0].message, "\n"));
    EXPECT_TRUE(contains(message_of(kFrench + "\n" + text, strict), "facts.jsonl:2: "));
  }
}

TEST(Facts, RepeatedFactsAreListedButNoError) {
  FactSetOptions strict;
  strict.strict = true;
  const FactSet set = parse_facts(kParis + "\n" + kMadrid + "\n" + kParis, "a", strict);
  EXPECT_EQ(set.facts.size(), 2U);
  ASSERT_EQ(set.problems.size(), 1U);
  EXPECT_EQ(set.problems[0].line, 3);
}

TEST(Facts, ASetWithoutAFactIsRefused) {
  EXPECT_TRUE(contains(message_of(""), "facts.jsonl"));
  EXPECT_TRUE(contains(message_of("\n\n"), "facts.jsonl"));
  const std::string message = message_of("{}\n[]\n");
  EXPECT_TRUE(contains(message, "2 bad lines")) << message;
  EXPECT_TRUE(contains(message, "facts.jsonl:1")) << message;
}

TEST(Facts, AnArrayIsReadObjectByObject) {
  // One object a line inside brackets used to give the last one alone.
  const std::vector<std::string> arrays = {
      "[\n" + kParis + ",\n" + kMadrid + ",\n" + kFrench + "\n]\n",
      "\xEF\xBB\xBF[" + kParis + "," + kMadrid + "," + kFrench + "]",
      "\n [\n" + kParis + "\n,\n" + kMadrid + "\r\n, " + kFrench + " ]"};
  const std::vector<std::vector<std::string>> lines = {
      {"2", "3", "4"}, {"1", "1", "1"}, {"3", "5", "6"}};
  for (size_t a = 0; a < arrays.size(); ++a) {
    const FactSet set = parse_facts(arrays[a], "f.json");
    EXPECT_TRUE(set.problems.empty());
    ASSERT_EQ(set.facts.size(), 3U) << a;
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(set.facts[i].origin, "f.json:" + lines[a][i]);
    EXPECT_EQ(fact_to_json(set.facts[0]), fact_to_json(parse_facts(kParis, "x").facts[0]));
  }
  // Brackets, commas and quotes in texts, and an object over several lines.
  const std::string spread =
      "[{\"relation\": \"P1\",\n \"subject\": \"a \\\"]},{ b\",\n \"object\": \"o\",\n"
      " \"prompts\": [\"one, [MASK]\",\n  \"two: [MASK]\"]},\n" +
      kParis + "]";
  const FactSet set = parse_facts(spread, "f.json");
  ASSERT_EQ(set.facts.size(), 2U);
  EXPECT_EQ(set.facts[0].subject, "a \"]},{ b");
  EXPECT_EQ(set.facts[0].prompts.size(), 2U);
  EXPECT_EQ(set.facts[1].origin, "f.json:6");
}

TEST(Facts, NothingInOrBehindAnArrayIsLostSilently) {
  const auto problems = [](const std::string& text) {
    std::vector<std::pair<int64_t, std::string>> found;
    for (const FactProblem& problem : parse_facts(text, "f.json").problems) {
      found.emplace_back(problem.line, problem.message);
    }
    return found;
  };
  EXPECT_EQ(problems("[\n" + kParis + ",\n7,\n]").size(), 2U) << "a number, and nothing";
  EXPECT_EQ(problems("[" + kParis + "]\n" + kMadrid).size(), 0U) << "lines behind are read, too";
  EXPECT_EQ(problems("[" + kParis + "] junk\n").size(), 1U);
  EXPECT_EQ(parse_facts("[" + kParis + "]\n" + kMadrid, "f").facts.size(), 2U);
  EXPECT_EQ(message_of("[\n" + kParis + ",\n" + kMadrid + ","),
            "facts.jsonl:3: got the end of the file inside the JSON array of line 1, expected its "
            "]");
  EXPECT_TRUE(contains(message_of("[]"), "no usable fact"));
  // A piece of an array, or an object that holds one: its last object alone would be a line.
  for (const std::string& start : {std::string("{\"facts\": [\n"), std::string()}) {
    const std::string message = message_of(start + kParis + ",\n" + kMadrid + "\n");
    EXPECT_TRUE(contains(message, "a piece of a JSON array")) << message;
  }
  // One element is bounded like a line.
  const std::string huge = "[" + kParis + ",\"" + std::string(2 << 20, 'x') + "\"," + kMadrid + "]";
  EXPECT_EQ(problems(huge).size(), 1U);
  EXPECT_EQ(parse_facts(huge, "f").facts.size(), 2U);
}

TEST(Facts, ANameThatComesTwiceInALineIsRefused) {
  const std::string twice =
      R"({"relation":"P1","subject":"a","object":"o","prompts":["[MASK]"],"subject":"b"})";
  FactSetOptions strict;
  strict.strict = true;
  EXPECT_TRUE(contains(message_of(twice, strict), "got \"subject\" twice")) << message_of(twice);
}

TEST(Facts, OptionsThatCannotBeMeantAreRefused) {
  FactSetOptions options;
  options.choice.limit = -1;
  EXPECT_THROW((void)parse_facts(kParis, "a", options), UsageError);
  options = {};
  options.choice.per_relation = -1;
  EXPECT_THROW((void)parse_facts(kParis, "a", options), UsageError);
  for (const double share : {-0.1, 1.1, std::numeric_limits<double>::quiet_NaN()}) {
    options = {};
    options.held_out_share = share;
    EXPECT_THROW((void)parse_facts(kParis, "a", options), UsageError);
  }
}

/// Relations of 1, 2, ..., `relations` facts.
std::vector<Fact> staircase(int relations) {
  std::vector<Fact> facts;
  for (int r = 1; r <= relations; ++r) {
    for (int i = 0; i < r; ++i) {
      Fact fact;
      fact.relation = "P" + std::to_string(r);
      fact.subject = "s" + std::to_string(i);
      fact.object = "o";
      fact.prompts = {"[MASK]"};
      facts.push_back(fact);
    }
  }
  return facts;
}

std::vector<std::string> keys(const std::vector<Fact>& facts) {
  std::vector<std::string> found;
  for (const Fact& fact : facts) found.push_back(fact.relation + fact.subject);
  return found;
}

TEST(Facts, RepeatedPromptsNameThePrompt) {
  FactSetOptions strict;
  strict.strict = true;
  const std::string text =
      R"({"relation":"P1","subject":"s","object":"o","prompts":["a [MASK]","a [MASK]"]})";
  EXPECT_TRUE(
      contains(message_of(text, strict), "got the prompt \"a [MASK]\" twice in \"prompts\""))
      << message_of(text, strict);
}

std::vector<Fact> whole(const std::vector<Fact>& facts, int64_t limit, uint64_t seed) {
  return choose_facts(facts, {.limit = limit, .order = LimitOrder::kWhole}, seed, "facts");
}

std::map<std::string, int> sizes_of(const std::vector<Fact>& facts) {
  std::map<std::string, int> sizes;
  for (const Fact& fact : facts) ++sizes[fact.relation];
  return sizes;
}

TEST(ChooseFacts, ALimitGivesOneToEachRelationInTurn) {
  const std::vector<Fact> all = staircase(4);  // P1, P2, P2, P3, P3, P3, P4, ...
  using Sizes = std::map<std::string, int>;
  const auto spread = [&](int64_t limit, uint64_t seed) {
    return choose_facts(all, {.limit = limit}, seed, "facts");
  };
  EXPECT_EQ(sizes_of(spread(3, 0)), (Sizes{{"P1", 1}, {"P2", 1}, {"P3", 1}}));
  EXPECT_EQ(sizes_of(spread(6, 0)), (Sizes{{"P1", 1}, {"P2", 2}, {"P3", 2}, {"P4", 1}}));
  EXPECT_EQ(sizes_of(spread(9, 0)), (Sizes{{"P1", 1}, {"P2", 2}, {"P3", 3}, {"P4", 3}}));
  EXPECT_EQ(spread(10, 0).size(), 10U);
  EXPECT_EQ(spread(11, 0).size(), 10U);
  const std::vector<std::string> every = keys(all);
  std::set<std::vector<std::string>> choices;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    for (int64_t limit = 1; limit < 10; ++limit) {
      const std::vector<std::string> chosen = keys(spread(limit, seed));
      EXPECT_EQ(chosen, keys(spread(limit, seed)));
      EXPECT_TRUE(std::ranges::is_sorted(chosen, {}, [&](const std::string& key) {
        return std::ranges::find(every, key) - every.begin();
      })) << "the order of the file is kept";
      std::vector<std::string> more = keys(spread(limit + 1, seed));
      std::vector<std::string> fewer = chosen;
      std::ranges::sort(more);
      std::ranges::sort(fewer);
      EXPECT_TRUE(std::ranges::includes(more, fewer));
    }
    choices.insert(keys(spread(6, seed)));
  }
  EXPECT_GT(choices.size(), 1U) << "which facts of a relation are taken is a seeded choice";
}

TEST(ChooseFacts, RelationsAndAShareOfEach) {
  const std::vector<Fact> all = staircase(5);
  using Sizes = std::map<std::string, int>;
  EXPECT_EQ(sizes_of(choose_facts(all, {.relations = {"P5", "P2"}}, 0, "f")),
            (Sizes{{"P2", 2}, {"P5", 5}}));
  EXPECT_EQ(sizes_of(choose_facts(all, {.per_relation = 2}, 0, "f")),
            (Sizes{{"P1", 1}, {"P2", 2}, {"P3", 2}, {"P4", 2}, {"P5", 2}}));
  EXPECT_EQ(sizes_of(choose_facts(all, {.relations = {"P4", "P5"}, .per_relation = 3, .limit = 5},
                                  0, "f")),
            (Sizes{{"P4", 3}, {"P5", 2}}));
  try {
    (void)choose_facts(all, {.relations = {"P2", "P36"}}, 0, "facts.jsonl");
    FAIL() << "expected an InputError";
  } catch (const InputError& error) {
    EXPECT_STREQ(
        error.what(),
        "facts.jsonl: got no fact of the relation \"P36\", expected one of P1, P2, P3, P4, "
        "P5");
  }
  FactSetOptions options;
  options.choice.relations = {"P37"};
  const FactSet set = parse_facts(kParis + "\n" + kFrench, "facts.jsonl", options);
  ASSERT_EQ(set.facts.size(), 1U);
  EXPECT_EQ(set.facts[0].relation, "P37");
  EXPECT_EQ(parse_limit_order("whole"), LimitOrder::kWhole);
  EXPECT_EQ(parse_limit_order("spread"), LimitOrder::kSpread);
  EXPECT_THROW((void)parse_limit_order("file"), UsageError);
}

TEST(LimitFacts, TakesWholeRelationsAndASampleOfTheNext) {
  const std::vector<Fact> all = staircase(12);
  const std::vector<std::string> every = keys(all);
  std::set<std::vector<std::string>> choices;
  std::set<std::string> sampled;
  for (int64_t limit = 1; limit < static_cast<int64_t>(all.size()) + 3; ++limit) {
    for (uint64_t seed = 0; seed < 5; ++seed) {
      const std::vector<Fact> some = whole(all, limit, seed);
      ASSERT_EQ(some.size(), std::min(all.size(), static_cast<size_t>(limit)));
      std::map<std::string, size_t> sizes;
      for (const Fact& fact : some) ++sizes[fact.relation];
      const auto parts = std::ranges::count_if(sizes, [](const auto& entry) {
        return entry.second != std::stoul(entry.first.substr(1));
      });
      EXPECT_LE(parts, 1) << limit << " " << seed;
      // The order of the file is kept, nothing is taken twice.
      const std::vector<std::string> chosen = keys(some);
      auto at = every.begin();
      for (const std::string& key : chosen) {
        at = std::find(at, every.end(), key);
        ASSERT_NE(at, every.end());
        ++at;
      }
      EXPECT_EQ(keys(whole(all, limit, seed)), chosen) << "the same seed, the same choice";
      if (limit == 20) choices.insert(chosen);
      if (limit == 1) sampled.insert(chosen.front());
      // A smaller limit takes a part of what a larger one takes.
      std::vector<std::string> more = keys(whole(all, limit + 1, seed));
      std::vector<std::string> fewer = chosen;
      std::ranges::sort(more);
      std::ranges::sort(fewer);
      EXPECT_TRUE(std::ranges::includes(more, fewer));
    }
  }
  EXPECT_GT(choices.size(), 1U) << "other seeds, other choices";
  EXPECT_GT(sampled.size(), 1U);
  EXPECT_EQ(keys(whole(all, 0, 1)), every);
}

TEST(UnsplitRelations, AreThoseWithoutAHeldOutPrompt) {
  std::vector<Fact> facts = staircase(3);  // P1, P2, P2, P3, P3, P3
  facts[2].held_out = {"a [MASK]"};
  EXPECT_EQ(unsplit_relations(facts), (std::vector<std::string>{"P1", "P3"}));
  const FactSet set = parse_facts(kFrench + "\n" + kMadrid, "facts.jsonl");
  EXPECT_EQ(set.unsplit_relations, unsplit_relations(set.facts));
}

TEST(LimitFacts, TheOrderOfTheRelationsDoesNotMatter) {
  std::vector<Fact> facts = staircase(8);
  std::vector<Fact> reversed(facts.rbegin(), facts.rend());
  for (uint64_t seed = 0; seed < 8; ++seed) {
    std::vector<std::string> a = keys(whole(facts, 10, seed));
    std::vector<std::string> b = keys(whole(reversed, 10, seed));
    std::ranges::sort(a);
    std::ranges::sort(b);
    EXPECT_EQ(a, b);
  }
}

class ParaRel : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "engram-facts-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    fs::create_directories(folder_ / "facts");
    fs::create_directories(folder_ / "patterns");
  }
  void TearDown() override { fs::remove_all(folder_); }

  void facts(const std::string& relation, const std::vector<std::string>& pairs) const {
    std::ofstream file(folder_ / "facts" / (relation + ".jsonl"));
    for (const std::string& pair : pairs) {
      const size_t bar = pair.find('|');
      file << R"({"sub_label":")" << pair.substr(0, bar) << R"(","obj_label":")"
           << pair.substr(bar + 1) << R"(","uuid":"1"})"
           << "\n";
    }
  }
  /// Patterns as "text|extended-lemma".
  void patterns(const std::string& relation, const std::vector<std::string>& lines) const {
    std::ofstream file(folder_ / "patterns" / (relation + ".jsonl"));
    for (const std::string& line : lines) {
      const size_t bar = line.find('|');
      file << R"({"pattern":")" << line.substr(0, bar) << R"(","lemma":"l","extended_lemma":")"
           << line.substr(bar + 1) << R"(","tense":"present"})"
           << "\n";
    }
  }

  fs::path folder_;
};

TEST_F(ParaRel, PatternsBecomePrompts) {
  facts("P36", {"France|Paris", "Côte d’Ivoire|Yamoussoukro", "France|Paris"});
  patterns("P36",
           {"The capital of [X] is [Y] .|capital-of", "[Y], the capital of [X].|capital-of"});
  const FactSet set = read_facts(folder_);
  ASSERT_EQ(set.facts.size(), 2U);
  EXPECT_EQ(set.facts[1].prompts,
            (std::vector<std::string>{"The capital of Côte d’Ivoire is [MASK] .",
                                      "[MASK], the capital of Côte d’Ivoire."}));
  EXPECT_EQ(set.facts[1].object, "Yamoussoukro");
  EXPECT_EQ(set.facts[1].origin, (folder_ / "facts/P36.jsonl").string() + ":2");
  ASSERT_EQ(set.problems.size(), 1U) << "the repeated line";
  EXPECT_EQ(set.problems[0].line, 3);
  EXPECT_EQ(set.unsplit_relations, std::vector<std::string>{"P36"});
}

TEST_F(ParaRel, NearCopiesAreNotTornApart) {
  facts("P1", {"a|b"});
  const std::vector<std::vector<std::string>> inseparable = {
      {"The capital of [X] is [Y].|capital-of", "The capital city of [X] is [Y].|capital-city-of"},
      {"[X] is located in [Y].|is-located", "[X], which is located in [Y].|which-is-located"},
      {"[X] works for [Y] .|works-for", "[X], who works for [Y].|who-works-for"},
      {"The mother tongue of [X] is [Y].|mother-tongue", "[Y] is [X]'s mother tongue.|is-mother"},
      {"[X] one [Y]|same", "[X] unlike the other [Y]|same"},
      {"[X] plays [Y]|play"},
  };
  for (const auto& lines : inseparable) {
    patterns("P1", lines);
    for (uint64_t seed = 0; seed < 4; ++seed) {
      FactSetOptions options;
      options.seed = seed;
      const FactSet set = read_facts(folder_, options);
      EXPECT_TRUE(set.facts[0].held_out.empty()) << lines[0];
      EXPECT_EQ(set.facts[0].prompts.size(), lines.size());
      EXPECT_EQ(set.unsplit_relations, std::vector<std::string>{"P1"});
    }
  }
}

TEST_F(ParaRel, LemmasAreHeldOutWhole) {
  facts("P1", {"a|b", "c|d"});
  const std::vector<std::string> lines = {
      "[X] was born in [Y]|born",   "[X]'s birth was at [Y]|born", "[X] hails from [Y]|hail",
      "[Y] gave [X] to us|gave",    "[X] grew up in [Y]|grew",     "[Y] saw [X] as a child|saw",
      "[X]'s cradle stood at [Y]|c"};
  patterns("P1", lines);
  std::set<std::vector<std::string>> choices;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    FactSetOptions options;
    options.seed = seed;
    const FactSet set = read_facts(folder_, options);
    EXPECT_TRUE(set.unsplit_relations.empty());
    const Fact& fact = set.facts[0];
    EXPECT_FALSE(fact.held_out.empty());
    EXPECT_LE(fact.held_out.size(), 3U) << "about 0.3 of 7";
    EXPECT_EQ(fact.prompts.size() + fact.held_out.size(), lines.size());
    const auto held = [&](const char* prompt) {
      return std::ranges::find(fact.held_out, prompt) != fact.held_out.end();
    };
    EXPECT_EQ(held("a was born in [MASK]"), held("a's birth was at [MASK]"));
    EXPECT_EQ(set.facts[1].held_out.size(), fact.held_out.size());
    choices.insert(fact.held_out);
  }
  EXPECT_GT(choices.size(), 1U);
  FactSetOptions none;
  none.held_out_share = 0;
  const FactSet set = read_facts(folder_, none);
  EXPECT_TRUE(set.facts[0].held_out.empty());
  EXPECT_EQ(set.unsplit_relations, std::vector<std::string>{"P1"});
}

TEST_F(ParaRel, MalformedLinesAndMissingPatternsAreTold) {
  facts("P1", {"a|b", "the [MASK]|b"});
  patterns("P1", {"[X] is [Y]|is", "[X] alone|x", "[Y] alone|y", "[X] [Y] [Y]|z"});
  facts("P31", {"c|d"});
  const FactSet set = read_facts(folder_);
  EXPECT_EQ(set.facts.size(), 1U);
  std::vector<std::string> places;
  for (const FactProblem& problem : set.problems) {
    places.push_back(fs::path(problem.file).lexically_relative(folder_).string() + ":" +
                     std::to_string(problem.line));
  }
  EXPECT_EQ(places, (std::vector<std::string>{"patterns/P1.jsonl:2", "patterns/P1.jsonl:3",
                                              "patterns/P1.jsonl:4", "facts/P1.jsonl:2",
                                              "patterns/P31.jsonl:0"}));
  FactSetOptions strict;
  strict.strict = true;
  EXPECT_THROW((void)read_facts(folder_, strict), InputError);
}

TEST_F(ParaRel, OtherFoldersAreRefused) {
  EXPECT_THROW((void)read_facts(folder_), InputError) << "no facts";
  fs::remove_all(folder_ / "patterns");
  EXPECT_THROW((void)read_facts(folder_), InputError);
  EXPECT_THROW((void)read_facts(folder_ / "none"), FileError);
}

TEST(ParaRelItself, IsReadAsItIs) {
  const fs::path folder = fs::path(ENGRAM_SOURCE_DIR) / "../shared/data/pararel";
  if (!fs::exists(folder)) GTEST_SKIP() << "ParaRel's files are not there";
  const FactSet set = read_facts(folder);
  EXPECT_EQ(set.facts.size(), 27'593U);
  EXPECT_EQ(set.problems.size(), 19U) << "17 repeated lines, two relations without patterns";
  const auto unsplit = [&](const char* relation) {
    return std::ranges::find(set.unsplit_relations, relation) != set.unsplit_relations.end();
  };
  EXPECT_TRUE(unsplit("P36"));
  EXPECT_TRUE(unsplit("P279"));
  EXPECT_FALSE(unsplit("P19"));
  for (const Fact& fact : set.facts) {
    EXPECT_TRUE(fact.prompts.size() >= 3 || fact.held_out.empty()) << fact.relation;
    EXPECT_EQ(fact.held_out.empty(), unsplit(fact.relation.c_str())) << fact.relation;
  }
}

TEST(FactFile, DevicesAreRefusedAtOnce) {
  // They may never end, or never begin.
  for (const char* device : {"/dev/zero", "/dev/null", "/dev/urandom"}) {
    EXPECT_THROW((void)read_facts(device), FileError) << device;
  }
}

TEST(FactFile, ProblemsOfWholeFilesAreToldWithoutALine) {
  EXPECT_EQ(problem_text({"a.jsonl", 7, "wrong"}), "a.jsonl:7: wrong");
  EXPECT_EQ(problem_text({"a.jsonl", 0, "wrong"}), "a.jsonl: wrong");
}

}  // namespace
}  // namespace engram
