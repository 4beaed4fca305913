#include "engram/statistics/neuron_sets.h"

#include <algorithm>
#include <limits>
#include <map>
#include <unordered_map>

#include "engram/error.h"
#include "statistics/share.h"

namespace engram {
namespace {

/// Unordered pairs of `count` things.
double pairs(int64_t count) {
  return 0.5 * static_cast<double>(count) * static_cast<double>(count - 1);
}

std::unordered_map<NeuronId, int64_t> count_neurons(std::span<const FactNeurons> facts) {
  std::unordered_map<NeuronId, int64_t> counts;
  for (const FactNeurons& fact : facts) {
    for (const NeuronId id : fact.neurons) ++counts[id];
  }
  return counts;
}

std::vector<NeuronFacts> sorted(const std::unordered_map<NeuronId, int64_t>& counts) {
  std::vector<NeuronFacts> list;
  list.reserve(counts.size());
  for (const auto& [id, count] : counts) list.push_back({id, count});
  std::ranges::sort(list, [](const NeuronFacts& a, const NeuronFacts& b) {
    return a.facts != b.facts ? a.facts > b.facts : a.id < b.id;
  });
  return list;
}

}  // namespace

std::vector<NeuronFacts> neuron_frequencies(std::span<const FactNeurons> facts) {
  return sorted(count_neurons(facts));
}

RelationNeurons relation_neurons(std::span<const FactNeurons> facts, int64_t most, double share) {
  RelationNeurons result;
  const std::vector<NeuronFacts> all = neuron_frequencies(facts);
  for (const NeuronFacts& one : all) {
    if (static_cast<int64_t>(result.most_frequent.size()) < most)
      result.most_frequent.push_back(one);
    if (reaches_share(one.facts, share, static_cast<int64_t>(facts.size()))) {
      result.common.push_back(one);
    }
  }
  return result;
}

std::vector<NeuronId> editable_neurons(std::span<const FactNeurons> relation_facts,
                                       std::size_t fact, double share, int64_t least,
                                       bool as_released) {
  if (fact >= relation_facts.size()) throw InternalError("editable_neurons: no such fact");
  const std::unordered_map<NeuronId, int64_t> counts = count_neurons(relation_facts);
  const auto facts = static_cast<int64_t>(relation_facts.size());
  std::vector<NeuronId> kept;
  for (const NeuronId id : relation_facts[fact].neurons) {
    const int64_t count = counts.at(id);
    const int64_t others = count - 1;
    const bool frequent = as_released ? above_share(count + 1, share, facts)
                                      : others >= least && above_share(others, share, facts - 1);
    if (!frequent) kept.push_back(id);
  }
  return kept;
}

NeuronStatistics neuron_statistics(std::span<const FactNeurons> facts, int64_t layers,
                                   int64_t hubs) {
  NeuronStatistics result;
  result.facts = static_cast<int64_t>(facts.size());
  result.layers.assign(static_cast<size_t>(layers), 0);
  std::map<std::string, std::unordered_map<NeuronId, int64_t>> by_relation;
  std::map<std::string, int64_t> facts_of;
  int64_t total = 0;
  for (const FactNeurons& fact : facts) {
    if (fact.neurons.empty()) ++result.empty;
    ++facts_of[fact.relation];
    total += static_cast<int64_t>(fact.neurons.size());
    auto& counts = by_relation[fact.relation];
    for (const NeuronId id : fact.neurons) {
      if (id.layer < 0 || id.layer >= layers) {
        throw InputError("neuron " + std::to_string(id.layer) + ":" + std::to_string(id.neuron) +
                         " does not exist: the model has layers 0.." + std::to_string(layers - 1));
      }
      ++counts[id];
      ++result.layers[static_cast<size_t>(id.layer)];
    }
  }
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  result.per_fact =
      facts.empty() ? kNone : static_cast<double>(total) / static_cast<double>(facts.size());

  // A neuron in c facts is shared by c(c-1)/2 pairs: no pair of facts has to be looked at.
  const auto shared = [](const std::unordered_map<NeuronId, int64_t>& counts) {
    double sum = 0;
    for (const auto& [id, count] : counts) sum += pairs(count);
    return sum;
  };
  double within_mean = 0;
  double within_shared = 0;
  double within_pairs = 0;
  int64_t relations = 0;
  for (const auto& [relation, counts] : by_relation) {
    const double here = pairs(facts_of[relation]);
    const double in_common = shared(counts);
    within_shared += in_common;
    within_pairs += here;
    if (here > 0) {
      within_mean += in_common / here;
      ++relations;
    }
  }
  result.intersection_within = relations > 0 ? within_mean / static_cast<double>(relations) : kNone;
  const std::unordered_map<NeuronId, int64_t> counts = count_neurons(facts);
  const double across_pairs = pairs(result.facts) - within_pairs;
  result.intersection_across =
      across_pairs > 0 ? (shared(counts) - within_shared) / across_pairs : kNone;
  result.distinct = static_cast<int64_t>(counts.size());
  result.hubs = sorted(counts);
  if (static_cast<int64_t>(result.hubs.size()) > hubs)
    result.hubs.resize(static_cast<size_t>(hubs));
  return result;
}

}  // namespace engram
