// Activating texts in a run, on the sample that ships with the model.
#include <c10/core/InferenceMode.h>

#include <nlohmann/json.hpp>

#include "engram/intervention/top_texts.h"
#include "experiments/texts/experiment_activations.h"
#include "run/prepared_run.h"
#include "run/sets.h"

namespace engram {
namespace {

using experiments::texts::FactTexts;
using experiments::texts::mask_text;
using experiments::texts::TextKind;
using experiments::texts::TextMask;
using experiments::texts::TextSource;
using testing::first_facts;
using testing::NamedRow;
using testing::PreparedRun;
using testing::rows_of;
using testing::run_all;
using testing::shipped;

std::vector<TableRows> all_parts(Experiment& experiment, const RunContext& run,
                                 const std::string& relation) {
  std::vector<TableRows> rows;
  for (int64_t part = 0; part < experiment.parts(run, relation); ++part) {
    for (TableRows& one : experiment.run(run, relation, part)) rows.push_back(std::move(one));
  }
  return rows;
}

bool same(const std::vector<TableRows>& a, const std::vector<TableRows>& b) {
  return std::ranges::equal(a, b, [](const TableRows& x, const TableRows& y) {
    return x.table == y.table && x.rows == y.rows;
  });
}

class RunTexts : public ::testing::Test {
 protected:
  static std::vector<Fact> facts() {
    std::vector<Fact> all = first_facts({"P36"}, 36);  // two parts
    for (Fact& fact : first_facts({"P19"}, 6)) all.push_back(std::move(fact));
    return all;
  }
  RunTexts()
      : run_(facts(), std::string("texts_") +
                          ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
    run_.locate({3});
    run_.options.texts = (shipped().folder / "texts").string();
    run_.options.corpus = (shipped().folder / "corpus.txt").string();
  }
  PreparedRun run_;
};

TEST_F(RunTexts, RowsAddUpTheActivationOfTheFactsSets) {
  const auto experiment = make_experiment("texts");
  const RunContext run = run_.context();
  ASSERT_FALSE(experiment->skipped(run));
  const std::vector<TableRows> rows = all_parts(*experiment, run, "P36");

  // The same by the parts that it is made of, for one fact.
  const std::vector<Row> counts = rows_of(rows, "text_count");
  ASSERT_FALSE(counts.empty());
  const int64_t id = integer_of(counts.front()[0]);
  std::set<int64_t> facts;
  for (const Row& row : counts) facts.insert(integer_of(row[0]));
  EXPECT_EQ(counts.size(), 10 * facts.size());
  const std::vector<NeuronId> neurons = stored_neurons(*run_.store, "ig", id);
  ASSERT_EQ(neurons.size(), 3U);
  int64_t draws = 0;
  std::map<std::string, double> means;
  for (const Row& row : rows_of(rows, "text_activation")) {
    const NamedRow one("text_activation", row);
    EXPECT_GT(one.integer("texts"), 0);
    EXPECT_TRUE(facts.contains(one.integer("fact")));
    EXPECT_TRUE(std::isfinite(one.number("sum")));
    if (one.integer("fact") != id || one.text("kind") != "both" || one.text("mask") != "released") {
      continue;
    }
    if (one.text("source") == "random-layer") ++draws;
    if (one.integer("draw") == 0) {
      means[one.text("source")] = one.number("sum") / static_cast<double>(one.integer("texts"));
    }
  }
  EXPECT_EQ(draws, 5);
  ASSERT_EQ(means.size(), 3U);
  const TextSource source(run_.options.texts, 10, run_.options.seed);
  const Fact& fact = run_.facts.fact(id);
  const FactTexts texts = source.of("P36").at({fact.subject, fact.object});
  double expected = 0;
  for (const std::string& text : texts.of(TextKind::kBoth)) {
    const auto masked =
        mask_text(text, TextKind::kBoth, TextMask::kReleased, fact.subject, fact.object, {}, 0);
    ASSERT_TRUE(masked) << text;
    std::vector<int64_t> ids = shipped().tokenizer.encode(masked->text);
    const auto place = std::ranges::find(ids, shipped().tokenizer.mask_id()) - ids.begin();
    RecordingHook hook;
    const c10::InferenceMode guard;
    (void)shipped().model.encode(at::tensor(ids, at::kLong).unsqueeze(0), {}, &hook);
    for (const NeuronId neuron : neurons) {
      expected += hook.activations()[static_cast<size_t>(neuron.layer)][0][place][neuron.neuron]
                      .item<double>() /
                  3.0 / static_cast<double>(texts.of(TextKind::kBoth).size());
    }
  }
  EXPECT_NEAR(means.at("ig"), expected, 1e-5);
}

TEST_F(RunTexts, PartsDependOnNothingButTheirFacts) {
  const auto whole = make_experiment("texts");
  const std::vector<TableRows> rows = all_parts(*whole, run_.context({1, 0}), "P36");
  // Another order, other threads, a fresh object for each part.
  std::vector<TableRows> again;
  (void)whole->run(run_.context(), "P19", 0);
  for (int64_t part = 0; part < 2; ++part) {
    const auto fresh = make_experiment("texts");
    for (TableRows& one : fresh->run(run_.context({3, 1 << 20}), "P36", part)) {
      again.push_back(std::move(one));
    }
  }
  EXPECT_TRUE(same(rows, again));
}

TEST_F(RunTexts, RandomSetsHoldNoNeuronLocatedForAnyFactOfTheRun) {
  run_.locate_all("P19");
  const std::vector<TableRows> rows = all_parts(*make_experiment("texts"), run_.context(), "P36");
  ASSERT_FALSE(rows_of(rows, "text_activation").empty());
  for (const Row& row : rows_of(rows, "text_activation")) {
    EXPECT_NE(NamedRow("text_activation", row).text("source"), "random-layer");
  }
}

TEST_F(RunTexts, WithoutTextsItIsSkipped) {
  run_.options.texts.clear();
  run_.options.corpus.clear();
  EXPECT_TRUE(make_experiment("texts")->skipped(run_.context()));
  EXPECT_TRUE(make_experiment("examples")->skipped(run_.context()));
}

TEST_F(RunTexts, ExamplesAreTheExtremeTextsOfHubs) {
  run_.write_corpus("The capital is old.\nMusic is an art.\nHe was born in Rome.\nIt rains.\n");
  const auto experiment = make_experiment("examples");
  EXPECT_TRUE(experiment->across());
  const std::vector<Row> rows =
      rows_of(run_all(experiment, run_.context(), "", true), "text_example");
  EXPECT_EQ(rows.size(), 2U * 5 * 2 * 4);  // relations, neurons, ends, texts
  std::set<std::vector<Value>> keys;
  double last = 0;
  for (const Row& row : rows) {
    const NamedRow one("text_example", row);
    EXPECT_TRUE(keys.insert({row.begin(), row.begin() + 5}).second);
    const auto tokens = nlohmann::json::parse(one.text("tokens"));
    const bool lowest = one.integer("lowest") == 1;
    double extreme = tokens[0][1].get<double>();
    for (const auto& token : tokens) {
      const double value = token[1].get<double>();
      extreme = lowest ? std::min(extreme, value) : std::max(extreme, value);
    }
    EXPECT_NEAR(extreme, one.number("activation"), 1e-4);
    if (one.integer("place") > 0) {
      EXPECT_TRUE(lowest ? one.number("activation") >= last : one.number("activation") <= last);
    }
    last = one.number("activation");
  }
}

}  // namespace
}  // namespace engram
