#pragma once

// A run of some facts of the shipped model in which other experiments find neurons, without the
// minutes that it takes to locate them.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "engram/run/experiment.h"
#include "engram/statistics/neuron_sets.h"
#include "run/values.h"

namespace engram::testing {

/// What runs of a model share.
struct ModelOfRuns {
  explicit ModelOfRuns(const std::filesystem::path& at) : folder(at) {}
  std::filesystem::path folder;
  Model model = Model::load(folder);
  Tokenizer tokenizer = Tokenizer::load(folder);
};

struct ShippedModel : ModelOfRuns {
  ShippedModel() : ModelOfRuns(std::filesystem::path(ENGRAM_SOURCE_DIR) / "models/engram-base") {}
  std::vector<Fact> facts = read_facts(folder / "facts.jsonl").facts;
};
inline const ShippedModel& shipped() {
  static const ShippedModel one;
  return one;
}

/// The first `count` facts of each relation.
inline std::vector<Fact> first_facts(const std::vector<std::string>& relations, int64_t count) {
  std::vector<Fact> chosen;
  for (const std::string& relation : relations) {
    int64_t left = count;
    for (const Fact& fact : shipped().facts) {
      if (fact.relation == relation && left-- > 0) chosen.push_back(fact);
    }
  }
  return chosen;
}

class PreparedRun {
 public:
  /// `of` must outlive the run.
  explicit PreparedRun(std::vector<Fact> chosen, const std::string& name,
                       const ModelOfRuns& of = shipped())
      : facts(std::move(chosen), of.tokenizer, of.model.config()),
        of_(of),
        // Tests of one fixture run side by side.
        path_(std::filesystem::temp_directory_path() /
              ("engram_" + name + "_" + std::to_string(getpid()) + ".db")),
        corpus_(path_.string() + ".txt") {
    at::set_num_threads(1);  // of this thread, which looks at single prompts
    remove();
    store = std::make_unique<RunStore>(
        RunStore::open(path_, RunStore::Mode::kContinue, {{"test", name}}));
    options.update_facts = 3;
    options.same_relation = 1000;  // all there are
    options.other_relations = 1000;
  }
  ~PreparedRun() {
    store.reset();
    remove();
  }
  PreparedRun(const PreparedRun&) = delete;
  PreparedRun& operator=(const PreparedRun&) = delete;

  /// Neurons for every fact but `without`: two of its own and one that all facts of the relation
  /// have, in the two upper layers.
  void locate(const std::set<int64_t>& without = {}) {
    for (const std::string& relation : facts.relations()) {
      TableRows rows{"neuron", {}};
      TableRows fact_rows{"fact", {}};
      TableRows frequent{"relation_neuron", {}};
      std::vector<FactNeurons> sets;
      for (const int64_t id : facts.of(relation)) {
        const Fact& fact = facts.fact(id);
        fact_rows.rows.push_back({id, relation, fact.subject, fact.object, count(1), count(0)});
        if (without.contains(id)) continue;
        for (const char* source : {"activation", "ig"}) {
          const std::vector<NeuronId> set = set_of(relation, id, source, of_.model.config());
          int64_t prompts = 3;
          for (const NeuronId neuron : set) {
            rows.rows.push_back({std::string(source), id, count(neuron.layer), count(neuron.neuron),
                                 prompts++, real(0.1)});
          }
          if (source == std::string("ig")) sets.push_back({relation, set});
        }
      }
      TableRows selection{"selection", {}};
      for (const char* source : {"activation", "ig"}) {
        selection.rows.push_back({std::string(source), relation,
                                  count(static_cast<int64_t>(sets.size())), real(0.7), count(1),
                                  real(3), flag(true), count(0), count(0)});
      }
      int64_t place = 0;
      for (const NeuronFacts& one : relation_neurons(sets).most_frequent) {
        frequent.rows.push_back({std::string("ig"), relation, place++, count(one.id.layer),
                                 count(one.id.neuron), one.facts});
      }
      store->write({"locate", relation, 0},
                   {{"relation",
                     {{relation, count(static_cast<int64_t>(facts.of(relation).size())), count(0),
                       count(0)}}},
                    fact_rows,
                    selection,
                    rows,
                    frequent});
    }
  }

