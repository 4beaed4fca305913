// The experiment "update" against one edited model and one prompt at a time.
#include <gtest/gtest.h>

#include <algorithm>

#include "engram/edit/values.h"
#include "experiments/update/experiment.h"
#include "run/prepared_run.h"
#include "run/scopes.h"

namespace engram {
namespace {

using experiments::update::sample_updates;
using experiments::update::update_subject;
using experiments::update::update_variants;
using experiments::update::UpdateSubject;
using experiments::update::UpdateVariant;
using testing::expect_close;
using testing::first_facts;
using testing::NamedRow;
using testing::plain_answer;
using testing::PreparedRun;
using testing::rows_of;
using testing::run_all;
using testing::shipped;

/// Sums as in table edit_effect.
struct PlainSums {
  int64_t prompts = 0, right = 0, changed = 0, success = 0;
  double before = 0, after = 0, target_before = 0, target_after = 0;
};

/// `old` is the answer to the fact's own prompts; -1: the prompts are other facts'.
PlainSums plain_sums(PreparedRun& prepared, const Model& edited,
                     const std::vector<PromptPlace>& places, int64_t old, int64_t target) {
  const RunContext run = prepared.context();
  ClozeList list(run);
  PlainSums sums;
  for (const PromptPlace& place : places) {
    const Cloze& cloze = list.clozes()[list.add(place)];
    const int64_t answer = old < 0 ? cloze.answer[0] : old;
    const Answered before = plain_answer(shipped().model, cloze, answer);
    const Answered after = plain_answer(edited, cloze, answer);
    const Answered target_after = plain_answer(edited, cloze, target);
    ++sums.prompts;
    if (before.top()) {
      ++sums.right;
      if (!after.top()) ++sums.changed;
      if (target_after.top()) ++sums.success;
    }
    sums.before += before.log_p;
    sums.after += after.log_p;
    sums.target_before += plain_answer(shipped().model, cloze, target).log_p;
    sums.target_after += target_after.log_p;
  }
  return sums;
}

void expect_row(const NamedRow& row, const PlainSums& sums, bool asked) {
  EXPECT_EQ(row.integer("prompts"), sums.prompts);
  EXPECT_EQ(row.integer("right"), sums.right);
  EXPECT_EQ(row.integer("changed"), sums.changed);
  expect_close(row.number("log_p_before"), sums.before);
  expect_close(row.number("log_p_after"), sums.after);
  if (!asked) {
    EXPECT_EQ(row.value("success"), Value());
    EXPECT_EQ(row.value("target_log_p_after"), Value());
    return;
  }
  EXPECT_EQ(row.integer("success"), sums.success);
  expect_close(row.number("target_log_p_before"), sums.target_before);
  expect_close(row.number("target_log_p_after"), sums.target_after);
}

int64_t token(const std::string& word) { return *shipped().tokenizer.id_of(word); }

/// The prompts of a scope where all facts are looked at.
std::vector<PromptPlace> places_of(PreparedRun& prepared, const std::string& scope, int64_t fact,
                                   const std::string& target) {
  const RunContext run = prepared.context();
  if (scope == "own" || scope == "held-out") return prompts_of(run, fact, scope == "held-out");
  const std::string& relation = prepared.facts.fact(fact).relation;
  std::vector<PromptPlace> places;
  for (const int64_t id : facts_for_effects(run, relation, scope == "same-relation")) {
    const bool skip =
        id == fact || (scope == "same-relation" && prepared.facts.fact(id).object == target);
    if (!skip) places.push_back(side_prompt(run, id));
  }
  return places;
}

TEST(Update, StoredSumsAreThoseOfTheEditedModel) {
  PreparedRun prepared(first_facts({"P106", "P1303"}, 6), "update_sums");
  prepared.locate();
  prepared.options.update_facts = 1;
  const auto update = make_experiment("update");
  const std::vector<TableRows> tables = run_all(update, prepared.context(), "P106");
  std::map<std::pair<int64_t, std::string>, Model> edited;
  std::map<std::pair<int64_t, std::string>, std::string> targets, olds;
  for (const Row& row : rows_of(tables, "edit")) {
    const NamedRow edit("edit", row);
    const int64_t fact = edit.integer("fact");
    const std::string& variant = edit.text("variant");
    if (variant != "knowledge" && variant != "activation-unfiltered" &&
        variant != "sweep/l1=1,l2=8,n=1") {
      continue;
    }
    std::vector<NeuronId> neurons =
        PreparedRun::set_of("P106", fact, variant.starts_with("act") ? "activation" : "ig");
    // The neuron that all facts share is not the fact's own.
    if (!variant.starts_with("act")) {
      std::erase_if(neurons, [&](NeuronId id) {
        return id == NeuronId{3, static_cast<int32_t>(hash_text("P106ig") % 1024)};
      });
    }
    if (variant.ends_with("n=1")) neurons = {neurons.back()};  // it passes the most prompts
    EXPECT_EQ(edit.integer("neurons"), static_cast<int64_t>(neurons.size())) << variant;
    const std::vector<int64_t> old = {token(edit.text("old"))};
    const std::vector<int64_t> target = {token(edit.text("target"))};
    edited.emplace(std::pair(fact, variant),
                   with_values(shipped().model,
                               update_values(shipped().model, neurons, old, target,
                                             edit.number("lambda1"), edit.number("lambda2"))));
    targets[{fact, variant}] = edit.text("target");
    olds[{fact, variant}] = edit.text("old");
  }
  ASSERT_EQ(edited.size(), 3U);  // two of the reported fact, one of the sweep's
  int64_t compared = 0;
  for (const Row& row : rows_of(tables, "edit_effect")) {
    const NamedRow effect("edit_effect", row);
    const std::pair key(effect.integer("fact"), effect.text("variant"));
    if (!edited.contains(key)) continue;
    const std::string& scope = effect.text("scope");
    const auto places = places_of(prepared, scope, key.first, targets[key]);
    const bool of_fact = scope == "own" || scope == "held-out";
    const int64_t old = of_fact ? token(olds[key]) : -1;
    expect_row(effect, plain_sums(prepared, edited.at(key), places, old, token(targets[key])),
               scope != "other-relations");
    ++compared;
  }
  EXPECT_EQ(compared, 2 * 4 + 3);
}

TEST(Update, AsPublishedAnEditIsTestedOnOneOwnPrompt) {
  // The released filter drops a neuron that a tenth of 24 facts has.
  PreparedRun prepared(first_facts({"P106"}, 24), "update_published");
  prepared.locate();
  prepared.options.update_facts = 3;
  prepared.options.as_published = true;
  const auto update = make_experiment("update");
  const std::vector<TableRows> tables = run_all(update, prepared.context(), "P106");
  std::map<int64_t, Model> edited;
  std::map<int64_t, std::string> targets, olds;
  for (const Row& row : rows_of(tables, "edit")) {
    const NamedRow edit("edit", row);
    if (edit.text("variant") != "knowledge") continue;
    const int64_t fact = edit.integer("fact");
    std::vector<NeuronId> neurons = PreparedRun::set_of("P106", fact, "ig");
    std::erase(neurons, NeuronId{3, static_cast<int32_t>(hash_text("P106ig") % 1024)});
    ASSERT_EQ(edit.integer("neurons"), static_cast<int64_t>(neurons.size()));
    const std::vector<int64_t> old = {token(edit.text("old"))};
    const std::vector<int64_t> target = {token(edit.text("target"))};
    edited.emplace(fact, with_values(shipped().model, update_values(shipped().model, neurons, old,
                                                                    target, edit.number("lambda1"),
                                                                    edit.number("lambda2"))));
    targets[fact] = edit.text("target");
    olds[fact] = edit.text("old");
  }
  ASSERT_EQ(edited.size(), 3U);
  std::map<std::string, int64_t> tests;
  for (const Row& row : rows_of(tables, "edit_effect")) {
    const NamedRow effect("edit_effect", row);
    if (effect.text("scope") != "one-own") continue;
    ++tests[effect.text("variant")];
    EXPECT_EQ(effect.integer("prompts"), 1);
    if (effect.text("variant") != "knowledge") continue;
    const int64_t fact = effect.integer("fact");
    int64_t same = 0;  // own prompts that could be the one
    for (const PromptPlace& place : places_of(prepared, "own", fact, targets[fact])) {
      const PlainSums one =
          plain_sums(prepared, edited.at(fact), {place}, token(olds[fact]), token(targets[fact]));
      if (std::abs(one.before - effect.number("log_p_before")) > 1e-4) continue;
      expect_row(effect, one, true);
      ++same;
    }
    EXPECT_GE(same, 1);
  }
  EXPECT_EQ(tests, (std::map<std::string, int64_t>{{"knowledge", 3}, {"random", 3}}));
}

TEST(Update, RowsDoNotDependOnOrderOrThreads) {
  PreparedRun prepared(first_facts({"P106", "P19"}, 6), "update_order");
  prepared.locate();
  prepared.write_corpus("The king was born in the town.\nIt lies on the river, they say.\n");
  std::map<std::string, std::vector<TableRows>> first;
  const auto update = make_experiment("update");
  for (const std::string& relation : prepared.facts.relations()) {
    first[relation] = run_all(update, prepared.context({1, 0}), relation);
  }
  const auto again = make_experiment("update");
  for (const char* relation : {"P19", "P106"}) {
    const std::vector<TableRows> rows = run_all(again, prepared.context({3, 1 << 20}), relation);
    ASSERT_EQ(rows.size(), first[relation].size());
    for (size_t i = 0; i < rows.size(); ++i) {
      EXPECT_EQ(rows[i].table, first[relation][i].table);
      EXPECT_EQ(rows[i].rows, first[relation][i].rows);
    }
  }
}

TEST(Update, FactsAreSampledAndTargetsAreOtherObjects) {
  std::vector<Fact> facts = first_facts({"P106"}, 15);
  // A subject that has two objects: neither is the other's target.
  Fact second = facts[0];
  second.object = facts[2].object;
  facts.push_back(second);
  PreparedRun prepared(std::move(facts), "update_targets");
  prepared.locate();
  prepared.options.update_facts = 100;
  prepared.options.same_relation = 1;
  const auto update = make_experiment("update");
  int64_t edited = 0;
  for (int64_t part = 0; part < update->parts(prepared.context(), "P106"); ++part) {
    edited += update->facts(prepared.context(), "P106", part);
  }
  EXPECT_EQ(edited, 16);
  std::map<bool, std::set<int64_t>> seen;
  for (const Row& row : rows_of(run_all(update, prepared.context(), "P106"), "edit")) {
    const NamedRow edit("edit", row);
    const Fact& fact = prepared.facts.fact(edit.integer("fact"));
    seen[edit.text("variant").starts_with("sweep")].insert(edit.integer("fact"));
    if (edit.integer("right") == 0) continue;
    EXPECT_EQ(edit.text("old"), fact.object);
    for (const int64_t id : prepared.facts.usable()) {
      const Fact& other = prepared.facts.fact(id);
      if (other.subject == fact.subject) {
        EXPECT_NE(edit.text("target"), other.object);
      }
    }
  }
  EXPECT_EQ(seen[false].size(), 13U);
  EXPECT_EQ(seen[true].size(), 3U);
  for (const int64_t id : seen[true]) EXPECT_FALSE(seen[false].contains(id));
}

TEST(Update, FactsWithoutNeuronsAreCountedNotEdited) {
  PreparedRun prepared(first_facts({"P106"}, 10), "update_empty");
  std::set<int64_t> all;
  for (const int64_t id : prepared.facts.usable()) all.insert(id);
  prepared.locate(all);
  const auto update = make_experiment("update");
  const std::vector<TableRows> rows = run_all(update, prepared.context(), "P106");
  EXPECT_EQ(rows_of(rows, "edit_effect").size(), 0U);
  const std::vector<Row> edits = rows_of(rows, "edit");
  EXPECT_EQ(edits.size(), 3U * 15 + 2 * 10);
  for (const Row& row : edits) {
    const NamedRow edit("edit", row);
    EXPECT_EQ(edit.integer("neurons"), 0);
    EXPECT_GT(edit.number("target_p"), 0);
  }
}

TEST(Update, TextIsMeasuredWhereThereIsACorpus) {
  PreparedRun prepared(first_facts({"P106"}, 10), "update_text");
  prepared.locate();
  const auto scopes = [&] {
    std::map<std::string, int64_t> prompts;
    const auto update = make_experiment("update");
    for (const Row& row : rows_of(run_all(update, prepared.context(), "P106"), "edit_effect")) {
      const NamedRow effect("edit_effect", row);
      if (effect.text("variant") == "knowledge") {
        prompts[effect.text("scope")] += effect.integer("prompts");
      }
    }
    return prompts;
  };
  EXPECT_FALSE(scopes().contains("text"));
  std::string text;
  for (int i = 0; i < 50; ++i) text += "The king was born in the town and lived by the river.\n";
  prepared.write_corpus(text);
  prepared.options.text_positions = 90;
  EXPECT_EQ(scopes()["text"], 90);  // three edits see thirty each
}

TEST(Update, AWrongAnswerIsReplacedByTheRightOne) {
  std::vector<Fact> facts = first_facts({"P106"}, 6);
  for (size_t i = 0; i < facts.size(); ++i) facts[i].object = i % 2 == 0 ? "king" : "actor";
  PreparedRun prepared(std::move(facts), "update_wrong");
  prepared.locate();
  const auto update = make_experiment("update");
  const std::vector<TableRows> rows = run_all(update, prepared.context(), "P106");
  std::set<std::pair<int64_t, std::string>> wrong;
  for (const Row& row : rows_of(rows, "edit")) {
    const NamedRow edit("edit", row);
    if (edit.integer("right") == 1) continue;
    EXPECT_EQ(edit.text("target"), prepared.facts.fact(edit.integer("fact")).object);
    EXPECT_NE(edit.text("old"), edit.text("target"));
    wrong.emplace(edit.integer("fact"), edit.text("variant"));
  }
  ASSERT_FALSE(wrong.empty());
  for (const Row& row : rows_of(rows, "edit_effect")) {
    const NamedRow effect("edit_effect", row);
    if (!wrong.contains({effect.integer("fact"), effect.text("variant")})) continue;
    // o is now the answer that the model gave to most prompts.
    if (effect.text("scope") == "own") {
      EXPECT_GT(effect.integer("right"), 0);
    }
  }
}

// --- byte-level vocabularies ---------------------------------------------------------------------

/// RoBERTa's vocabulary writes the space before a word into its token: " Paris" is one token there
/// and "Paris" three, " of" and "of" are one token each.
const testing::ModelOfRuns& byte_level() {
  static const testing::ModelOfRuns one(std::filesystem::path(ENGRAM_SOURCE_DIR) /
                                        "tests/data/oracle/roberta-tiny");
  return one;
}

Fact byte_level_fact(int i, const std::string& object, bool starts) {
  Fact fact;
  fact.subject = "s" + std::to_string(i);
  fact.relation = "R";
  fact.object = object;
  fact.origin = "facts:" + std::to_string(i);
  const std::string a = fact.subject;
  fact.prompts = {a + " is in [MASK].", a + " was [MASK] city.", "The city " + a + " [MASK] a."};
  fact.held_out = {"The " + a + " is [MASK]."};
  // The first own prompt has the space: only the others show what the answer is there.
  if (starts) fact.prompts[2] = fact.held_out[0] = "[MASK] is " + a + " in the city.";
  return fact;
}

TEST(Update, TargetsAreOneTokenInEveryPlaceOfAByteLevelVocabulary) {
  std::vector<Fact> facts;
  const std::vector<std::string> objects = {"of", "in", "Paris", "an", "Berlin", "is", "capital"};
  for (int i = 0; i < 28; ++i) {
    facts.push_back(byte_level_fact(i, objects[static_cast<size_t>(i) % 7], true));
  }
  PreparedRun prepared(std::move(facts), "update_bytes", byte_level());
  prepared.locate();
  prepared.options.update_facts = 100;
  const RunContext run = prepared.context();
  const std::vector<TableRows> tables = run_all(make_experiment("update"), run, "R");
  std::map<int64_t, std::pair<std::string, std::string>> answers;
  for (const Row& row : rows_of(tables, "edit")) {
    const NamedRow edit("edit", row);
    answers[edit.integer("fact")] = {edit.text("old"), edit.text("target")};
    for (const char* wide : {"Paris", "Berlin", "capital"}) {
      EXPECT_NE(edit.text("target"), wide);
      EXPECT_NE(run.facts.fact(edit.integer("fact")).object, wide);
    }
  }
  EXPECT_EQ(answers.size(), 16U);  // the facts whose object is one token everywhere
  int64_t compared = 0;
  for (const Row& row : rows_of(tables, "edit_effect")) {
    const NamedRow effect("edit_effect", row);
    const bool held_out = effect.text("scope") == "held-out";
    if (effect.text("variant") != "knowledge" || (!held_out && effect.text("scope") != "own")) {
      continue;
    }
    // Each prompt asks for its own token of o and o'.
    const int64_t fact = effect.integer("fact");
    double old_p = 0;
    double target_p = 0;
    ClozeList list(run);
    for (const PromptPlace& place : prompts_of(run, fact, held_out)) {
      const Cloze& cloze = list.clozes()[list.add(place)];
      const bool first = prompt_text(run, place).starts_with("[MASK]");
      const auto log_p = [&](const std::string& word) {
        const auto id = run.tokenizer.id_of((first ? "" : "\xC4\xA0") + word);
        return id ? plain_answer(run.model, cloze, *id).log_p : std::nan("");
      };
      old_p += log_p(answers[fact].first);
      target_p += log_p(answers[fact].second);
    }
    // What the model answers by itself may have no token in the other form.
    if (!std::isnan(old_p)) expect_close(effect.number("log_p_before"), old_p);
    expect_close(effect.number("target_log_p_before"), target_p);
    ++compared;
  }
  EXPECT_GT(compared, 8);
}

TEST(Update, TargetsAreOneTokenOnOtherFactsOfTheRelationToo) {
  std::vector<Fact> facts;
  const std::vector<std::string> objects = {"of", "in", "Paris", "Berlin"};
  for (int i = 0; i < 20; ++i) {
    // The facts of wide answers have no prompt that begins with the answer.
    const std::string& object = objects[static_cast<size_t>(i) % 4];
    facts.push_back(byte_level_fact(i, object, object.size() == 2));
  }
  PreparedRun prepared(std::move(facts), "update_bytes_side", byte_level());
  prepared.locate();
  prepared.options.update_facts = 100;
  const RunContext run = prepared.context();
  int64_t first = 0;
  for (const int64_t id : run.facts.of("R")) {
    first += prompt_text(run, side_prompt(run, id)).starts_with("[MASK]") ? 1 : 0;
  }
  ASSERT_GT(first, 0);
  const auto tables = run_all(make_experiment("update"), run, "R");
  ASSERT_FALSE(rows_of(tables, "edit").empty());
  for (const Row& row : rows_of(tables, "edit")) {
    EXPECT_EQ(NamedRow("edit", row).text("target").size(), 2U);
  }
}

// --- controls that write as much -----------------------------------------------------------------

struct WrittenBy {
  double written = 0;
  int64_t neurons = 0;
  int64_t redraws = 0;
};

TEST(Update, ControlsOfEqualWriteWriteWhatTheNeuronsWrite) {
  PreparedRun prepared(first_facts({"P106"}, 24), "update_equal");
  prepared.locate();
  const auto tables = run_all(make_experiment("update"), prepared.context(), "P106");
  std::map<int64_t, std::map<std::string, WrittenBy>> facts;
  for (const Row& row : rows_of(tables, "edit")) {
    const NamedRow edit("edit", row);
    if (edit.text("variant").starts_with("sweep")) {
      EXPECT_EQ(edit.value("written"), Value());
      continue;
    }
    facts[edit.integer("fact")][edit.text("variant")] = {
        edit.number("written"), edit.integer("neurons"), edit.integer("redraws")};
  }
  ASSERT_EQ(facts.size(), 3U);
  int64_t rescaled = 0;
  for (auto& [fact, by] : facts) {
    const double written = by.at("knowledge").written;
    EXPECT_GT(written, 0);
    EXPECT_NEAR(by.at("output").written, written, 1e-4 * written);
    std::set<double> others;
    for (int d = 0; d < 5; ++d) {
      const WrittenBy& one = by.at("random-equal-write/" + std::to_string(d));
      EXPECT_NEAR(one.written, written, 1e-4 * written);
      EXPECT_EQ(one.neurons, by.at("knowledge").neurons);
    }
    EXPECT_GT(std::abs(by.at("random-activated").written - written), 0.01 * written);
    EXPECT_GT(by.at("other-fact").neurons, 0);
    const WrittenBy& other = by.at("other-fact-equal-write");
    if (other.neurons == 0) {
      EXPECT_GT(other.redraws, 0);  // all other facts' neurons write the other way
      continue;
    }
    EXPECT_NEAR(other.written, written, 1e-4 * written);
    ++rescaled;
  }
  EXPECT_GT(rescaled, 0);
}

/// What a variant adds at the mask of own prompts on the average, layer by layer.
std::map<int32_t, at::Tensor> written_by(const UpdateVariant& variant, const at::Tensor& mean) {
  std::map<int32_t, at::Tensor> sums;
  for (size_t i = 0; i < variant.edit.neurons.size(); ++i) {
    const NeuronId id = variant.edit.neurons[i];
    const at::Tensor part = variant.edit.change.select(0, static_cast<int64_t>(i)) *
                            mean[id.layer][id.neuron].item<double>();
    const auto [sum, fresh] = sums.try_emplace(id.layer, part);
    if (!fresh) sum->second = sum->second + part;
  }
  return sums;
}

TEST(Update, EqualWriteIsEqualInEveryLayer) {
  PreparedRun prepared(first_facts({"P106"}, 12), "update_layers");
  prepared.locate();
  const RunContext run = prepared.context();
  const auto [id, target] = sample_updates(run, "P106").reported.front();
  const std::vector<UpdateSubject> subjects = {update_subject(run, id, target)};
  ClozeList own(run);
  for (const PromptPlace& place : subjects[0].own) own.add(place);
  const at::Tensor mean = mask_activations(run.model, own.clozes()).mean(0);
  std::map<std::string, std::map<int32_t, at::Tensor>> by;
  std::set<std::vector<NeuronId>> sets;
  for (const UpdateVariant& variant : update_variants(run, "P106", subjects)) {
    by[variant.name] = written_by(variant, mean);
    if (!variant.name.starts_with("random-equal-write")) continue;
    EXPECT_TRUE(sets.insert(variant.edit.neurons).second) << "the same draw twice";
    EXPECT_EQ(variant.aside, variant.name.ends_with("/0"));
    for (const NeuronId one : variant.edit.neurons) {
      EXPECT_GT(mean[one.layer][one.neuron].item<double>(), 0) << "not an activated neuron";
    }
  }
  ASSERT_EQ(by.at("knowledge").size(), 2U);
  ASSERT_EQ(sets.size(), 5U);
  for (const auto& [layer, sum] : by.at("knowledge")) {
    for (int d = 0; d < 5; ++d) {
      const at::Tensor& same = by.at("random-equal-write/" + std::to_string(d)).at(layer);
      EXPECT_TRUE(at::allclose(same, sum, 1e-4, 1e-6)) << layer;
    }
    EXPECT_FALSE(at::allclose(by.at("random-activated").at(layer), sum, 1e-2, 1e-6)) << layer;
  }
}

TEST(Update, RandomNeuronsWereLocatedForNoFactOfTheRun) {
  PreparedRun prepared(first_facts({"P106", "P1303"}, 10), "update_located");
  prepared.locate();
  prepared.locate_all("P1303");
  int64_t seen = 0;
  for (const Row& row :
       rows_of(run_all(make_experiment("update"), prepared.context(), "P106"), "edit")) {
    const NamedRow edit("edit", row);
    if (!edit.text("variant").starts_with("random")) continue;
    EXPECT_EQ(edit.integer("neurons"), 0) << edit.text("variant");
    ++seen;
  }
  EXPECT_EQ(seen, 3 * 7);
}

}  // namespace
}  // namespace engram
