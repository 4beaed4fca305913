// The experiments "erase" and "unions" against one edited model and one prompt at a time.
#include <gtest/gtest.h>

#include <set>

#include "engram/edit/values.h"
#include "engram/intervention/effects.h"
#include "run/prepared_run.h"
#include "run/scopes.h"

namespace engram {
namespace {

using testing::expect_close;
using testing::first_facts;
using testing::NamedRow;
using testing::plain_answer;
using testing::PreparedRun;
using testing::rows_of;
using testing::run_all;
using testing::shipped;

constexpr const char* kText = "The king was born in the town.\nIt lies on the river, they say.\n";

std::vector<FactNeurons> sets_of(const PreparedRun& prepared, const std::string& relation) {
  std::vector<FactNeurons> sets;
  for (const int64_t id : prepared.facts.of(relation)) {
    sets.push_back({relation, PreparedRun::set_of(relation, id, "ig")});
  }
  return sets;
}

/// The relation's most frequent neurons.
std::vector<NeuronId> frequent(const PreparedRun& prepared, const std::string& relation,
                               size_t most) {
  std::vector<NeuronId> ids;
  for (const NeuronFacts& one : neuron_frequencies(sets_of(prepared, relation))) {
    if (ids.size() < most) ids.push_back(one.id);
  }
  return ids;
}

/// Row of table `erase` by its key.
class EraseRows {
 public:
  /// Of one relation; empty: of all.
  explicit EraseRows(const std::vector<TableRows>& tables, const std::string& relation = {})
      : rows_(rows_of(tables, "erase")) {
    for (const Row& row : rows_) {
      const NamedRow named("erase", row);
      if (!relation.empty() && named.text("relation") != relation) continue;
      by_key_.emplace(named.text("source") + " " + std::to_string(named.integer("draw")) + " " +
                          named.text("mode") + " " + std::to_string(named.integer("neurons")) +
                          " " + named.text("scope"),
                      named);
    }
  }
  [[nodiscard]] NamedRow at(const std::string& key) const { return by_key_.at(key); }
  [[nodiscard]] bool has(const std::string& key) const { return by_key_.contains(key); }
  [[nodiscard]] size_t size() const { return by_key_.size(); }

