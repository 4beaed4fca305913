#include "run/sets.h"

#include "engram/sources.h"
#include "experiments/locate/rows.h"

namespace engram {
namespace {

using experiments::locate::AttributionRow;
using experiments::locate::NearRow;
using experiments::locate::NeuronRow;
using experiments::locate::RelationNeuronRow;
using experiments::locate::ScoreRow;
using experiments::locate::SelectionRow;

template <typename R>
ScoredNeuron scored_neuron(const R& row) {
  return {neuron_of(row), static_cast<float>(row.score)};
}

}  // namespace

SelectionOptions selection_for(const RunOptions& options, std::string_view method) {
  if (method == sources::kActivation) return options.baseline;
  return options.locate.selection;
}

std::vector<PromptNeurons> stored_prompts(RunStore& store, std::string_view method, int64_t fact) {
  std::vector<PromptNeurons> prompts;
  for (const auto& row : read_all<AttributionRow>(
           store, {is(&AttributionRow::method, method), is(&AttributionRow::fact, fact)})) {
    prompts.push_back({static_cast<float>(row.largest), {}, {}});
  }
  for (const auto& row :
       read_all<ScoreRow>(store, {is(&ScoreRow::method, method), is(&ScoreRow::fact, fact)})) {
    prompts.at(static_cast<size_t>(row.prompt)).neurons.push_back(scored_neuron(row));
  }
  for (const auto& row :
       read_all<NearRow>(store, {is(&NearRow::method, method), is(&NearRow::fact, fact)})) {
    prompts.at(static_cast<size_t>(row.prompt)).near.push_back(scored_neuron(row));
  }
  return prompts;
}

FactGroup stored_group(RunStore& store, int64_t fact) {
  int64_t prompts = 0;
  int64_t top = 0;
  for (const auto& row : read_all<AttributionRow>(
           store, {is(&AttributionRow::method, sources::kIg), is(&AttributionRow::fact, fact)})) {
    ++prompts;
    if (row.answer_rank == 1) ++top;
  }
  return group_of(prompts, top);
}

std::vector<NeuronId> stored_neurons(RunStore& store, std::string_view source, int64_t fact) {
  std::vector<NeuronId> neurons;
  for (const auto& row :
       read_all<NeuronRow>(store, {is(&NeuronRow::source, source), is(&NeuronRow::fact, fact)})) {
    neurons.push_back(neuron_of(row));
  }
  return neurons;
}

std::vector<FactNeurons> stored_relation(const RunContext& run, std::string_view source,
                                         std::string_view relation) {
  std::vector<FactNeurons> sets;
  for (const int64_t fact : run.facts.of(relation)) {
    sets.push_back({std::string(relation), stored_neurons(run.store, source, fact)});
  }
  return sets;
}

const std::unordered_set<NeuronId>& located_of_run(const RunContext& run, std::string_view source) {
  const auto [entry, fresh] = run.sets->located.try_emplace(std::string(source));
  std::unordered_set<NeuronId>& located = entry->second;
  if (!fresh || run.options.random_from_all) return located;
  read_rows<NeuronRow>(run.store, {is(&NeuronRow::source, source)},
                       [&](const NeuronRow& row) { located.insert(neuron_of(row)); });
  return located;
}

std::optional<std::string> not_all_located(const RunContext& run) {
  for (const std::string& relation : run.facts.relations()) {
    if (read_all<SelectionRow>(run.store, {is(&SelectionRow::source, sources::kIg),
                                           is(&SelectionRow::relation, relation)})
            .empty()) {
      return "needs the located neurons of all relations: run the shards with --only locate, "
             "merge, give every machine a copy of the merged file and run the same command with "
             "its --shard on it";
    }
  }
  return {};
}

std::vector<TableRows> selection_rows(const RunContext& run, std::string_view source,
                                      std::string_view relation, std::span<const int64_t> facts,
                                      const RelationSelection& selection, int64_t negative) {
  const std::string name(source);
  std::vector<NeuronRow> neurons;
  std::vector<FactNeurons> sets;
  for (size_t i = 0; i < facts.size(); ++i) {
    FactNeurons& set = sets.emplace_back();
    for (const CountedNeuron& one : selection.neurons[i]) {
      set.neurons.push_back(one.id);
      neurons.push_back({name, facts[i], one.id.layer, one.id.neuron, one.prompts, one.score});
    }
  }
  std::vector<RelationNeuronRow> of_relation;
  const RelationNeurons frequent =
      relation_neurons(sets, run.options.locate.relation_neurons, run.options.locate.common_share);
  for (const NeuronFacts& one : frequent.most_frequent) {
    of_relation.push_back({name, std::string(relation), static_cast<int64_t>(of_relation.size()),
                           one.id.layer, one.id.neuron, one.facts});
  }
  SelectionRow how;
  how.source = name;
  how.relation = relation;
  how.facts = static_cast<int64_t>(facts.size());
  how.share = selection.share;
  how.passes = selection.passes;
  how.mean = selection.mean;
  how.within = selection.within;
  how.too_few = selection.too_few;
  how.negative = negative;
  return {to_rows<SelectionRow>({std::move(how)}), to_rows(std::move(neurons)),
          to_rows(std::move(of_relation))};
}

}  // namespace engram
