#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "engram/intervention/effects.h"
#include "engram/neurons/selection.h"
#include "engram/run/experiment.h"
#include "engram/sources.h"
#include "engram/statistics/neuron_sets.h"

namespace engram {

/// The selection that a run uses for the scores of `method`: the run's own for integrated
/// gradients, the preset's for the activation baseline.
SelectionOptions selection_for(const RunOptions& options, std::string_view method);

/// What passed on the prompts of a fact, read from the store, one entry per prompt that locates.
std::vector<PromptNeurons> stored_prompts(RunStore& store, std::string_view method, int64_t fact);

/// A fact's neurons of a source, by id.
std::vector<NeuronId> stored_neurons(RunStore& store, std::string_view source, int64_t fact);

/// The same for all facts of a relation, in the order of RunFacts::of().
std::vector<FactNeurons> stored_relation(const RunContext& run, std::string_view source,
                                         std::string_view relation);

/// Whether the model knows a fact, by the stored answers on its own prompts; kAll where it is
/// neither known nor never given.
FactGroup stored_group(RunStore& store, int64_t fact);

/// Neurons that no random set of the run may hold: those in the set of any of its facts, whatever
/// the relation; none with options.random_from_all. Read once. REQUIRES: not_all_located() says
/// nothing.
const std::unordered_set<NeuronId>& located_of_run(const RunContext& run,
                                                   std::string_view source = sources::kIg);

/// Why experiments that need located_of_run() cannot run yet: a relation whose neurons the run does
/// not hold, in a shard. Nothing: all are there.
std::optional<std::string> not_all_located(const RunContext& run);

/// Rows of `selection`, `neuron` and `relation_neuron` for sets chosen from `bags`, those of
/// `facts` in the same order.
std::vector<TableRows> selection_rows(const RunContext& run, std::string_view source,
                                      std::string_view relation, std::span<const int64_t> facts,
                                      const RelationSelection& selection, int64_t negative);

}  // namespace engram