 private:
  std::vector<Row> rows_;
  std::map<std::string, NamedRow> by_key_;
};

/// The group of a fact by plain runs of its own prompts.
FactGroup plain_group(const RunContext& run, int64_t id) {
  ClozeList list(run);
  int64_t top = 0;
  const std::vector<PromptPlace> own = prompts_of(run, id, false);
  for (const PromptPlace& place : own) {
    const Cloze& cloze = list.clozes()[list.add(place)];
    if (plain_answer(shipped().model, cloze, cloze.answer[0]).top()) ++top;
  }
  return group_of(static_cast<int64_t>(own.size()), top);
}

/// Stores how the model answers own prompts, as locating does.
void write_answers(PreparedRun& prepared, const std::string& relation) {
  const RunContext run = prepared.context();
  ClozeList list(run);
  TableRows rows{"attribution", {}};
  for (const int64_t id : prepared.facts.of(relation)) {
    for (const PromptPlace& place : prompts_of(run, id, false)) {
      const Cloze& cloze = list.clozes()[list.add(place)];
      const Answered answer = plain_answer(shipped().model, cloze, cloze.answer[0]);
      rows.rows.push_back({std::string("ig"), id, static_cast<int64_t>(place.prompt), answer.p,
                           answer.rank, 0.1, Value(), Value(), int64_t{1}});
    }
  }
  prepared.store->write({"locate", relation, 7}, {rows});
}

/// Compares a row with plain sums over all the relation's prompts of a kind, of one group of facts.
void expect_plain(PreparedRun& prepared, const std::string& relation, bool held_out,
                  const Model& edited, const NamedRow& row, FactGroup group = FactGroup::kAll) {
  const RunContext run = prepared.context();
  ClozeList list(run);
  double log_p = 0, p = 0, log_rank = 0, log_odds = 0, before = 0;
  int64_t prompts = 0, top = 0;
  for (const int64_t id : prepared.facts.of(relation)) {
    if (group != FactGroup::kAll && plain_group(run, id) != group) continue;
    for (const PromptPlace& place : prompts_of(run, id, held_out)) {
      const Cloze& cloze = list.clozes()[list.add(place)];
      const Answered after = plain_answer(edited, cloze, cloze.answer[0]);
      before += plain_answer(shipped().model, cloze, cloze.answer[0]).log_p;
      log_p += after.log_p;
      p += after.p;
      log_rank += std::log(static_cast<double>(after.rank));
      log_odds += after.log_p - std::log1p(-after.p);
      ++prompts;
      if (after.top()) ++top;
    }
  }
  EXPECT_EQ(row.integer("prompts"), prompts);
  EXPECT_EQ(row.integer("top_after"), top);
  expect_close(row.number("log_p_before"), before);
  expect_close(row.number("log_p_after"), log_p);
  expect_close(row.number("p_after"), p);
  expect_close(row.number("log_rank_after"), log_rank);
  expect_close(row.number("log_odds_after"), log_odds);
}

TEST(Erase, StoredSumsAreThoseOfTheEditedModel) {
  PreparedRun prepared(first_facts({"P106", "P1303"}, 4), "erase_sums");
  prepared.locate();
  write_answers(prepared, "P106");
  const EraseRows rows(run_all(make_experiment("erase"), prepared.context(), "P106"));
  const auto edited = [&](size_t most, EraseMode mode) {
    return with_values(shipped().model,
                       erase_values(shipped().model, frequent(prepared, "P106", most), mode,
                                    shipped().tokenizer.unknown_id()));
  };
  const std::string all = std::to_string(frequent(prepared, "P106", 1000).size());
  expect_plain(prepared, "P106", false, edited(5, EraseMode::kZero),
               rows.at("relation 0 zero 5 own"));
  expect_plain(prepared, "P106", true, edited(20, EraseMode::kZero),
               rows.at("relation 0 zero " + all + " held-out"));
  expect_plain(prepared, "P106", true, edited(20, EraseMode::kUnknown),
               rows.at("relation 0 unk " + all + " held-out"));
  expect_plain(prepared, "P106", false, edited(20, EraseMode::kMean),
               rows.at("relation 0 mean " + all + " own"));
  // Of random tokens only the length is known: five different ones, none of which is [UNK].
  std::set<double> drawn = {rows.at("relation 0 unk " + all + " own").number("log_p_after")};
  for (int draw = 0; draw < 5; ++draw) {
    const std::string key = "relation " + std::to_string(draw) + " token " + all;
    drawn.insert(rows.at(key + " own").number("log_p_after"));
    EXPECT_TRUE(rows.has(key + " other-relations"));
  }
  EXPECT_EQ(drawn.size(), 6U);
  // Facts that the model knows, and those that it never gives, apart.
  size_t groups = 0;
  for (const FactGroup group : {FactGroup::kKnown, FactGroup::kNever}) {
    const std::string key = "relation 0 zero 5 own " + std::string(group_name(group));
    if (!rows.has(key)) continue;
    ++groups;
    expect_plain(prepared, "P106", false, edited(5, EraseMode::kZero), rows.at(key), group);
  }
  EXPECT_GT(groups, 0U);
  // Four facts of the other relation, one prompt each; random sets beside; no text.
  EXPECT_EQ(rows.at("relation 0 zero 5 other-relations").integer("prompts"), 4);
  EXPECT_TRUE(rows.has("random-layer 4 zero 5 own"));
  EXPECT_TRUE(rows.has("random-gradient 4 zero " + all + " other-relations"));
  EXPECT_FALSE(rows.has("relation 0 zero 5 text"));
}

TEST(Erase, TheLensEndsInTheModelsOutput) {
  PreparedRun prepared(first_facts({"P106", "P1303"}, 3), "erase_lens");
  prepared.locate();
  const std::vector<TableRows> tables =
      run_all(make_experiment("erase"), prepared.context(), "P106");
  const EraseRows erase(tables);
  int64_t last = 0;
  for (const Row& row : rows_of(tables, "lens")) {
    const NamedRow lens("lens", row);
    if (lens.integer("layer") != shipped().model.config().layers) continue;
    ++last;
    const std::string& mode = lens.text("mode");
    const std::string scope = lens.integer("held_out") == 1 ? "held-out" : "own";
    const std::string neurons = std::to_string(lens.integer("neurons"));
    const NamedRow same =
        erase.at(mode == "none" ? "relation 0 zero 5 " + scope
                                : "relation 0 " + mode + " " + neurons + " " + scope);
    const std::string when = mode == "none" ? "_before" : "_after";
    EXPECT_EQ(lens.integer("prompts"), same.integer("prompts"));
    EXPECT_EQ(lens.integer("top"), same.integer("top" + when));
    expect_close(lens.number("log_p"), same.number("log_p" + when));
    expect_close(lens.number("log_rank"), same.number("log_rank" + when));
  }
  EXPECT_EQ(last, 8);  // four modes, own and held-out
}

TEST(Erase, RowsDoNotDependOnOrderOrThreads) {
  PreparedRun prepared(first_facts({"P106", "P19"}, 3), "erase_order");
  prepared.locate();
  prepared.write_corpus(kText);
  std::map<std::string, std::vector<TableRows>> first;
  const auto erase = make_experiment("erase");
  for (const std::string& relation : prepared.facts.relations()) {
    first[relation] = run_all(erase, prepared.context({1, 0}), relation);
  }
  const auto again = make_experiment("erase");
  for (const char* relation : {"P19", "P106"}) {
    const std::vector<TableRows> rows = run_all(again, prepared.context({3, 1 << 20}), relation);
    for (size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(rows[i].rows, first[relation][i].rows);
    EXPECT_TRUE(EraseRows(rows).has("relation 0 zero 5 text"));
  }
}

TEST(Erase, ARelationWithoutNeuronsIsCountedAndUnchanged) {
  PreparedRun prepared(first_facts({"P106"}, 4), "erase_empty");
  prepared.locate({0, 1, 2, 3});
  const EraseRows rows(run_all(make_experiment("erase"), prepared.context(), "P106"));
  EXPECT_EQ(rows.size(), 2U);
  const NamedRow own = rows.at("relation 0 zero 0 own");
  EXPECT_EQ(own.number("log_p_before"), own.number("log_p_after"));
}

TEST(Unions, HoldOtherRelationsNeuronsOnly) {
  PreparedRun prepared(first_facts({"P106", "P1303", "P19"}, 8), "unions");
  prepared.locate();
  prepared.write_corpus(kText);
  const auto unions = make_experiment("unions");
  EXPECT_TRUE(unions->across());
  const std::vector<TableRows> tables = run_all(unions, prepared.context(), "");
  const EraseRows rows(tables, "P1303");
  std::set<NeuronId> others;
  for (const char* relation : {"P106", "P19"}) {
    for (const NeuronId id : frequent(prepared, relation, 20)) others.insert(id);
  }
  for (const NeuronId id : frequent(prepared, "P1303", 20)) others.erase(id);
  const ValueEdit edit = erase_values(
      shipped().model, std::vector<NeuronId>(others.begin(), others.end()), EraseMode::kZero, {});
  const std::string all = std::to_string(others.size());
  expect_plain(prepared, "P1303", true, with_values(shipped().model, edit),
               rows.at("others 0 zero " + all + " held-out"));
  EXPECT_TRUE(rows.has("others 0 zero 20 own"));
  EXPECT_TRUE(rows.has("random-others 1 zero " + all + " other-relations"));
}

TEST(Unions, HoldTheTextOnce) {
  PreparedRun prepared(first_facts({"P106", "P1303"}, 3), "unions_text");
  prepared.locate();
  const auto unions = make_experiment("unions");
  EXPECT_EQ(rows_of(run_all(unions, prepared.context(), ""), "text_perplexity").size(), 0U);
  prepared.write_corpus(kText);
  const std::vector<Row> rows = rows_of(run_all(unions, prepared.context(), ""), "text_perplexity");
  const RunContext run = prepared.context();
  RunText text;
  ASSERT_EQ(rows.size(), text.positions(run).size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const Cloze& cloze = text.positions(run)[i];
    const Answered plain = plain_answer(shipped().model, cloze, cloze.answer[0]);
    const NamedRow row("text_perplexity", rows[i]);
    expect_close(row.number("log_p"), plain.log_p);
    EXPECT_EQ(row.integer("top"), plain.top() ? 1 : 0);
  }
}

/// Erasing nothing: the random sets have no neuron left.
void expect_nothing_erased(const std::vector<TableRows>& tables, const std::string& source) {
  int64_t seen = 0;
  for (const Row& row : rows_of(tables, "erase")) {
    const NamedRow erase("erase", row);
    if (!erase.text("source").starts_with(source)) continue;
    EXPECT_EQ(erase.number("log_p_before"), erase.number("log_p_after")) << erase.text("source");
    ++seen;
  }
  EXPECT_GT(seen, 0);
}

TEST(Erase, RandomSetsHoldNoNeuronLocatedForAnyFactOfTheRun) {
  PreparedRun prepared(first_facts({"P106", "P1303"}, 3), "erase_located");
  prepared.locate();
  prepared.locate_all("P1303");
  expect_nothing_erased(run_all(make_experiment("erase"), prepared.context(), "P106"), "random-");
}

TEST(Unions, RandomSetsHoldNoNeuronLocatedForAnyFactOfTheRun) {
  PreparedRun prepared(first_facts({"P106", "P1303", "P19"}, 3), "unions_located");
  prepared.locate();
  prepared.locate_all("P1303");
  expect_nothing_erased(run_all(make_experiment("unions"), prepared.context(), ""),
                        "random-others");
}

TEST(Erase, AShardThatLacksRelationsIsLeftOut) {
  PreparedRun prepared(first_facts({"P106", "P1303"}, 3), "erase_shard");
  for (const auto& experiment : {make_experiment("erase"), make_experiment("update")}) {
    const auto reason = experiment->skipped(prepared.context());
    ASSERT_TRUE(reason.has_value());
    EXPECT_NE(reason->find("merge"), std::string::npos) << *reason;
  }
}

}  // namespace
}  // namespace engram
