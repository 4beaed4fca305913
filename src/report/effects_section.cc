// Suppressing and amplifying the neurons of facts: the paper's figures, over all facts.
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "engram/evaluation/effects.h"
#include "evaluation/effects_sums.h"
#include "report/published.h"
#include "report/sections.h"

namespace engram {
namespace {

/// What is manipulated, in the order of the tables' columns.
enum Kind : size_t { kKnowledge, kBaseline, kLayer, kActivation, kGradient, kKinds };
constexpr std::array<const char*, kKinds> kKindNames = {"ig", "activation", "random-layer",
                                                        "random-activation", "random-gradient"};
constexpr std::array<const char*, kKinds> kKindTitles = {
    "knowledge neurons", "activation baseline", "random: same layer", "random: + activation, value",
    "random: + gradient"};

constexpr std::array<const char*, kScopes> kScopeTitles = {"own prompts",
                                                           "held-out prompts",
                                                           "other facts of the relation",
                                                           "… with the same object",
                                                           "… with another object",
                                                           "facts of other relations",
                                                           "… with the same object",
                                                           "… with another object",
                                                           "ordinary text"};

/// All rows of one operation: per fact and scope what was before, and the change by kind.
struct EffectRows {
  struct Entry {
    Sums before;                              ///< `change` is not used
    std::array<Sums::Change, kKinds> change;  ///< prompts 0: not tried
    std::array<int64_t, kKinds> neurons{};
  };
  std::vector<std::array<Entry, kScopes>> facts;  ///< by place of the fact
  std::vector<bool> there;                        ///< [facts] has a row
  /// [own, held-out][strength][relation][draw]
  std::array<std::array<std::vector<std::vector<double>>, 3>, 2> draws;
  int64_t draw_count = 0;
  bool any = false, text = false, baseline = false;
};

std::optional<size_t> scope_of(std::string_view name) {
  for (size_t s = 0; s < kScopes; ++s) {
    if (name == scope_name(static_cast<Scope>(s))) return s;
  }
  return {};
}

std::optional<size_t> kind_of(std::string_view name) {
  const auto found = std::ranges::find(kKindNames, name);
  if (found == kKindNames.end()) return {};
  return static_cast<size_t>(found - kKindNames.begin());
}

void read_effects(const ReportInput& input, const std::string& operation, EffectRows& rows) {
  const Table& table = run_table("effect");
  const auto column = [&](const char* name) { return table.column(name); };
  const size_t source = column("source"), fact = column("fact"), scope = column("scope"),
               neurons = column("neurons"), prompts = column("prompts"), p = column("p"),
               log_p = column("log_p"), top = column("top"), log_rank = column("log_rank"),
               known = column("known"), known_p = column("known_p"), change_p = column("change_p"),
               change_log_p = column("change_log_p"), change_top = column("change_top"),
               change_log_rank = column("change_log_rank"),
               change_known_p = column("change_known_p");
  for_rows(input.run, "effect", {{"operation", operation}}, [&](const Cells& row) {
    const std::optional<size_t> at = scope_of(row.text(scope));
    const std::optional<size_t> kind = kind_of(row.text(source));
    if (!at || !kind) return;
    const size_t place = input.facts.place(row.integer(fact));
    EffectRows::Entry& entry = rows.facts[place][*at];
    Sums& before = entry.before;
    before.prompts = row.real(prompts);
    before.p = row.real(p);
    before.log_p = row.real(log_p);
    before.top = row.real(top);
    before.log_rank = row.real(log_rank);
    before.known = row.real(known);
    before.known_p = row.real(known_p);
    entry.neurons[*kind] = row.integer(neurons);
    entry.change[*kind] = {row.real(change_p),       row.real(change_log_p),
                           row.real(change_top),     row.real(change_log_rank),
                           row.real(change_known_p), row.real(prompts)};
    rows.there[place] = true;
    rows.any = true;
    rows.text = rows.text || static_cast<Scope>(*at) == Scope::kText;
    rows.baseline = rows.baseline || *kind == kBaseline;
  });
}

void read_draws(const ReportInput& input, const std::string& operation, EffectRows& rows) {
  const Table& table = run_table("effect_draw");
  const size_t source = table.column("source"), relation = table.column("relation"),
               scope = table.column("scope"), draw = table.column("draw"),
               change_p = table.column("change_p");
  for (auto& of_scope : rows.draws) {
    for (auto& of_source : of_scope) of_source.resize(input.facts.relations().size());
  }
  for_rows(input.run, "effect_draw", {{"operation", operation}}, [&](const Cells& row) {
    const std::optional<size_t> at = scope_of(row.text(scope));
    const std::optional<size_t> kind = kind_of(row.text(source));
    if (!at || *at > 1 || !kind || *kind < kLayer) return;
    auto& sums = rows.draws[*at][*kind - kLayer][input.facts.relation(row.text(relation))];
    const auto d = static_cast<size_t>(row.integer(draw));
    sums.resize(std::max(sums.size(), d + 1), 0.0);
    sums[d] += row.real(change_p);
    rows.draw_count = std::max(rows.draw_count, static_cast<int64_t>(d) + 1);
  });
  // A relation without any draw has no effect either, but a place.
  for (auto& of_scope : rows.draws) {
    for (auto& of_source : of_scope) {
      for (auto& sums : of_source) sums.resize(static_cast<size_t>(rows.draw_count), 0.0);
    }
  }
}

/// The library's own estimates of up to four kinds; the first is compared with the others.
EffectReport estimate(const ReportInput& input, const EffectRows& rows,
                      const std::vector<Kind>& kinds) {
  EffectSums sums;
  std::vector<EffectFact> facts(input.facts.facts().size());
  sums.facts.resize(facts.size());
  for (const std::string& relation : input.facts.relations()) {
    sums.report.relations.push_back({relation, 0, 0, {}, {}});
  }
  for (size_t f = 0; f < facts.size(); ++f) {
    const FactIndex::Fact& fact = input.facts.facts()[f];
    facts[f].relation = input.facts.relations()[fact.relation];
    facts[f].subject = fact.subject;
    facts[f].object = fact.object;
    facts[f].evaluated = rows.there[f];
    if (!rows.there[f]) continue;
    for (size_t scope = 0; scope < kScopes; ++scope) {
      const EffectRows::Entry& entry = rows.facts[f][scope];
      Sums& to = sums.facts[f][scope];
      to = entry.before;
      for (size_t k = 0; k < kinds.size(); ++k) to.change[k] = entry.change[kinds[k]];
    }
  }
  EffectOptions options;
  options.bootstrap = input.options.bootstrap;
  options.draws = kinds.size() == kSources ? rows.draw_count : 0;
  sums.draws = rows.draws;
  return summarise_effects(facts, std::move(sums), options, rows.text);
}

/// Both estimates of an operation: located against random sets, and against the baseline.
struct Estimates {
  EffectReport random;
  EffectReport baseline;

