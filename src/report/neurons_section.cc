// Statistics of knowledge neurons: how many, what they share, where they are, how stable they are.
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <set>

#include "report/neuron_sets.h"
#include "report/published.h"
#include "report/sections.h"

namespace engram {
namespace {

constexpr const char* kHubsDefined =
    "Hubs are the ten neurons in the most facts, and every neuron in at least 10 % of all facts.";

/// A family, what is left of it without hubs, and the measures of both.
struct MeasuredSet {
  std::string name;
  SetFamily family, rest;
  SetMeasures all, no_hubs;
  std::vector<NeuronFacts> hubs;
};

std::string family_name(const std::string& source) {
  if (source == "ig") return "knowledge neurons";
  if (source == "activation") return "activation baseline";
  if (source == "random") return "random, equal size and layers";
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
      const bool located = set.family.source == "ig";
      const bool baseline = set.family.source == "activation";
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
    if (set.family.source == "random") continue;
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
    if (set.family.source == "random") continue;
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
    if (set.family.source == "random") continue;
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

/// What the table `selection` says of one relation and source.
struct SelectedNeurons {
  double facts = 0, share = NAN, passes = 0, mean = NAN, too_few = 0, negative = 0;
  bool within = true;
};

std::map<std::string, SelectedNeurons> read_selection(const ReportInput& input,
                                                      const std::string& source) {
  const Table& table = run_table("selection");
  std::map<std::string, SelectedNeurons> found;
  for_rows(input.run, "selection", {{"source", source}}, [&](const Cells& row) {
    found.emplace(
        row.text(table.column("relation")),
        SelectedNeurons{row.real(table.column("facts")), row.real(table.column("share")),
                        row.real(table.column("passes")), row.real(table.column("mean")),
                        row.real(table.column("too_few")), row.real(table.column("negative")),
                        row.integer(table.column("within")) != 0});
  });
  return found;
}

ReportTable relation_neurons_table(const ReportInput& input, const std::vector<MeasuredSet>& sets) {
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
    if (set.family.source == "random") continue;
    const std::string name = set.family.source == "ig" ? "" : "baseline: ";
    for (const char* of : {"", ", no hubs"}) {
      table.columns.push_back({name + "per fact" + of, CellFormat::kNumber});
      table.columns.push_back({name + "shared within" + of, CellFormat::kNumber});
    }
  }
  const std::map<std::string, SelectedNeurons> selected = read_selection(input, "ig");
  for (size_t r = 0; r < input.facts.relations().size(); ++r) {
    const std::string& relation = input.facts.relations()[r];
    const auto of = selected.find(relation);
    if (of == selected.end()) continue;
    const SelectedNeurons& s = of->second;
    std::vector<ReportCell> row = {text_cell(relation),
                                   number_cell(s.facts),
                                   number_cell(s.too_few),
                                   number_cell(s.negative),
                                   number_cell(s.share),
                                   number_cell(s.passes),
                                   text_cell(s.within ? "yes" : "no")};
    for (const MeasuredSet& set : sets) {
      if (set.family.source == "random") continue;
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

// --- stability -----------------------------------------------------------------------------------

/// Both halves of a fact's prompts must hold at least this many: with fewer there is no refinement.
constexpr int64_t kHalf = 3;

struct Agreement {
  double facts = 0, both_empty = 0, same = 0;
  Interval jaccard;
  Interval no_hubs;
};

/// `eligible` facts that have both; `hubs` are those of the run's own sets.
Agreement agreement(const ReportInput& input, const SetFamily& a, const SetFamily& b,
                    const std::vector<NeuronFacts>& hubs,
                    const std::function<bool(int64_t)>& eligible) {
  Agreement found;
  FactSums sums(input.facts, 4);  // facts and Jaccard, the same without hubs
  const SetFamily a_rest = without(a, hubs);
  const SetFamily b_rest = without(b, hubs);
  std::map<int64_t, size_t> of_b;
  for (size_t f = 0; f < b.ids.size(); ++f) of_b.emplace(b.ids[f], f);
  for (size_t f = 0; f < a.ids.size(); ++f) {
    const auto other = of_b.find(a.ids[f]);
    if (other == of_b.end() || !eligible(a.ids[f])) continue;
    const double all = jaccard(a.facts[f].neurons, b.facts[other->second].neurons);
    const double rest = jaccard(a_rest.facts[f].neurons, b_rest.facts[other->second].neurons);
    const std::span<double> of = sums.of(a.ids[f]);
    if (std::isnan(all)) {
      found.both_empty += 1;
    } else {
      of[0] += 1;
      of[1] += all;
      found.facts += 1;
      found.same += all == 1 ? 1 : 0;
    }
    if (!std::isnan(rest)) {
      of[2] += 1;
      of[3] += rest;
    }
  }
  const std::vector<Interval> means = bootstrap(
      sums.sums(), 2,
      [](std::span<const std::vector<double>> drawn, std::span<double> out) {
        const std::vector<double> total = total_of(drawn);
        out[0] = ratio(total[1], total[0]);
        out[1] = ratio(total[3], total[2]);
      },
      input.options.bootstrap);
  found.jaccard = means[0];
  found.no_hubs = means[1];
  return found;
}

/// Sources that another quadrature rule or option has made: "ig-" and its name.
std::vector<std::string> other_rules(const ReportInput& input) {
  std::set<std::string> sources;
  const Table& table = run_table("selection");
  for_rows(input.run, "selection", {},
           [&](const Cells& row) { sources.emplace(row.text(table.column("source"))); });
  std::vector<std::string> rules;
  for (const std::string& source : sources) {
    if (source.starts_with("ig-") && !source.starts_with("ig-half-")) rules.push_back(source);
  }
  return rules;
}

/// Facts with scores of this method: another rule is tried on a sample.
std::set<int64_t> attributed_facts(const ReportInput& input, const std::string& method) {
  const Table& table = run_table("attribution");
  const size_t fact = table.column("fact");
  std::set<int64_t> ids;
  for_rows(input.run, "attribution", {{"method", method}},
           [&](const Cells& row) { ids.insert(row.integer(fact)); });
  return ids;
}

ReportTable stability_table(const ReportInput& input, const SetFamily& located) {
  ReportTable table = make_table(
      "stability", "Stability of the sets",
      "Would other prompts, or another way to integrate, have given the same neurons?",
      std::string(
          "Jaccard index of a fact's two sets, mean over facts; facts where both sets are "
          "empty have none and are left out. Halves are disjoint and hold at least 3 prompts "
          "each. Hubs here are those of the knowledge neurons. ") +
          kHubsDefined,
      {{"compared", CellFormat::kText},
       {"facts", CellFormat::kCount},
       {"both sets empty", CellFormat::kCount},
       {"Jaccard index", CellFormat::kNumber},
       {"without hubs", CellFormat::kNumber},
       {"identical sets", CellFormat::kPercent}});
  const std::vector<NeuronFacts> hubs = hubs_of(located);
  const auto add = [&](const std::string& name, const SetFamily& a, const SetFamily& b,
                       const std::function<bool(int64_t)>& eligible) {
    if (a.ids.empty() || b.ids.empty()) return;
    const Agreement found = agreement(input, a, b, hubs, eligible);
    table.rows.push_back({text_cell(name), number_cell(found.facts), number_cell(found.both_empty),
                          interval_cell(found.jaccard), interval_cell(found.no_hubs),
                          number_cell(ratio(found.same, found.facts))});
  };
  add("two halves of the prompts", read_family(input, "ig-half-0"), read_family(input, "ig-half-1"),
      [&](int64_t id) { return input.facts.fact(id).prompts / 2 >= kHalf; });
  for (const std::string& rule : other_rules(input)) {
    const std::set<int64_t> sample = attributed_facts(input, rule);
    add("default rule and " + rule.substr(3), located, read_family(input, rule),
        [&](int64_t id) { return sample.contains(id); });
  }
  if (table.rows.empty()) table.skipped = missing_reason(input, "stability");
  return table;
}

}  // namespace

ReportSection neurons_section(const ReportInput& input) {
  ReportSection section{"neurons",
                        "Knowledge neurons",
                        "Which neurons the selection keeps.",
                        "engram reproduce ... --only locate,stability",
                        {}};
  std::vector<SetFamily> families;
  for (const char* source : {"ig", "activation"}) {
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
  section.blocks.emplace_back(relation_neurons_table(input, sets));
  section.blocks.emplace_back(stability_table(input, located));
  return section;
}

}  // namespace engram
