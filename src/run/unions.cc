// Erasing growing unions of other relations' neurons: what would go with as many neurons that are
// another relation's? Needs all relations' neurons, and so no shard can do it.
#include <algorithm>
#include <array>
#include <map>
#include <unordered_set>

#include "engram/edit/values.h"
#include "engram/neurons/matched.h"
#include "run/erase.h"
#include "run/seeds.h"
#include "run/sets.h"
#include "run/values.h"

namespace engram {
namespace {

constexpr std::array<size_t, 5> kUnionSizes = {20, 40, 80, 160, SIZE_MAX};  // the last one: all
constexpr ErasePrompts kUnionPrompts = {100, 100, 100, 0};
constexpr int64_t kUnionDraws = 2;  // random sets of each size

using RelationSets = std::map<std::string, std::vector<NeuronId>>;

/// The most frequent neurons of every relation.
RelationSets all_sets(const RunContext& run) {
  const Table& table = run_table("relation_neuron");
  RelationSets sets;
  for (const Row& row : run.store.read("relation_neuron", {{"source", std::string("ig")}})) {
    sets[text_of(row[table.column("relation")])].push_back(
        {static_cast<int32_t>(integer_of(row[table.column("layer")])),
         static_cast<int32_t>(integer_of(row[table.column("neuron")]))});
  }
  return sets;
}

/// Neurons of the other relations, relation after relation in seeded order, each once, without
/// those that the relation itself has.
std::vector<NeuronId> union_of_others(const RunContext& run, const RelationSets& sets,
                                      const std::string& relation) {
  std::vector<std::string> order = run.facts.relations();
  std::erase(order, relation);
  Random random(choice_seed(run.options.seed, "unions", relation));
  random.shuffle(order);
  std::unordered_set<NeuronId> seen;
  const auto own = sets.find(relation);
  if (own != sets.end()) seen.insert(own->second.begin(), own->second.end());
  std::vector<NeuronId> all;
  for (const std::string& other : order) {
    const auto set = sets.find(other);
    if (set == sets.end()) continue;
    for (const NeuronId id : set->second) {
      if (seen.insert(id).second) all.push_back(id);
    }
  }
  return all;
}

/// Part i is the relation at place i: its prompts, the others' neurons.
class UnionsExperiment : public Experiment {
 public:
  [[nodiscard]] std::string_view name() const override { return "unions"; }
  [[nodiscard]] std::vector<std::string_view> needs() const override { return {"locate"}; }
  [[nodiscard]] bool across() const override { return true; }
  [[nodiscard]] int64_t parts(const RunContext& run, std::string_view) const override {
    return static_cast<int64_t>(run.facts.relations().size());
  }
  [[nodiscard]] int64_t facts(const RunContext& run, std::string_view,
                              int64_t part) const override {
    return static_cast<int64_t>(run.facts.of(relation_at(run, part)).size());
  }

  std::vector<TableRows> run(const RunContext& run, std::string_view, int64_t part) override {
    const std::string& relation = relation_at(run, part);
    const RelationSets sets = all_sets(run);
    const std::vector<NeuronId> others = union_of_others(run, sets, relation);
    EraseMeasurement measurement(run, relation, text_, kUnionPrompts);
    const MatchedSampler sampler(run.model, located_of_run(run));
    size_t last = 0;
    for (const size_t size : kUnionSizes) {
      const size_t cut = std::min(size, others.size());
      if (cut == last) continue;
      last = cut;
      add(run, relation, std::span(others).first(cut), sampler, measurement);
    }
    std::vector<TableRows> rows = {measurement.rows()};
    if (part == 0) rows.push_back(text_rows(run));
    return rows;
  }

 private:
  static const std::string& relation_at(const RunContext& run, int64_t part) {
    return run.facts.relations().at(static_cast<size_t>(part));
  }

  static void add(const RunContext& run, const std::string& relation,
                  std::span<const NeuronId> neurons, const MatchedSampler& sampler,
                  EraseMeasurement& measurement) {
    const auto erase = [&](const char* source, int64_t draw, std::span<const NeuronId> set) {
      measurement.add({source, draw, erase_mode_name(EraseMode::kZero),
                       static_cast<int64_t>(neurons.size()),
                       output_edit(run.model, erase_values(run.model, set, EraseMode::kZero, {}))});
    };
    erase("others", 0, neurons);
    const MatchedSets random = sampler.draw(
        neurons, MatchStrength::kLayer, {}, {}, kUnionDraws,
        choice_seed(run.options.seed, "unions random " + std::to_string(neurons.size()), relation));
    for (size_t draw = 0; draw < random.draws.size(); ++draw) {
      erase("random-others", static_cast<int64_t>(draw), random.draws[draw]);
    }
  }

  /// The ordinary text without any edit; empty without a corpus.
  TableRows text_rows(const RunContext& run) {
    const EditMeasured measured =
        measure_edits(run.model, text_.positions(run), {}, {}, {}, run.measure);
    TableRows out{"text_perplexity", {}};
    for (size_t i = 0; i < measured.before.size(); ++i) {
      out.rows.push_back({static_cast<int64_t>(i), real(measured.before[i].log_p),
                          flag(measured.before[i].top())});
    }
    return out;
  }

  RunText text_;
};

}  // namespace

std::unique_ptr<Experiment> make_unions_experiment() {
  return std::make_unique<UnionsExperiment>();
}

}  // namespace engram