  [[nodiscard]] const Interval& change(size_t row, Kind kind, Metric metric) const {
    const auto m = static_cast<size_t>(metric);
    if (kind == kBaseline) return baseline.rows[row].change[1][m];
    const size_t source = kind == kKnowledge ? 0 : 1 + (kind - kLayer);
    return random.rows[row].change[source][m];
  }
  [[nodiscard]] const Interval& difference(size_t row, Kind kind) const {
    constexpr auto m = static_cast<size_t>(Metric::kRatioOfMeans);
    if (kind == kBaseline) return baseline.rows[row].difference[0][m];
    return random.rows[row].difference[kind - kLayer][m];
  }
};

struct Words {
  std::string id;     ///< of tables: "suppress"
  std::string title;  ///< "Suppressing"
  std::string doing;  ///< "set to zero"
  double paper = NAN;
  double paper_baseline = NAN;
};

Words words_of(const std::string& operation) {
  if (operation == "zero") {
    return {"suppress", "Suppressing knowledge neurons", "set to zero", published::kSuppress,
            published::kSuppressBaseline};
  }
  return {"amplify", "Amplifying knowledge neurons", "doubled", published::kAmplify,
          published::kAmplifyBaseline};
}

std::vector<ReportColumn> kind_columns(std::vector<ReportColumn> columns, CellFormat format) {
  for (const char* title : kKindTitles) columns.push_back({title, format});
  return columns;
}

struct MetricWords {
  Metric metric;
  const char* id;
  const char* title;
  const char* meaning;
  const char* definition;
  CellFormat before, change;
};

constexpr std::array<MetricWords, 4> kMetricTables = {
    MetricWords{
        Metric::kMeanOfRatios, "known", "Mean of ratios over known facts",
        "The same for facts that the model knew, each counting the same: the ratio of means "
        "is ruled by the prompts with a large P.",
        "P after / P before - 1 over a fact's prompts that were known before, mean over "
        "facts with such a prompt. Known: P at least 0.1 and the answer is the top one.",
        CellFormat::kCount, CellFormat::kSignedPercent},
    MetricWords{
        Metric::kLogP, "log-p", "Change of log P",
        "Small probabilities count as much as large ones.",
        "Change of the natural logarithm of P, mean over a fact's prompts, then over facts.",
        CellFormat::kNumber, CellFormat::kSigned},
    MetricWords{Metric::kAccuracy, "accuracy", "Accuracy",
                "Is the answer lost, or only less probable?",
                "Change of the share of prompts whose answer is the top one, in percentage points, "
                "mean over a fact's prompts, then over facts.",
                CellFormat::kPercent, CellFormat::kSignedPercent},
    MetricWords{Metric::kLogRank, "rank", "Rank of the answer", "How far the answer falls.",
                "Geometric mean of the answer's rank before (1 is the top), and the mean change of "
                "the natural logarithm of the rank: +0.69 means twice the rank.",
                CellFormat::kNumber, CellFormat::kSigned}};

ReportTable change_table(const Estimates& found, const Words& words) {
  ReportTable table = make_table(
      words.id, "Change of P",
      "The paper's figure: how much P changes when a fact's neurons are " + words.doing + ".",
      "Ratio of means: per relation the mean of P after over the mean before, minus one; mean over "
      "the relations without weights, facts without neurons included. Random sets match the "
      "knowledge neurons one by one, more closely from left to right, and never hold a located "
      "neuron; a set matched by gradient as well may absorb the effect itself. Pairs of a fact and "
      "a prompt.",
      {{"prompts", CellFormat::kText},
       {"facts", CellFormat::kCount},
       {"pairs", CellFormat::kCount},
       {"P before", CellFormat::kNumber}});
  for (size_t k = 0; k < kKinds; ++k) {
    table.columns.push_back({kKindTitles[k], CellFormat::kSignedPercent});
    if (k > kBaseline) continue;
    table.columns.push_back(
        {std::string(published::kAcl) + ": " + kKindTitles[k], CellFormat::kSignedPercent, true});
  }
  for (size_t r = 0; r < found.random.rows.size(); ++r) {
    const EffectRow& row = found.random.rows[r];
    if (row.facts == 0) continue;
    std::vector<ReportCell> cells = {text_cell(kScopeTitles[static_cast<size_t>(row.scope)]),
                                     number_cell(static_cast<double>(row.facts)),
                                     number_cell(static_cast<double>(row.prompts)),
                                     number_cell(row.before.p)};
    const bool own = row.scope == Scope::kOwn;
    for (size_t k = 0; k < kKinds; ++k) {
      cells.push_back(interval_cell(found.change(r, static_cast<Kind>(k), Metric::kRatioOfMeans)));
      if (k > kBaseline) continue;
      const double paper = k == kKnowledge ? words.paper : words.paper_baseline;
      cells.push_back(number_cell(own ? paper : NAN));
    }
    table.rows.push_back(std::move(cells));
  }
  if (words.id == "suppress") {
    table.notes.emplace_back(
        "The 2021 version of the paper, as quoted in its discussion, had about -40 % for the "
        "fact's "
        "prompts and -0.4 % for other facts.");
  }
  return table;
}

ReportTable difference_table(const Estimates& found, const EffectRows& rows, const Words& words) {
  ReportTable table = make_table(
      words.id + "-difference", "Against other neurons",
      "If knowledge neurons do no more than matched random ones, they are nothing special.",
      "Ratio of means of the knowledge neurons minus that of the other sets, in percentage points "
      "and in the same draws of the bootstrap. Draws as strong: random draws, of " +
          std::to_string(rows.draw_count) +
          ", whose ratio of means moves at least as far in the same direction.",
      {{"prompts", CellFormat::kText}});
  for (size_t k = kBaseline; k < kKinds; ++k) {
    table.columns.push_back({std::string("minus ") + kKindTitles[k], CellFormat::kSignedPercent});
  }
  for (size_t k = kLayer; k < kKinds; ++k) {
    table.columns.push_back(
        {std::string("draws as strong, ") + kKindTitles[k], CellFormat::kCount});
  }
  for (size_t r = 0; r < found.random.rows.size(); ++r) {
    const EffectRow& row = found.random.rows[r];
    if (row.facts == 0) continue;
    std::vector<ReportCell> cells = {text_cell(kScopeTitles[static_cast<size_t>(row.scope)])};
    for (size_t k = kBaseline; k < kKinds; ++k) {
      cells.push_back(interval_cell(found.difference(r, static_cast<Kind>(k))));
    }
    for (const int64_t draws : row.draws_as_strong) {
      cells.push_back(number_cell(draws < 0 ? NAN : static_cast<double>(draws)));
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

double before_of(const EffectRow& row, Metric metric) {
  switch (metric) {
    case Metric::kMeanOfRatios:
      return static_cast<double>(row.known);
    case Metric::kLogP:
      return row.before.log_p;
    case Metric::kAccuracy:
      return row.before.accuracy;
    case Metric::kLogRank:
      return row.before.rank;
    case Metric::kRatioOfMeans:
      return row.before.p;
  }
  return NAN;
}

ReportTable metric_table(const Estimates& found, const Words& words, const MetricWords& metric) {
  ReportTable table = make_table(
      words.id + "-" + metric.id, metric.title, metric.meaning, metric.definition,
      kind_columns(
          {{"prompts", CellFormat::kText},
           {metric.metric == Metric::kMeanOfRatios ? "known facts" : "before", metric.before}},
          metric.change));
  for (size_t r = 0; r < found.random.rows.size(); ++r) {
    const EffectRow& row = found.random.rows[r];
    if (row.facts == 0) continue;
    std::vector<ReportCell> cells = {text_cell(kScopeTitles[static_cast<size_t>(row.scope)]),
                                     number_cell(before_of(row, metric.metric))};
    for (size_t k = 0; k < kKinds; ++k) {
      cells.push_back(interval_cell(found.change(r, static_cast<Kind>(k), metric.metric)));
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

/// One relation's ratios of means with intervals: [own, held-out][kind].
using RelationRatios = std::array<std::array<Interval, kKinds>, 2>;

RelationRatios relation_ratios(const ReportInput& input, const EffectRows& rows, size_t relation) {
  constexpr size_t kWidth = 1 + 2 * kKinds;  // P before, then change and 1 by kind
  FactSums sums(input.facts, 2 * kWidth);
  for (size_t f = 0; f < rows.facts.size(); ++f) {
    const FactIndex::Fact& fact = input.facts.facts()[f];
    if (fact.relation != relation || !rows.there[f]) continue;
    const std::span<double> of = sums.of(fact.id);
    for (size_t scope = 0; scope < 2; ++scope) {
      const EffectRows::Entry& entry = rows.facts[f][scope];
      of[scope * kWidth] += entry.before.p;
      for (size_t k = 0; k < kKinds; ++k) {
        of[scope * kWidth + 1 + 2 * k] += entry.change[k].p;
        of[scope * kWidth + 2 + 2 * k] += entry.change[k].prompts;
      }
    }
  }
  const std::vector<Interval> found = bootstrap(
      sums.sums_of(relation), 2 * kKinds,
      [](std::span<const std::vector<double>> drawn, std::span<double> out) {
        const std::vector<double> total = total_of(drawn);
        for (size_t i = 0; i < out.size(); ++i) {
          const double* of = total.data() + i / kKinds * kWidth;
          const size_t k = i % kKinds;
          out[i] = of[2 + 2 * k] > 0 ? ratio(of[1 + 2 * k], of[0]) : NAN;
        }
      },
      input.options.bootstrap);
  RelationRatios ratios;
  for (size_t i = 0; i < 2 * kKinds; ++i) ratios[i / kKinds][i % kKinds] = found[i];
  return ratios;
}

/// The table and the two charts by relation.
void add_relations(const ReportInput& input, const EffectRows& rows, const Words& words,
                   ReportSection& section) {
  ReportTable table = make_table(
      words.id + "-relations", "By relation", "The paper's figure, relation by relation.",
      "Ratio of means of the relation's facts; the interval resamples its groups of facts with the "
      "same object and has to be read with care where there are few of them.",
      {{"relation", CellFormat::kText},
       {"facts", CellFormat::kCount},
       {"without neurons", CellFormat::kCount},
       {"P before", CellFormat::kNumber}});
  for (const char* scope : {"own", "held-out"}) {
    for (const char* title : kKindTitles) {
      table.columns.push_back({std::string(scope) + ": " + title, CellFormat::kSignedPercent});
    }
  }
  std::array<Chart, 2> charts;
  for (size_t scope = 0; scope < 2; ++scope) {
    Chart& chart = charts[scope];
    chart.id = words.id + (scope == 0 ? "-own-chart" : "-held-out-chart");
    chart.title = scope == 0 ? "Change of P on own prompts" : "Change of P on held-out prompts";
    chart.meaning = "Change of P by relation with 95 % intervals.";
    if (scope == 0) {
      chart.meaning += " The dashed line is the paper's mean over its relations.";
      chart.marks.push_back({published::kAcl, words.paper});
    }
    chart.kind = ChartKind::kRows;
    chart.x = {"change of P (%)", false, true};
    chart.y = {"relation", false, false};
    for (const Kind kind : {kKnowledge, kBaseline, kActivation}) {
      chart.series.push_back({kKindTitles[kind], {}});
    }
  }
  for (size_t r = 0; r < input.facts.relations().size(); ++r) {
    double facts = 0;
    double empty = 0;
    Sums own;
    for (size_t f = 0; f < rows.facts.size(); ++f) {
      if (!rows.there[f] || input.facts.facts()[f].relation != r) continue;
      const EffectRows::Entry& entry = rows.facts[f][0];
      facts += 1;
      if (entry.neurons[kKnowledge] == 0) empty += 1;
      own.add(entry.before);
    }
    if (facts == 0) continue;
    const RelationRatios ratios = relation_ratios(input, rows, r);
    std::vector<ReportCell> cells = {text_cell(input.facts.relations()[r]), number_cell(facts),
                                     number_cell(empty), number_cell(ratio(own.p, own.prompts))};
    for (const auto& of_scope : ratios) {
      for (const Interval& value : of_scope) cells.push_back(interval_cell(value));
    }
    const auto place = static_cast<double>(table.rows.size());
    table.rows.push_back(std::move(cells));
    for (size_t scope = 0; scope < 2; ++scope) {
      charts[scope].categories.push_back(input.facts.relations()[r]);
      size_t s = 0;
      for (const Kind kind : {kKnowledge, kBaseline, kActivation}) {
        charts[scope].series[s++].points.push_back({place, 0, ratios[scope][kind]});
      }
    }
  }
  section.blocks.emplace_back(std::move(charts[0]));
  section.blocks.emplace_back(std::move(charts[1]));
  section.blocks.emplace_back(std::move(table));
}

}  // namespace

ReportSection effects_section(const ReportInput& input, const std::string& operation) {
  const Words words = words_of(operation);
  ReportSection section{words.id,
                        words.title,
                        "A fact's neurons are " + words.doing + " while the model reads a prompt.",
                        "engram reproduce ... --only effects",
                        {}};
  EffectRows rows;
  rows.facts.resize(input.facts.facts().size());
  rows.there.resize(input.facts.facts().size(), false);
  read_effects(input, operation, rows);
  if (!rows.any) {
    section.blocks.emplace_back(skipped_table(input, "effects", words.id, "Change of P"));
    return section;
  }
  read_draws(input, operation, rows);
  const Estimates found{estimate(input, rows, {kKnowledge, kLayer, kActivation, kGradient}),
                        estimate(input, rows, {kKnowledge, kBaseline})};
  section.blocks.emplace_back(change_table(found, words));
  section.blocks.emplace_back(difference_table(found, rows, words));
  for (const MetricWords& metric : kMetricTables) {
    section.blocks.emplace_back(metric_table(found, words, metric));
  }
  add_relations(input, rows, words, section);
  return section;
}

}  // namespace engram
