// Statistics of knowledge neurons: how many, what they share, where they are.
#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include "engram/sources.h"
#include "experiments/locate/rows.h"
#include "experiments/locate/section_attribution.h"
#include "report/neuron_sets.h"
#include "report/published.h"
#include "report/sections.h"

namespace engram::experiments::locate {
namespace {

/// A family, what is left of it without hubs, and the measures of both.
struct MeasuredSet {
  std::string name;
  SetFamily family, rest;
  SetMeasures all, no_hubs;
  std::vector<NeuronFacts> hubs;
};

std::string family_name(const std::string& source) {
  if (source == sources::kIg) return "knowledge neurons";
  if (source == sources::kActivation) return "activation baseline";
  if (source == kRandomSource) return "random, equal size and layers";
  return source;
}

MeasuredSet measure(const ReportInput& input, SetFamily family, size_t layers) {
  MeasuredSet found;
  found.name = family_name(family.source);
  found.hubs = hubs_of(family);
  found.rest = without(family, found.hubs);
  found.all = measure_sets(input, family, layers);
  found.no_hubs = measure_sets(input, found.rest, layers);
  found.family = std::move(family);
  return found;
}

/// Layers of the model; without that record, as many as were seen.
size_t layer_count(const ReportInput& input, const std::vector<SetFamily>& families) {
  auto layers = static_cast<size_t>(input.size("layers"));
  for (const SetFamily& family : families) {
    for (const FactNeurons& fact : family.facts) {
      for (const NeuronId id : fact.neurons) {
        layers = std::max(layers, static_cast<size_t>(id.layer) + 1);
      }
    }
  }
  return layers;
}

ReportTable counts_table(const std::vector<MeasuredSet>& sets) {
  ReportTable table = make_table(
      "neurons", "Neurons per fact and what facts share",
      "Neurons that carry single facts would share little with other facts' sets, and least across "
      "relations.",
      std::string(
          "Neurons per fact: mean over all facts, those without neurons included. "
          "Intersection: mean number of neurons that two facts' sets have in common; within "
          "a relation over all its pairs, averaged over relations without weights; across, "
          "over all pairs of facts of different relations; for intersections only relations "
          "are resampled. ") +
          kHubsDefined,
      {{"measure", CellFormat::kText},
       {"sets", CellFormat::kText},
       {"this run", CellFormat::kNumber},
       {"this run, without hubs", CellFormat::kNumber},
       {published::kAcl, CellFormat::kNumber, true},
       {published::kEleuther, CellFormat::kNumber, true}});
  using Get = const Interval& (*)(const SetMeasures&);
  struct Row {
    const char* name;
    Get get;
    std::array<double, 2> paper;  // knowledge neurons, baseline
    double eleuther;
  };
  const std::array<Row, 3> rows = {
      Row{"neurons per fact",
          [](const SetMeasures& m) -> const Interval& { return m.per_fact; },
          {published::kNeurons, published::kBaselineNeurons},
          published::kEleutherNeurons},
      Row{"intersection within a relation",
          [](const SetMeasures& m) -> const Interval& { return m.within; },
          {NAN, NAN},
          NAN},
      Row{"intersection across relations",
          [](const SetMeasures& m) -> const Interval& { return m.across; },
          {NAN, NAN},
          NAN}};
  for (const Row& row : rows) {
    for (const MeasuredSet& set : sets) {
      const bool located = set.family.source == sources::kIg;
      const bool baseline = set.family.source == sources::kActivation;
      table.rows.push_back({text_cell(row.name), text_cell(set.name),
                            interval_cell(row.get(set.all)), interval_cell(row.get(set.no_hubs)),
                            number_cell(located ? row.paper[0] : (baseline ? row.paper[1] : NAN)),
                            number_cell(located ? row.eleuther : NAN)});
    }
  }
  table.notes.emplace_back(
      "The paper and its replication average intersections otherwise (`--as-published` does "
      "as the paper): their figures do not stand beside these.");
  return table;
}

ReportTable sets_table(const std::vector<MeasuredSet>& sets) {
  ReportTable table =
      make_table("sets", "The sets as a whole",
                 "How many different neurons the facts have between them.", kHubsDefined,
                 {{"sets", CellFormat::kText},
                  {"hubs", CellFormat::kText},
                  {"facts", CellFormat::kCount},
                  {"facts without neurons", CellFormat::kCount},
                  {"different neurons", CellFormat::kCount},
                  {"of them in one fact only", CellFormat::kPercent},
                  {"hubs left out", CellFormat::kCount}});
  for (const MeasuredSet& set : sets) {
    for (const bool all : {true, false}) {
      const SetFamily& family = all ? set.family : set.rest;
      const std::vector<NeuronFacts> counts = neuron_frequencies(family.facts);
      const auto empty = std::ranges::count_if(
          family.facts, [](const FactNeurons& fact) { return fact.neurons.empty(); });
      const auto single =
          std::ranges::count_if(counts, [](const NeuronFacts& n) { return n.facts == 1; });
      table.rows.push_back(
          {text_cell(set.name), text_cell(all ? "with" : "without"),
           number_cell(static_cast<double>(family.facts.size())),
           number_cell(static_cast<double>(empty)), number_cell(static_cast<double>(counts.size())),
           number_cell(ratio(static_cast<double>(single), static_cast<double>(counts.size()))),
           number_cell(all ? 0.0 : static_cast<double>(set.hubs.size()))});
    }
  }
  return table;
}

ReportTable layers_table(const std::vector<MeasuredSet>& sets, size_t layers) {
  ReportTable table = make_table(
      "layers", "Where the neurons are",
      "The paper finds most knowledge neurons in the topmost layers (a figure without numbers).",
      std::string("Share of all (fact, neuron) pairs whose neuron is in the layer; layers count "
                  "from 0. ") +
          kHubsDefined,
      {{"layer", CellFormat::kCount}});
  for (const MeasuredSet& set : sets) {
    table.columns.push_back({set.name, CellFormat::kPercent});
    table.columns.push_back({set.name + ", without hubs", CellFormat::kPercent});
  }
  for (size_t l = 0; l < layers; ++l) {
    std::vector<ReportCell> row = {number_cell(static_cast<double>(l))};
    for (const MeasuredSet& set : sets) {
      row.push_back(interval_cell(set.all.layers[l]));
      row.push_back(interval_cell(set.no_hubs.layers[l]));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

Chart layers_chart(const std::vector<MeasuredSet>& sets, size_t layers) {
  Chart chart;
  chart.id = "layers-chart";
  chart.title = "Distribution over layers";
  chart.meaning =
      "Random sets are drawn from the layers of the knowledge neurons, so they are left "
      "out here.";
  chart.kind = ChartKind::kBars;
  chart.x = {"layer", false, false};
  chart.y = {"share of the sets' neurons (%)", false, true};
  for (size_t l = 0; l < layers; ++l) chart.categories.push_back(std::to_string(l));
  for (const MeasuredSet& set : sets) {
    if (set.family.source == kRandomSource) continue;
    for (const bool all : {true, false}) {
      ChartSeries series{set.name + (all ? "" : ", without hubs"), {}};
      for (size_t l = 0; l < layers; ++l) {
        series.points.push_back(
            {static_cast<double>(l), 0, (all ? set.all : set.no_hubs).layers[l]});
      }
      chart.series.push_back(std::move(series));
    }
  }
  return chart;
}

Chart sizes_chart(const std::vector<MeasuredSet>& sets) {
  Chart chart;
  chart.id = "sizes-chart";
  chart.title = "Neurons per fact";
  chart.meaning = "How many facts have a set of this size.";
  chart.kind = ChartKind::kBars;
  chart.x = {"neurons in the set", false, false};
  chart.y = {"share of the facts (%)", false, true};
  constexpr size_t kMost = 20;
  size_t largest = 0;
  for (const MeasuredSet& set : sets) {
    for (const FactNeurons& fact : set.family.facts) {
      largest = std::max(largest, std::min(fact.neurons.size(), kMost));
    }
  }
  for (size_t n = 0; n <= largest; ++n) {
    chart.categories.push_back(std::to_string(n) + (n == kMost ? "+" : ""));
  }
  for (const MeasuredSet& set : sets) {
    if (set.family.source == kRandomSource) continue;
    std::vector<double> counts(largest + 1, 0.0);
    for (const FactNeurons& fact : set.family.facts) {
      counts[std::min(fact.neurons.size(), kMost)] += 1;
    }
    ChartSeries series{set.name, {}};
    for (size_t n = 0; n <= largest; ++n) {
      series.points.push_back(
          {static_cast<double>(n),
           0,
           {counts[n] / static_cast<double>(set.family.facts.size()), NAN, NAN}});
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
}

ReportTable hubs_table(const std::vector<MeasuredSet>& sets) {
  constexpr size_t kShown = 10;
  ReportTable table =
      make_table("hubs", "Hubs", "Neurons in many facts' sets carry no single fact.", kHubsDefined,
                 {{"sets", CellFormat::kText},
                  {"layer", CellFormat::kCount},
                  {"neuron", CellFormat::kText},
                  {"facts", CellFormat::kCount},
                  {"share of all facts", CellFormat::kPercent},
                  {"relations", CellFormat::kCount}});
  for (const MeasuredSet& set : sets) {
    if (set.family.source == kRandomSource) continue;
    std::map<NeuronId, std::set<std::string_view>> relations;
    for (const FactNeurons& fact : set.family.facts) {
      for (const NeuronId id : fact.neurons) relations[id].insert(fact.relation);
    }
    for (size_t h = 0; h < std::min(set.hubs.size(), kShown); ++h) {
      const NeuronFacts& hub = set.hubs[h];
      const auto facts = static_cast<double>(hub.facts);
      table.rows.push_back({text_cell(set.name), number_cell(hub.id.layer),
                            text_cell(std::to_string(hub.id.neuron)), number_cell(facts),
                            number_cell(facts / static_cast<double>(set.family.facts.size())),
                            number_cell(static_cast<double>(relations[hub.id].size()))});
    }
    if (set.hubs.size() > kShown) {
      table.notes.push_back(set.name + ": " + std::to_string(set.hubs.size()) +
                            " hubs in all, the first ten are shown");
    }
  }
  table.notes.emplace_back(
      "In a published replication of the paper one neuron sits in 24 % of all "
      "facts.");
  if (table.rows.empty()) table.skipped = "no neuron is in two facts";
  return table;
}

ReportTable relations_table(const ReportInput& input, const std::vector<MeasuredSet>& sets) {
  ReportTable table = make_table(
      "relations", "Knowledge neurons by relation",
      "How the sets of each relation were chosen, and what its facts share.",
      std::string("p: the share of a fact's prompts that must agree, as it stands after the passes "
                  "that bring the mean into the wanted range. ") +
          kHubsDefined,
      {{"relation", CellFormat::kRelation},
       {"facts", CellFormat::kCount},
       {"too few prompts", CellFormat::kCount},
       {"prompts without a positive score", CellFormat::kCount},
       {"p", CellFormat::kNumber},
       {"passes", CellFormat::kCount},
       {"in range", CellFormat::kText}});
  for (const MeasuredSet& set : sets) {
    if (set.family.source == kRandomSource) continue;
    const std::string name = set.family.source == sources::kIg ? "" : "baseline: ";
    for (const char* of : {"", ", no hubs"}) {
      table.columns.push_back({name + "per fact" + of, CellFormat::kNumber});
      table.columns.push_back({name + "shared within" + of, CellFormat::kNumber});
    }
  }
  std::map<std::string, SelectionRow> selected;
  for (SelectionRow& row :
       read_all<SelectionRow>(input.run, {is(&SelectionRow::source, sources::kIg)})) {
    selected.emplace(row.relation, std::move(row));
  }
  for (size_t r = 0; r < input.facts.relations().size(); ++r) {
    const std::string& relation = input.facts.relations()[r];
    const auto of = selected.find(relation);
    if (of == selected.end()) continue;
    const SelectionRow& s = of->second;
    std::vector<ReportCell> row = {text_cell(relation),
                                   number_cell(static_cast<double>(s.facts)),
                                   number_cell(static_cast<double>(s.too_few)),
                                   number_cell(static_cast<double>(s.negative)),
                                   number_cell(s.share),
                                   number_cell(static_cast<double>(s.passes)),
                                   text_cell(s.within ? "yes" : "no")};
    for (const MeasuredSet& set : sets) {
      if (set.family.source == kRandomSource) continue;
      for (const bool all : {true, false}) {
        const SetFamily& family = all ? set.family : set.rest;
        double neurons = 0;
        double facts = 0;
        for (const FactNeurons& fact : family.facts) {
          if (fact.relation != relation) continue;
          facts += 1;
          neurons += static_cast<double>(fact.neurons.size());
        }
        row.push_back(number_cell(ratio(neurons, facts)));
        row.push_back(number_cell((all ? set.all : set.no_hubs).by_relation[r]));
      }
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

ReportSection neurons_section(const ReportInput& input) {
  ReportSection section{"neurons",
                        "Knowledge neurons",
                        "Which neurons the selection keeps.",
                        "engram reproduce ... --only locate,stability",
                        {}};
  std::vector<SetFamily> families;
  for (const std::string_view source : {sources::kIg, sources::kActivation}) {
    SetFamily family = read_family(input, source);
    if (!family.ids.empty()) families.push_back(std::move(family));
  }
  if (families.empty()) {
    section.blocks.emplace_back(
        skipped_table(input, "locate", "neurons", "Neurons per fact and what facts share"));
    return section;
  }
  const SetFamily located = families.front();
  const size_t layers = layer_count(input, families);
  const int64_t d_ff = input.size("d_ff");
  if (d_ff > 0) families.push_back(random_family(input, located, d_ff));
  std::vector<MeasuredSet> sets;
  sets.reserve(families.size());
  for (SetFamily& family : families) sets.push_back(measure(input, std::move(family), layers));

  ReportTable counts = counts_table(sets);
  if (d_ff == 0) {
    counts.notes.emplace_back(
        "Random sets are skipped: the run does not say how many neurons a "
        "layer has");
  }
  section.blocks.emplace_back(std::move(counts));
  section.blocks.emplace_back(sizes_chart(sets));
  section.blocks.emplace_back(sets_table(sets));
  section.blocks.emplace_back(layers_table(sets, layers));
  section.blocks.emplace_back(layers_chart(sets, layers));
  section.blocks.emplace_back(hubs_table(sets));
  section.blocks.emplace_back(relations_table(input, sets));
  return section;
}

}  // namespace

std::vector<ReportSection> sections(const ReportInput& input) {
  return {attribution_section(input), neurons_section(input)};
}

}  // namespace engram::experiments::locate
