#pragma once

// Neuron sets of facts, out of a run, for the statistics of METHOD section 3.

#include <string>
#include <string_view>
#include <vector>

#include "engram/neuron.h"
#include "engram/statistics/neuron_sets.h"
#include "report/sections.h"

namespace engram {

/// What random_family() gives.
constexpr std::string_view kRandomSource = "random";

/// One kind of set for all facts of the relations that have it.
struct SetFamily {
  std::string source;  ///< as in the table selection, or kRandomSource
  std::vector<int64_t> ids;
  std::vector<FactNeurons> facts;  ///< in the order of ids; sets by id
};

/// Of the table `neuron`; without facts where no relation has a selection of this source.
SetFamily read_family(const ReportInput& input, std::string_view source);

/// Seeded sets as large as those of `like`, in the same layers, uniform over a layer's `d_ff`
/// neurons, each once.
SetFamily random_family(const ReportInput& input, const SetFamily& like, int64_t d_ff);

/// As the report says it.
constexpr const char* kHubsDefined =
    "Hubs are the ten neurons in the most facts, and every neuron in at least 10 % of all facts.";
/// The hubs of a family: the ten neurons in the most facts (of those in two or more), and every
/// neuron in at least 10 % of all facts. Most frequent first.
std::vector<NeuronFacts> hubs_of(const SetFamily& family);
/// What is left of the sets without `hubs`.
SetFamily without(const SetFamily& family, const std::vector<NeuronFacts>& hubs);

/// Mean numbers with intervals.
struct SetMeasures {
  Interval per_fact;  ///< neurons
  Interval within;    ///< intersection of two facts' sets, as neuron_statistics()
  Interval across;
  std::vector<Interval> layers;     ///< share of the sets' neurons by layer
  std::vector<double> by_relation;  ///< intersection within, by place of the relation; NaN: no pair
};
SetMeasures measure_sets(const ReportInput& input, const SetFamily& family, size_t layers);

/// Intersections as the paper's released code averages them: within, over the pairs of all
/// relations pooled; across, over facts, each with one of another relation that is drawn uniformly.
struct PooledIntersections {
  Interval within, across;
};
PooledIntersections pooled_intersections(const ReportInput& input, const SetFamily& family);

/// |a and b| / |a or b|; NaN for two empty sets. Both by id.
double jaccard(const std::vector<NeuronId>& a, const std::vector<NeuronId>& b);

}  // namespace engram