  /// Adds all neurons of the two upper layers to the set of the relation's first fact, so that no
  /// random set has a neuron left.
  void locate_all(const std::string& relation) {
    const ModelConfig& config = of_.model.config();
    const int64_t id = facts.of(relation).front();
    TableRows rows{"neuron", {}};
    for (const char* source : {"activation", "ig"}) {
      const std::vector<NeuronId> had = set_of(relation, id, source, config);
      for (int64_t layer = config.layers - 2; layer < config.layers; ++layer) {
        for (int64_t i = 0; i < config.d_ff; ++i) {
          const NeuronId neuron{static_cast<int32_t>(layer), static_cast<int32_t>(i)};
          if (std::ranges::find(had, neuron) != had.end()) continue;
          rows.rows.push_back({std::string(source), id, layer, i, count(1), real(0.1)});
        }
      }
    }
    store->write({"locate", relation, 1}, {rows});
  }

  [[nodiscard]] static std::vector<NeuronId> set_of(
      const std::string& relation, int64_t id, const std::string& source,
      const ModelConfig& config = shipped().model.config()) {
    Random own(hash_text(source, static_cast<uint64_t>(id) + 1));
    const auto width = static_cast<uint64_t>(config.d_ff);
    const auto top = static_cast<int32_t>(config.layers) - 1;
    const auto neuron = [](uint64_t i) { return static_cast<int32_t>(i); };
    std::set<NeuronId> set = {{top, neuron(hash_text(relation + source) % width)},
                              {top, neuron(own.below(width))},
                              {top - 1, neuron(own.below(width))}};
    return {set.begin(), set.end()};
  }

  void write_corpus(const std::string& text) {
    std::ofstream(corpus_) << text;
    options.corpus = corpus_.string();
  }

  [[nodiscard]] RunContext context(const MeasureOptions& measure = {2, 0}) {
    of_.model.prepare_products();  // as a run does
    return {of_.model, of_.tokenizer, facts, options, *store, measure};
  }

  RunFacts facts;
  RunOptions options;
  std::unique_ptr<RunStore> store;

 private:
  void remove() const {
    for (const char* end : {"", "-wal", "-shm", "-lock"}) {
      std::filesystem::remove(path_.string() + end);
    }
    std::filesystem::remove(corpus_);
  }
  const ModelOfRuns& of_;
  std::filesystem::path path_, corpus_;
};

/// The rows of all parts of an experiment, one part after the other; with `keep` written to the
/// run.
inline std::vector<TableRows> run_all(const std::unique_ptr<Experiment>& experiment,
                                      const RunContext& run, const std::string& relation,
                                      bool keep = false) {
  std::vector<TableRows> all;
  const int64_t parts = experiment->parts(run, relation);
  for (int64_t part = 0; part < parts; ++part) {
    std::vector<TableRows> rows = experiment->run(run, relation, part);
    all.insert(all.end(), rows.begin(), rows.end());
    if (keep) run.store.write({std::string(experiment->name()), relation, part}, std::move(rows));
  }
  return all;
}

/// The rows of one table.
inline std::vector<Row> rows_of(const std::vector<TableRows>& all, std::string_view table) {
  std::vector<Row> rows;
  for (const TableRows& one : all) {
    if (one.table == table) rows.insert(rows.end(), one.rows.begin(), one.rows.end());
  }
  return rows;
}

/// A row's columns by name.
class NamedRow {
 public:
  NamedRow(std::string_view table, const Row& row) : table_(run_table(table)), row_(row) {}
  [[nodiscard]] const Value& value(std::string_view column) const {
    return row_[table_.column(column)];
  }
  [[nodiscard]] int64_t integer(std::string_view column) const { return integer_of(value(column)); }
  [[nodiscard]] double number(std::string_view column) const { return real_of(value(column)); }
  [[nodiscard]] const std::string& text(std::string_view column) const {
    return text_of(value(column));
  }

 private:
  const Table& table_;
  const Row& row_;
};

/// log P of a one-token answer and its rank, by the plain forward of one prompt.
inline Answered plain_answer(const Model& model, const Cloze& cloze, int64_t answer) {
  const c10::InferenceMode guard;
  const at::Tensor logits = model
                                .logits_at(at::tensor(cloze.ids, at::kLong).unsqueeze(0),
                                           at::tensor(cloze.positions, at::kLong))
                                .select(0, 0);
  Answered found;
  found.log_p = logits.to(at::kDouble).log_softmax(0)[answer].item<double>();
  found.p = std::exp(found.log_p);
  found.rank = 1 + logits.gt(logits[answer]).sum().item<int64_t>();
  return found;
}

/// Sums of float32 results in batches of other shapes.
inline void expect_close(double got, double expected) {
  EXPECT_NEAR(got, expected, 1e-4 * std::max(1.0, std::abs(expected)));
}

}  // namespace engram::testing
