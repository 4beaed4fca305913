#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engram/neuron.h"

namespace engram {

/// The knowledge neurons of one fact, for statistics over facts.
struct FactNeurons {
  std::string relation;
  std::vector<NeuronId> neurons;  ///< each once, any order
};

/// A neuron and the number of facts whose set it is in.
struct NeuronFacts {
  NeuronId id;
  int64_t facts = 0;
};

/// The neurons of `facts` with the number of facts, most frequent first, ties by id.
std::vector<NeuronFacts> neuron_frequencies(std::span<const FactNeurons> facts);

/// Neurons that stand for a relation (METHOD section 3). `facts` are all of one relation.
struct RelationNeurons {
  std::vector<NeuronFacts> most_frequent;  ///< the (at most) `most` most frequent: for erasure
  std::vector<NeuronFacts> common;         ///< in at least `share` of the facts: for analysis
};
RelationNeurons relation_neurons(std::span<const FactNeurons> facts, int64_t most = 20,
                                 double share = 0.1);

/// The neurons of fact `fact` that an update may change (METHOD section 5): its own but those in
/// more than `share` of the relation's other facts and in at least `least` of them.
/// `relation_facts` are all of one relation, with or without neurons. `as_released`: as the paper's
/// code has it, which counts the fact itself twice, among all facts, and has no `least`: with fewer
/// than 20 facts no neuron remains. The order is the fact's own. Throws InternalError for a fact
/// that is not there.
std::vector<NeuronId> editable_neurons(std::span<const FactNeurons> relation_facts,
                                       std::size_t fact, double share = 0.1, int64_t least = 2,
                                       bool as_released = false);

/// Statistics over facts (METHOD section 3). Facts without neurons count everywhere.
struct NeuronStatistics {
  int64_t facts = 0;
  int64_t empty = 0;    ///< facts without neurons
  double per_fact = 0;  ///< mean number of neurons
  /// Mean size of the intersection of two facts' sets: over all pairs within a relation, averaged
  /// over the relations that have a pair without weights; NaN if there is no pair.
  double intersection_within = 0;
  double intersection_across = 0;  ///< over all pairs of facts of different relations; NaN: none
  std::vector<int64_t> layers;     ///< [layers] how often a neuron of the layer is in a fact's set
  std::vector<NeuronFacts> hubs;   ///< the neurons in the most facts, at most `hubs` of them
  int64_t distinct = 0;            ///< different neurons
};
NeuronStatistics neuron_statistics(std::span<const FactNeurons> facts, int64_t layers,
                                   int64_t hubs = 10);

}  // namespace engram
