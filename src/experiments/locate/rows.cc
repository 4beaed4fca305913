#include "experiments/locate/rows.h"

#include "store/experiment_tables.h"

namespace engram::experiments::locate {

ExperimentTables tables() {
  using enum ColumnType;
  return {
      {table_of<AttributionRow>(), table_of<ScoreRow>(), table_of<NearRow>(), table_of<ScoresRow>(),
       table_of<SelectionRow>(), table_of<NeuronRow>(), table_of<RelationNeuronRow>()},
      {{"table_neurons",
        "neurons per fact, by relation and source",
        "SELECT s.source, s.relation, s.facts, s.share, s.mean AS neurons_per_fact, s.within, "
        "s.too_few FROM selection s ORDER BY s.source, s.relation",
        {{"source", kText, "as in selection"},
         {"relation", kText, ""},
         {"facts", kInteger, "with or without neurons"},
         {"share", kReal, "p of the pass that stands"},
         {"neurons_per_fact", kReal, "mean"},
         {"within", kInteger, "1: the mean is in the wanted range"},
         {"too_few", kInteger, "facts with too few prompts to be refined"}}},
       {"table_layers",
        "how often a layer's neurons are in a fact's set",
        "SELECT source, layer, count(*) AS neurons FROM neuron GROUP BY source, layer "
        "ORDER BY source, layer",
        {{"source", kText, "as in selection"},
         {"layer", kInteger, ""},
         {"neurons", kInteger, "in the sets of all facts, each as often as it occurs"}}},
       {"table_hubs",
        "neurons by the number of facts that hold them",
        "SELECT source, layer, neuron, count(*) AS facts FROM neuron "
        "GROUP BY source, layer, neuron HAVING count(*) > 1 "
        "ORDER BY source, facts DESC, layer, neuron",
        {{"source", kText, "as in selection"},
         {"layer", kInteger, ""},
         {"neuron", kInteger, ""},
         {"facts", kInteger, "whose set it is in, at least 2"}}}}};
}

}  // namespace engram::experiments::locate
