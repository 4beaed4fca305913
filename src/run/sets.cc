#include "run/sets.h"

#include "run/values.h"

namespace engram {

SelectionOptions selection_for(const RunOptions& options, std::string_view method) {
  if (method == "activation") return options.baseline;
  return options.locate.selection;
}

std::vector<PromptNeurons> stored_prompts(RunStore& store, std::string_view method, int64_t fact) {
  const Where where = {{"method", std::string(method)}, {"fact", fact}};
  std::vector<PromptNeurons> prompts;
  const Table& attribution = run_table("attribution");
  for (const Row& row : store.read("attribution", where)) {
    prompts.push_back({static_cast<float>(real_of(row[attribution.column("largest")])), {}, {}});
  }
  for (const auto& [name, list] : {std::pair{"score", &PromptNeurons::neurons},
                                   std::pair{"score_near", &PromptNeurons::near}}) {
    const Table& score = run_table(name);
    for (const Row& row : store.read(name, where)) {
      const auto prompt = static_cast<size_t>(integer_of(row[score.column("prompt")]));
      (prompts.at(prompt).*list)
          .push_back({{static_cast<int32_t>(integer_of(row[score.column("layer")])),
                       static_cast<int32_t>(integer_of(row[score.column("neuron")]))},
                      static_cast<float>(real_of(row[score.column("score")]))});
    }
  }
  return prompts;
}

FactGroup stored_group(RunStore& store, int64_t fact) {
  const size_t rank = run_table("attribution").column("answer_rank");
  int64_t prompts = 0;
  int64_t top = 0;
  for (const Row& row :
       store.read("attribution", {{"method", std::string("ig")}, {"fact", fact}})) {
    ++prompts;
    if (integer_of(row[rank]) == 1) ++top;
  }
  return group_of(prompts, top);
}

std::vector<NeuronId> stored_neurons(RunStore& store, std::string_view source, int64_t fact) {
  std::vector<NeuronId> neurons;
  const Table& table = run_table("neuron");
  const size_t layer = table.column("layer");
  const size_t neuron = table.column("neuron");
  for (const Row& row : store.read("neuron", {{"source", std::string(source)}, {"fact", fact}})) {
    neurons.push_back({static_cast<int32_t>(integer_of(row[layer])),
                       static_cast<int32_t>(integer_of(row[neuron]))});
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
  const auto [it, fresh] = run.sets->located.try_emplace(std::string(source));
  if (!fresh || run.options.random_from_all) return it->second;
  const Table& table = run_table("neuron");
  const size_t layer = table.column("layer");
  const size_t neuron = table.column("neuron");
  run.store.read_each("neuron", {{"source", std::string(source)}}, [&](const Row& row) {
    it->second.insert({static_cast<int32_t>(integer_of(row[layer])),
                       static_cast<int32_t>(integer_of(row[neuron]))});
    return true;
  });
  return it->second;
}

std::optional<std::string> not_all_located(const RunContext& run) {
  for (const std::string& relation : run.facts.relations()) {
    if (run.store.read("selection", {{"source", std::string("ig")}, {"relation", relation}})
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
  TableRows neurons{"neuron", {}};
  std::vector<FactNeurons> sets;
  for (size_t i = 0; i < facts.size(); ++i) {
    FactNeurons& set = sets.emplace_back();
    for (const CountedNeuron& one : selection.neurons[i]) {
      set.neurons.push_back(one.id);
      neurons.rows.push_back({name, facts[i], count(one.id.layer), count(one.id.neuron),
                              count(one.prompts), real(one.score)});
    }
  }
  TableRows of_relation{"relation_neuron", {}};
  const RelationNeurons frequent =
      relation_neurons(sets, run.options.locate.relation_neurons, run.options.locate.common_share);
  for (size_t i = 0; i < frequent.most_frequent.size(); ++i) {
    const NeuronFacts& one = frequent.most_frequent[i];
    of_relation.rows.push_back({name, std::string(relation), count(static_cast<int64_t>(i)),
                                count(one.id.layer), count(one.id.neuron), count(one.facts)});
  }
  TableRows how{"selection",
                {{name, std::string(relation), count(static_cast<int64_t>(facts.size())),
                  real(selection.share), count(selection.passes), real(selection.mean),
                  flag(selection.within), count(selection.too_few), count(negative)}}};
  return {std::move(how), std::move(neurons), std::move(of_relation)};
}

}  // namespace engram
