#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "engram/intervention/top_texts.h"
#include "engram/run/experiment.h"
#include "engram/sources.h"
#include "experiments/examples/rows.h"
#include "experiments/locate/rows.h"
#include "run/parts.h"

namespace engram::experiments::examples {
namespace {

using locate::RelationNeuronRow;

constexpr int64_t kHubs = 5;      // of a relation, whose extreme texts are kept
constexpr int64_t kExamples = 5;  // of a neuron and end
constexpr int64_t kCorpusLines = 3000;

/// Extreme texts of the relations' most frequent neurons in the first lines of the corpus: every
/// part but the last looks at a stretch of lines, the last one chooses among what they have found.
class ExamplesExperiment : public Experiment {
 public:
  [[nodiscard]] std::string_view name() const override { return "examples"; }
  [[nodiscard]] int version() const override { return 1; }
  [[nodiscard]] std::vector<std::string_view> needs() const override { return {"locate"}; }
  [[nodiscard]] std::optional<std::string> skipped(const RunContext& run) const override {
    if (run.options.corpus.empty()) return "no file of ordinary text was given (--corpus)";
    return {};
  }
  [[nodiscard]] bool across() const override { return true; }
  [[nodiscard]] int64_t parts(const RunContext& run, std::string_view /*relation*/) const override {
    return static_cast<int64_t>(stretches(run).size()) + 1;
  }
  [[nodiscard]] int64_t facts(const RunContext& /*run*/, std::string_view /*relation*/,
                              int64_t /*part*/) const override {
    return 0;
  }

  std::vector<TableRows> run(const RunContext& run, std::string_view /*relation*/,
                             int64_t part) override {
    const std::vector<PartRange> lines = stretches(run);
    if (part == static_cast<int64_t>(lines.size())) return {to_rows(choose(run, part))};
    return {to_rows(look(run, part, lines.at(static_cast<size_t>(part))))};
  }

 private:
  static std::vector<PartRange> stretches(const RunContext& run) {
    const std::vector<double> costs(kCorpusLines, run_flops(run, text_size(run)));
    return cut_parts(costs, kCorpusLines, run.part_flops);
  }

  static std::vector<CandidateRow> look(const RunContext& run, int64_t part, PartRange lines) {
    std::set<NeuronId> neurons;
    for (const std::string& relation : run.facts.relations()) {
      for (const NeuronId id : hubs(run, relation)) neurons.insert(id);
    }
    std::vector<CandidateRow> rows;
    if (neurons.empty()) return rows;
    TopTextsOptions options;
    options.top = kExamples;
    options.first = static_cast<int64_t>(lines.begin);
    options.limit = static_cast<int64_t>(lines.end - lines.begin);
    options.need_text = false;
    options.measure = run.measure;
    const std::vector<NeuronId> wanted(neurons.begin(), neurons.end());
    const TopTexts found = top_texts(run.model, run.tokenizer, run.options.corpus, wanted, options);
    for (const NeuronTexts& one : found.neurons) {
      for (const bool lowest : {false, true}) {
        int64_t place = 0;
        for (const TextExample& example : lowest ? one.lowest : one.highest) {
          rows.push_back({part, one.neuron.layer, one.neuron.neuron, lowest, place++,
                          example.activation, example.text, tokens_json(example)});
        }
      }
    }
    return rows;
  }

  static std::vector<ExampleRow> choose(const RunContext& run, int64_t parts) {
    // In the file's order.
    std::map<std::pair<NeuronId, bool>, std::vector<CandidateRow>> candidates;
    for (int64_t part = 0; part < parts; ++part) {
      read_rows<CandidateRow>(run.store, {is(&CandidateRow::part, part)}, [&](CandidateRow row) {
        candidates[{neuron_of(row), row.lowest}].push_back(std::move(row));
      });
    }
    std::vector<ExampleRow> rows;
    for (const std::string& relation : run.facts.relations()) {
      for (const NeuronId id : hubs(run, relation)) {
        for (const bool lowest : {false, true}) {
          int64_t place = 0;
          for (const CandidateRow& one : best(candidates[{id, lowest}], lowest)) {
            rows.push_back({relation, id.layer, id.neuron, lowest, place++, one.activation,
                            one.text, one.tokens});
          }
        }
      }
    }
    return rows;
  }

  /// The extreme ones, each text once.
  static std::vector<CandidateRow> best(std::vector<CandidateRow> all, bool lowest) {
    std::ranges::stable_sort(all, [&](const CandidateRow& a, const CandidateRow& b) {
      return lowest ? a.activation < b.activation : a.activation > b.activation;
    });
    std::vector<CandidateRow> chosen;
    for (CandidateRow& one : all) {
      if (static_cast<int64_t>(chosen.size()) == kExamples) break;
      if (std::ranges::find(chosen, one.text, &CandidateRow::text) == chosen.end()) {
        chosen.push_back(std::move(one));
      }
    }
    return chosen;
  }

  static std::vector<NeuronId> hubs(const RunContext& run, const std::string& relation) {
    std::vector<NeuronId> found;
    for (const auto& row :
         read_all<RelationNeuronRow>(run.store, {is(&RelationNeuronRow::source, sources::kIg),
                                                 is(&RelationNeuronRow::relation, relation)})) {
      if (row.place < kHubs) found.push_back(neuron_of(row));
    }
    return found;
  }

  static std::string tokens_json(const TextExample& example) {
    nlohmann::json tokens = nlohmann::json::array();
    for (const auto& [token, value] : example.tokens) {
      tokens.push_back({token, std::round(static_cast<double>(value) * 1e4) / 1e4});
    }
    return tokens.dump();
  }
};

}  // namespace

std::unique_ptr<Experiment> make_experiment() { return std::make_unique<ExamplesExperiment>(); }

}  // namespace engram::experiments::examples
