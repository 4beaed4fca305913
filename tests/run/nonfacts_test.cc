// The audit's experiment "nonfacts": the same measure for facts, minimal pairs and word pairs.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engram/attribution/scorer.h"
#include "engram/intervention/intervention.h"
#include "engram/neurons/matched.h"
#include "engram/text/prompt.h"
#include "experiments/nonfacts/rows.h"
#include "experiments/screen/groups.h"
#include "prepared_run.h"
#include "support/temporary.h"

namespace engram::testing {
namespace {

using namespace experiments::nonfacts;

// Pairs of which the shipped model prefers the first, two sentences each, and one that has but one.
constexpr const char* kPairs =
    R"({"sentence_good": "He lives in the England.", "sentence_bad": "He lives in the of.", "UID": "nouns"}
{"sentence_good": "She lives in the England.", "sentence_bad": "She lives in the of.", "UID": "nouns"}
{"sentence_good": "He is the king of France.", "sentence_bad": "He is the king the France.", "UID": "words"}
{"sentence_good": "It is the capital of Italy.", "sentence_bad": "It is the capital the Italy.", "UID": "words"}
{"sentence_good": "It is the capital of Italy.", "sentence_bad": "It is the capital and Italy.", "UID": "words"}
)";
constexpr const char* kRelation =
    R"({"name": "known in", "prompt_templates": ["{} is in"], "prompt_templates_zs": ["{} is a city in"], "samples": [{"subject": "Paris", "object": "France"}, {"subject": "Berlin", "object": "Germany"}, {"subject": "Rome", "object": "Qwertzuiopqwertz"}]})";

class NonFacts : public ::testing::Test {
 protected:
  struct Made {
    Made() : prepared(first_facts({"P36"}, 8), "nonfacts") {
      prepared.options.audit = AuditSample{8, 8};
      prepared.options.update_facts = 2;
      std::ofstream(folder.file("pairs.jsonl")) << kPairs;
      std::ofstream(folder.file("relation.json")) << kRelation;
      prepared.options.non_facts = {folder.file("pairs.jsonl"), folder.file("relation.json")};
      run_all(make_experiment("screen"), prepared.context(), "P36", /*keep=*/true);
      prepared.locate();
      const auto all = run_all(make_experiment("nonfacts"), prepared.context(), "");
      for (const Row& row : rows_of(all, NonFactRow::kTable)) {
        rows.push_back(from_row<NonFactRow>(row));
      }
      for (const Row& row : rows_of(all, NonFactNeuronRow::kTable)) {
        const auto one = from_row<NonFactNeuronRow>(row);
        sets[{one.group, one.item}].push_back(
            {static_cast<int32_t>(one.layer), static_cast<int32_t>(one.neuron)});
      }
    }
    TemporaryFolder folder;
    PreparedRun prepared;
    std::vector<NonFactRow> rows;
    std::map<std::pair<std::string, int64_t>, std::vector<NeuronId>> sets;
  };
  static void SetUpTestSuite() { made_ = std::make_unique<Made>(); }
  static void TearDownTestSuite() { made_.reset(); }

  /// log P of both words of a masked sentence, before and with a set at zero.
  struct Pair {
    double answer = 0, foil = 0;
  };
  static Pair asked(const std::string& prompt, const NonFactRow& row,
                    const std::vector<NeuronId>& set) {
    const PromptForm form = prompt_form(shipped().model.config());
    const std::vector<NeuronChange> zero = changes_of({}, set, {});
    const auto log_p = [&](const std::string& word) {
      const Cloze cloze = encode_cloze(shipped().tokenizer, prompt, word, form, "test");
      const Measured one = measure(shipped().model, {&cloze, 1}, {&zero, 1}, {{Trial{0, 0}}});
      return set.empty() ? one.before[0].log_p : one.after[0].log_p;
    };
    return {log_p(row.answer), log_p(row.foil)};
  }

  static std::unique_ptr<Made> made_;
  const Made& made() const { return *made_; }
};
std::unique_ptr<NonFacts::Made> NonFacts::made_;

TEST_F(NonFacts, TakeWhatTheModelKnowsAndCanBeAsked) {
  std::map<std::string, std::map<std::string, int>> answers;  // of groups
  for (const NonFactRow& row : made().rows) {
    if (row.source != kLocatedSet) continue;
    ++answers[row.group][row.answer];
    EXPECT_NE(row.answer, row.foil);
    EXPECT_GE(row.located_by, 1);
    EXPECT_GE(row.prompts, 1);
  }
  EXPECT_EQ(answers.at("facts").size(), 2U);
  // A pair with one sentence has none left to test.
  EXPECT_EQ(answers.at("pairs"), (std::map<std::string, int>{{"England", 1}, {"of", 1}}));
  for (const auto& [answer, count] : answers["relation"]) {
    EXPECT_TRUE(answer == "France" || answer == "Germany") << answer;
  }
}

TEST_F(NonFacts, RowsAreWhatSingleRunsGive) {
  const std::map<std::string, std::vector<std::string>> prompts = {
      {"England", {"He lives in the [MASK].", "She lives in the [MASK]."}},
      {"of", {"He is the king [MASK] France.", "It is the capital [MASK] Italy."}}};
  int compared = 0;
  for (const NonFactRow& row : made().rows) {
    if (row.group != "pairs" || row.source != kLocatedSet) continue;
    const std::vector<NeuronId>& set = made().sets.at({row.group, row.item});
    EXPECT_EQ(set.size(), 5U);
    ASSERT_EQ(row.prompts, 1);
    // One of the two sentences located, the other one tests.
    bool found = false;
    for (size_t tests = 0; tests < 2; ++tests) {
      const std::string& locating = prompts.at(row.answer)[1 - tests];
      const Cloze cloze = encode_cloze(shipped().tokenizer, locating, row.answer,
                                       prompt_form(shipped().model.config()), "test");
      AttributionOptions options = made().prepared.options.locate.attribution;
      const std::vector<std::vector<Cloze>> bag = {{cloze}};
      if (largest_neurons(Scorer(shipped().model, options).bags(bag)[0], 5) != set) continue;
      found = true;
      const Pair before = asked(prompts.at(row.answer)[tests], row, {});
      const Pair after = asked(prompts.at(row.answer)[tests], row, set);
      expect_close(row.change_margin, (after.answer - after.foil) - (before.answer - before.foil));
      EXPECT_EQ(row.preferred, before.answer > before.foil ? 1 : 0);
      EXPECT_EQ(row.flipped, before.answer > before.foil && after.answer < after.foil ? 1 : 0);
    }
    EXPECT_TRUE(found) << row.answer;
    ++compared;
  }
  EXPECT_EQ(compared, 2);
}

TEST_F(NonFacts, RandomSetsStandBeside) {
  for (const NonFactRow& row : made().rows) {
    if (row.source != kRandomSet) continue;
    const auto located = std::ranges::find_if(made().rows, [&](const NonFactRow& other) {
      return other.source == kLocatedSet && other.group == row.group && other.item == row.item;
    });
    ASSERT_NE(located, made().rows.end());
    EXPECT_EQ(row.log_odds, located->log_odds);
    EXPECT_EQ(row.preferred, located->preferred);
    EXPECT_NE(row.change_log_odds, located->change_log_odds);
  }
}

TEST_F(NonFacts, NeedsAFile) {
  PreparedRun none(first_facts({"P36"}, 2), "nonfacts_none");
  none.options.audit = AuditSample{2, 2};
  EXPECT_EQ(make_experiment("nonfacts")->skipped(none.context()), "needs --non-facts");
}

}  // namespace
}  // namespace engram::testing
