#include "report/neuron_sets.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "base/random.h"
#include "experiments/locate/rows.h"
#include "statistics/share.h"

namespace engram {
namespace {

using experiments::locate::NeuronRow;
using experiments::locate::SelectionRow;

constexpr size_t kHubs = 10;
constexpr double kHubShare = 0.1;

/// Facts, pairs within, and for every two relations the neurons that pairs of their facts share.
struct SharedNeurons {
  std::vector<double> facts;                ///< [relations]
  std::vector<double> within;               ///< [relations] summed over pairs
  std::vector<std::vector<double>> across;  ///< [relations][relations]
};

SharedNeurons shared_neurons(const ReportInput& input, const SetFamily& family) {
  const size_t relations = input.facts.relations().size();
  SharedNeurons shared{
      std::vector<double>(relations, 0.0), std::vector<double>(relations, 0.0),
      std::vector<std::vector<double>>(relations, std::vector<double>(relations, 0.0))};
  // A neuron in c facts is shared by c (c - 1) / 2 pairs: no pair of facts has to be looked at.
  std::unordered_map<NeuronId, std::map<size_t, double>> counts;
  for (size_t f = 0; f < family.ids.size(); ++f) {
    const size_t r = input.facts.fact(family.ids[f]).relation;
    shared.facts[r] += 1;
    for (const NeuronId id : family.facts[f].neurons) counts[id][r] += 1;
  }
  for (const auto& [id, by_relation] : counts) {
    for (const auto& [r, count] : by_relation) {
      shared.within[r] += 0.5 * count * (count - 1);
      for (const auto& [s, other] : by_relation) {
        if (s != r) shared.across[r][s] += count * other;
      }
    }
  }
  return shared;
}

double pairs(double facts) { return 0.5 * facts * (facts - 1); }

/// Relations with facts, one cluster each: their intervals resample relations alone.
ClusteredSums relations_of(const SharedNeurons& shared) {
  ClusteredSums sums;
  for (size_t r = 0; r < shared.facts.size(); ++r) {
    if (shared.facts[r] == 0) continue;
    sums.relations.push_back({{kNoObject, {static_cast<double>(r)}}});
  }
  return sums;
}

/// Intervals of intersections: relations are resampled, their facts are not (a fact drawn twice
/// would share everything with itself).
void measure_intersections(const ReportInput& input, const SharedNeurons& shared,
                           SetMeasures& measures) {
  const size_t relations = shared.facts.size();
  const ClusteredSums sums = relations_of(shared);
  const Statistic statistic = [&](std::span<const std::vector<double>> drawn,
                                  std::span<double> out) {
    double within = 0;
    double with_pairs = 0;
    double across = 0;
    double across_pairs = 0;
    for (size_t i = 0; i < drawn.size(); ++i) {
      const auto r = static_cast<size_t>(drawn[i][0]);
      if (shared.facts[r] > 1) {
        within += shared.within[r] / pairs(shared.facts[r]);
        with_pairs += 1;
      }
      for (size_t j = 0; j < i; ++j) {
        const auto s = static_cast<size_t>(drawn[j][0]);
        if (r == s) continue;
        across += shared.across[r][s];
        across_pairs += shared.facts[r] * shared.facts[s];
      }
    }
    out[0] = ratio(within, with_pairs);
    out[1] = ratio(across, across_pairs);
  };
  const std::vector<Interval> found = bootstrap(sums, 2, statistic, input.options.bootstrap);
  measures.within = found[0];
  measures.across = found[1];
  // With two relations there is one pair of them, drawn again and again: no interval of width zero.
  if (sums.relations.size() < 3) measures.across.low = measures.across.high = NAN;
  for (size_t r = 0; r < relations; ++r) {
    measures.by_relation.push_back(ratio(shared.within[r], pairs(shared.facts[r])));
  }
}

}  // namespace

PooledIntersections pooled_intersections(const ReportInput& input, const SetFamily& family) {
  const SharedNeurons shared = shared_neurons(input, family);
  const Statistic statistic = [&](std::span<const std::vector<double>> drawn,
                                  std::span<double> out) {
    double within = 0;
    double all = 0;
    double across = 0;
    double facts = 0;
    for (const std::vector<double>& one : drawn) {
      const auto r = static_cast<size_t>(one[0]);
      within += shared.within[r];
      all += pairs(shared.facts[r]);
      double of_fact = 0;
      double others = 0;
      for (const std::vector<double>& other : drawn) {
        const auto s = static_cast<size_t>(other[0]);
        if (r == s) continue;
        of_fact += shared.across[r][s] / (shared.facts[r] * shared.facts[s]);
        others += 1;
      }
      if (others == 0) continue;
      across += shared.facts[r] * of_fact / others;
      facts += shared.facts[r];
    }
    out[0] = ratio(within, all);
    out[1] = ratio(across, facts);
  };
  const std::vector<Interval> found =
      bootstrap(relations_of(shared), 2, statistic, input.options.bootstrap);
  return {found[0], found[1]};
}

SetFamily read_family(const ReportInput& input, std::string_view source) {
  SetFamily family;
  family.source = source;
  std::set<std::string> done;
  read_rows<SelectionRow>(input.run, {is(&SelectionRow::source, source)},
                          [&](const SelectionRow& row) { done.insert(row.relation); });
  std::unordered_map<int64_t, size_t> places;
  for (const FactIndex::Fact& fact : input.facts.facts()) {
    const std::string& relation = input.facts.relations()[fact.relation];
    if (!done.contains(relation)) continue;
    places.emplace(fact.id, family.ids.size());
    family.ids.push_back(fact.id);
    family.facts.push_back({relation, {}});
  }
  read_rows<NeuronRow>(input.run, {is(&NeuronRow::source, source)}, [&](const NeuronRow& row) {
    const auto found = places.find(row.fact);
    if (found == places.end()) return;
    family.facts[found->second].neurons.push_back(neuron_of(row));
  });
  return family;
}

SetFamily random_family(const ReportInput& input, const SetFamily& like, int64_t d_ff) {
  SetFamily family = like;
  family.source = kRandomSource;
  for (size_t f = 0; f < like.ids.size(); ++f) {
    const FactIndex::Fact& fact = input.facts.fact(like.ids[f]);
    Random random(hash_text(fact.object,
                            hash_text(fact.subject, hash_text(like.facts[f].relation,
                                                              hash_text("report random sets")))) +
                  input.options.seed * 0x9E3779B97F4A7C15ULL);
    std::map<int32_t, uint64_t> wanted;  // by layer
    for (const NeuronId id : like.facts[f].neurons) ++wanted[id.layer];
    std::vector<NeuronId>& set = family.facts[f].neurons;
    set.clear();
    for (const auto& [layer, count] : wanted) {
      for (const uint64_t index : random.sample(static_cast<uint64_t>(d_ff), count)) {
        set.push_back({layer, static_cast<int32_t>(index)});
      }
    }
    std::ranges::sort(set);
  }
  return family;
}

std::vector<NeuronFacts> hubs_of(const SetFamily& family) {
  std::vector<NeuronFacts> all = neuron_frequencies(family.facts);
  const auto facts = static_cast<int64_t>(family.facts.size());
  const auto end = std::ranges::find_if(all, [&, place = size_t{0}](const NeuronFacts& n) mutable {
    return n.facts < 2 || (place++ >= kHubs && !reaches_share(n.facts, kHubShare, facts));
  });
  all.erase(end, all.end());
  return all;
}

SetFamily without(const SetFamily& family, const std::vector<NeuronFacts>& hubs) {
  std::unordered_set<NeuronId> gone;
  for (const NeuronFacts& hub : hubs) gone.insert(hub.id);
  SetFamily rest = family;
  for (FactNeurons& fact : rest.facts) {
    std::erase_if(fact.neurons, [&](NeuronId id) { return gone.contains(id); });
  }
  return rest;
}

SetMeasures measure_sets(const ReportInput& input, const SetFamily& family, size_t layers) {
  SetMeasures measures;
  FactSums sums(input.facts, 2 + layers);  // facts, neurons, neurons by layer
  for (size_t f = 0; f < family.ids.size(); ++f) {
    const std::span<double> of = sums.of(family.ids[f]);
    of[0] += 1;
    for (const NeuronId id : family.facts[f].neurons) {
      of[1] += 1;
      of[2 + static_cast<size_t>(id.layer)] += 1;
    }
  }
  const std::vector<Interval> found = bootstrap(
      sums.sums(), 1 + layers,
      [&](std::span<const std::vector<double>> drawn, std::span<double> out) {
        const std::vector<double> total = total_of(drawn);
        out[0] = ratio(total[1], total[0]);
        for (size_t l = 0; l < layers; ++l) out[1 + l] = ratio(total[2 + l], total[1]);
      },
      input.options.bootstrap);
  measures.per_fact = found[0];
  measures.layers.assign(found.begin() + 1, found.end());
  measure_intersections(input, shared_neurons(input, family), measures);
  return measures;
}

double jaccard(const std::vector<NeuronId>& a, const std::vector<NeuronId>& b) {
  std::vector<NeuronId> both;
  std::ranges::set_intersection(a, b, std::back_inserter(both));
  const auto common = static_cast<double>(both.size());
  return ratio(common, static_cast<double>(a.size() + b.size()) - common);
}

}  // namespace engram
