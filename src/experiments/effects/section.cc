// Suppressing and amplifying the neurons of facts, over all facts.
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "engram/statistics/effect_report.h"
#include "report/effect_rows.h"
#include "report/published.h"
#include "report/sections.h"
#include "statistics/effect_sums.h"

namespace engram::experiments::effects {
namespace {

constexpr std::array<const char*, kEffectKinds> kKindTitles = {
    "knowledge neurons",  "activation baseline",
    "random: same layer", "random: + activation, value",
    "random: + gradient", "next neurons",
    "another fact's",     "activation, same number"};

constexpr std::array<const char*, kScopes> kScopeTitles = {"own prompts",
                                                           "held-out prompts",
                                                           "other facts of the relation",
                                                           "… with the same object",
                                                           "… with another object",
                                                           "facts of other relations",
                                                           "… with the same object",
                                                           "… with another object",
                                                           "ordinary text"};
constexpr std::array<const char*, kFactGroups> kGroupTitles = {"all", "known", "never"};

/// Both estimates of an operation: located against the controls, and against the baseline.
struct Estimates {
  EffectReport controls;
  EffectReport baseline;
  bool known_only = false;

  [[nodiscard]] const Interval& change(size_t row, EffectKind kind, Metric metric) const {
    const auto m = static_cast<size_t>(metric);
    if (kind == kBaselineSet) return baseline.rows[row].change[1][m];
    return controls.rows[row].change[control_source(kind)][m];
  }
  [[nodiscard]] const Interval& difference(size_t row, EffectKind kind) const {
    constexpr auto m = static_cast<size_t>(Metric::kLogOdds);
    if (kind == kBaselineSet) return baseline.rows[row].difference[0][m];
    return controls.rows[row].difference[control_source(kind) - 1][m];
  }
  /// Rows as the tables have them: scope by scope, its groups together; places in `rows`.
  [[nodiscard]] std::vector<size_t> shown() const {
    std::vector<size_t> places;
    for (size_t scope = 0; scope < kScopes; ++scope) {
      for (size_t r = 0; r < controls.rows.size(); ++r) {
        const EffectRow& row = controls.rows[r];
        if (static_cast<size_t>(row.scope) != scope || row.facts == 0) continue;
        if (known_only && row.group != FactGroup::kKnown) continue;
        places.push_back(r);
      }
    }
    return places;
  }
};

/// The library's own estimates of two or more kinds; the first is compared with the others.
EffectReport estimate(const ReportInput& input, const EffectRows& rows, EffectSums sums,
                      bool controls) {
  std::vector<SummarisedFact> facts(input.facts.facts().size());
  for (const std::string& relation : input.facts.relations()) {
    sums.report.relations.push_back({relation, 0, 0, {}, {}});
  }
  for (size_t f = 0; f < facts.size(); ++f) {
    const FactIndex::Fact& fact = input.facts.facts()[f];
    facts[f].relation = input.facts.relations()[fact.relation];
    facts[f].object = fact.object;
    facts[f].evaluated = rows.there[f];
  }
  SummaryOptions options;
  options.bootstrap = input.options.bootstrap;
  options.known_only = input.options.known_only;
  options.draws = controls ? rows.draw_count : 0;
  options.with_text = rows.text;
  return summarise_effects(facts, std::move(sums), options);
}

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

constexpr const char* kGroupsDefined =
    " Known: facts whose answer is the top one on at least half of their own prompts; never: on "
    "none of them.";

struct MetricWords {
  Metric metric;
  const char* id;
  const char* title;
  const char* meaning;
  const char* definition;
  const char* before_title;
  CellFormat before, change;
};

constexpr std::array<MetricWords, 6> kMetricTables = {
    MetricWords{
        Metric::kLogOdds, "", "Change of log-odds",
        "How much less (or more) sure the model is of the answer. Log-odds move by the same "
        "amount wherever P stands: a change of P is large only where P is, and a ratio of P "
        "only where P is small.",
        "log(P / (1 - P)) after minus before, mean over a fact's prompts, then over facts, "
        "those without neurons included; -0.69 halves the odds. The controls are defined "
        "with the table of sets below.",
        "before", CellFormat::kNumber, CellFormat::kSigned},
    MetricWords{Metric::kRatioOfMeans, "-p", "Change of P", "The paper's figure.",
                "Ratio of means: per relation the mean of P after over the mean before, minus one; "
                "mean over the relations without weights, facts without neurons included.",
                "P before", CellFormat::kNumber, CellFormat::kSignedPercent},
    MetricWords{
        Metric::kMeanOfRatios, "-known", "Mean of ratios over known prompts",
        "The same for prompts that the model knew, each fact counting the same: the ratio of means "
        "is ruled by the prompts with a large P.",
        "P after / P before - 1 over a fact's prompts that were known before, mean over "
        "facts with such a prompt. Known: P at least 0.1 and the answer is the top one.",
        "facts with one", CellFormat::kCount, CellFormat::kSignedPercent},
    MetricWords{
        Metric::kLogP, "-log-p", "Change of log P",
        "Small probabilities count as much as large ones.",
        "Change of the natural logarithm of P, mean over a fact's prompts, then over facts.",
        "before", CellFormat::kNumber, CellFormat::kSigned},
    MetricWords{Metric::kAccuracy, "-accuracy", "Accuracy",
                "Is the answer lost, or only less probable?",
                "Change of the share of prompts whose answer is the top one, in percentage points, "
                "mean over a fact's prompts, then over facts.",
                "before", CellFormat::kPercent, CellFormat::kSignedPercent},
    MetricWords{Metric::kLogRank, "-rank", "Rank of the answer", "How far the answer falls.",
                "Geometric mean of the answer's rank before (1 is the top), and the mean change of "
                "the natural logarithm of the rank: +0.69 means twice the rank.",
                "before", CellFormat::kNumber, CellFormat::kSigned}};

double before_of(const EffectRow& row, Metric metric) {
  switch (metric) {
    case Metric::kLogOdds:
      return row.before.log_odds;
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

std::vector<ReportCell> row_labels(const EffectRow& row) {
  return {text_cell(kScopeTitles[static_cast<size_t>(row.scope)]),
          text_cell(kGroupTitles[static_cast<size_t>(row.group)])};
}

ReportTable metric_table(const Estimates& found, const Words& words, const MetricWords& metric) {
  ReportTable table = make_table(words.id + metric.id, metric.title, metric.meaning,
                                 std::string(metric.definition) + kGroupsDefined,
                                 {{"prompts", CellFormat::kText},
                                  {"which facts", CellFormat::kText},
                                  {"facts", CellFormat::kCount},
                                  {"pairs", CellFormat::kCount},
                                  {metric.before_title, metric.before}});
  const bool paper = metric.metric == Metric::kRatioOfMeans;
  for (size_t k = 0; k < kEffectKinds; ++k) {
    table.columns.push_back({kKindTitles[k], metric.change});
    if (!paper || k > kBaselineSet) continue;
    table.columns.push_back(
        {std::string(published::kAcl) + ": " + kKindTitles[k], CellFormat::kSignedPercent, true});
  }
  for (const size_t r : found.shown()) {
    const EffectRow& row = found.controls.rows[r];
    std::vector<ReportCell> cells = row_labels(row);
    cells.push_back(number_cell(static_cast<double>(row.facts)));
    cells.push_back(number_cell(static_cast<double>(row.prompts)));
    cells.push_back(number_cell(before_of(row, metric.metric)));
    const bool as_paper = row.scope == Scope::kOwn && row.group == FactGroup::kAll;
    for (size_t k = 0; k < kEffectKinds; ++k) {
      cells.push_back(interval_cell(found.change(r, static_cast<EffectKind>(k), metric.metric)));
      if (!paper || k > kBaselineSet) continue;
      const double figure = k == kKnowledgeSet ? words.paper : words.paper_baseline;
      cells.push_back(number_cell(as_paper ? figure : NAN));
    }
    table.rows.push_back(std::move(cells));
  }
  if (metric.metric == Metric::kLogOdds) {
    table.notes.emplace_back(
        "Intervals resample relations and objects; on other facts' prompts and on text the changed "
        "facts (those with one object together) and the facts or sentences that they are tried on. "
        "There is none where fewer than 10 objects have a fact.");
  }
  if (paper && words.id == "suppress") {
    table.notes.emplace_back(
        "The 2021 version of the paper, as quoted in its discussion, had about -40 % for the "
        "fact's prompts and -0.4 % for other facts.");
  }
  return table;
}

/// Knowledge neurons minus each other set: own and held-out prompts (`aside` false), or the rest.
ReportTable difference_table(const Estimates& found, const EffectRows& rows, const Words& words,
                             bool aside) {
  const std::string draws = std::to_string(rows.draw_count);
  ReportTable table = make_table(
      words.id + (aside ? "-side-difference" : "-difference"),
      aside ? "Side effects against other neurons" : "Against other neurons",
      aside ? "Do knowledge neurons touch other facts and text more than other sets do?"
            : "If knowledge neurons do no more than another set, that set carries as much. Beating "
              "matched neurons does not make them special: it shows that the score found neurons "
              "whose change matters more than that of neurons that look alike.",
      "Change of log-odds of the knowledge neurons minus that of the other set, over facts that "
      "have both, in the same draws of the bootstrap. p: two-sided, twice the share of draws at or "
      "beyond zero, with one added to both counts; Holm: adjusted for all comparisons of this "
      "table for the same facts.",
      {{"prompts", CellFormat::kText},
       {"which facts", CellFormat::kText},
       {"minus", CellFormat::kText},
       {"difference", CellFormat::kSigned},
       {"p", CellFormat::kNumber},
       {"p (Holm)", CellFormat::kNumber}});
  if (!aside) table.columns.push_back({"draws as strong", CellFormat::kText});
  std::array<std::vector<double>, kFactGroups> p;
  const std::vector<size_t> shown = found.shown();
  const auto use = [&](const auto& each) {
    for (const size_t r : shown) {
      const EffectRow& row = found.controls.rows[r];
      if (is_near(row.scope) == aside) continue;
      for (size_t k = kBaselineSet; k < kEffectKinds; ++k) {
        const auto kind = static_cast<EffectKind>(k);
        if (!std::isnan(found.difference(r, kind).value)) each(r, row, kind);
      }
    }
  };
  use([&](size_t r, const EffectRow& row, EffectKind kind) {
    p[static_cast<size_t>(row.group)].push_back(found.difference(r, kind).p);
  });
  std::array<size_t, kFactGroups> next{};
  for (auto& of_group : p) of_group = holm(of_group);
  use([&](size_t r, const EffectRow& row, EffectKind kind) {
    const Interval& difference = found.difference(r, kind);
    std::vector<ReportCell> cells = row_labels(row);
    const auto group = static_cast<size_t>(row.group);
    cells.push_back(text_cell(kKindTitles[kind]));
    cells.push_back(interval_cell(difference));
    cells.push_back(number_cell(difference.p));
    cells.push_back(number_cell(p[group][next[group]++]));
    if (!aside) {
      const bool random = kind >= kLayerSet && kind <= kGradientSet;
      const int64_t strong = random ? row.draws_as_strong[kind - kLayerSet] : -1;
      cells.push_back(text_cell(strong < 0 ? "" : std::to_string(strong) + " of " + draws));
    }
    table.rows.push_back(std::move(cells));
  });
  if (!aside && rows.draw_count > 0) {
    table.notes.push_back(
        "Draws as strong: random draws of the whole set of facts whose change of log-odds is at "
        "least as far in the same direction. With " +
        draws + " draws the smallest p that they can show is 1/" +
        std::to_string(rows.draw_count + 1) + ".");
  }
  if (table.rows.empty()) table.skipped = "there is nothing to compare with";
  return table;
}

ReportTable sets_table(const Estimates& found, const Words& words) {
  ReportTable table = make_table(
      words.id + "-sets", "The sets compared",
      "A control is as good as its neurons are alike: what is left of a difference in activation "
      "or gradient may explain a difference in effect.",
      "Random sets stand for the located neurons one by one, in their layers: any neuron; one of "
      "the nearest neighbours in signed activation and value norm; and in signed activation x "
      "gradient as well, on the fact's own prompts. Next neurons: those with the largest "
      "activation "
      "x gradient in the same layers. None of these holds a neuron that was located for any fact "
      "of the run, unless the run says otherwise. Another fact's: located for a fact of the "
      "relation with another object. Activation, same number: the most active neurons of all "
      "layers. Differences are (located - other) in standard deviations of the layer, mean over "
      "neurons, then over facts.",
      {{"set", CellFormat::kText},
       {"sets per fact", CellFormat::kNumber},
       {"neurons", CellFormat::kNumber},
       {"of them located for the fact", CellFormat::kNumber},
       {"without a counterpart", CellFormat::kCount},
       {"difference: activation", CellFormat::kSigned},
       {"value norm", CellFormat::kSigned},
       {"activation x gradient", CellFormat::kSigned}});
  for (size_t c = 0; c < kControls; ++c) {
    const SetMatch& match = found.controls.matching[c];
    if (!(match.sets > 0)) continue;
    table.rows.push_back({text_cell(kKindTitles[kLayerSet + c]), number_cell(match.sets),
                          number_cell(match.neurons), number_cell(match.overlap),
                          number_cell(match.missing), number_cell(match.difference[0]),
                          number_cell(match.difference[1]), number_cell(match.difference[2])});
  }
  if (table.rows.empty()) table.skipped = "the run has no control sets";
  return table;
}

/// One relation's changes of log-odds with intervals, [own, held-out][kind], and the knowledge
/// neurons' ratios of means.
struct RelationChanges {
  std::array<std::array<Interval, kEffectKinds>, kNearScopes> log_odds;
  std::array<Interval, kNearScopes> ratio;
};

RelationChanges relation_changes(const ReportInput& input, const EffectRows& rows,
                                 const std::vector<size_t>& facts, size_t relation) {
  constexpr size_t kWidth = 2 + 2 * kEffectKinds;  // P, its change; then change and facts by kind
  constexpr size_t kOut = kEffectKinds + 1;
  FactSums sums(input.facts, kNearScopes * kWidth);
  for (const size_t f : facts) {
    const std::span<double> of = sums.of(input.facts.facts()[f].id);
    for (size_t scope = 0; scope < kNearScopes; ++scope) {
      const double prompts = rows.controls.facts[f][scope].prompts;
      if (prompts == 0) continue;
      of[scope * kWidth] += rows.controls.facts[f][scope].p;
      of[scope * kWidth + 1] += rows.controls.facts[f][scope].change[kLocated].p;
      for (size_t k = 0; k < kEffectKinds; ++k) {
        const Sums::Change& change = rows.change(f, scope, static_cast<EffectKind>(k));
        if (change.prompts == 0) continue;
        of[scope * kWidth + 2 + 2 * k] += change.log_odds / prompts;
        of[scope * kWidth + 3 + 2 * k] += 1;
      }
    }
  }
  const std::vector<Interval> found = bootstrap(
      sums.sums_of(relation), kNearScopes * kOut,
      [](std::span<const std::vector<double>> drawn, std::span<double> out) {
        const std::vector<double> total = total_of(drawn);
        for (size_t i = 0; i < out.size(); ++i) {
          const double* of = total.data() + i / kOut * kWidth;
          const size_t k = i % kOut;
          out[i] = k == kEffectKinds ? ratio(of[1], of[0]) : ratio(of[2 + 2 * k], of[3 + 2 * k]);
        }
      },
      input.options.bootstrap);
  RelationChanges changes;
  for (size_t scope = 0; scope < kNearScopes; ++scope) {
    for (size_t k = 0; k < kEffectKinds; ++k) {
      changes.log_odds[scope][k] = found[scope * kOut + k];
    }
    changes.ratio[scope] = found[scope * kOut + kEffectKinds];
  }
  return changes;
}

/// The table and the two charts by relation.
void add_relations(const ReportInput& input, const EffectRows& rows, const Words& words,
                   ReportSection& section) {
  ReportTable table = make_table(
      words.id + "-relations", "By relation", "Change of log-odds, relation by relation.",
      "Mean over the relation's facts; the interval resamples its objects, and there is none with "
      "fewer than 10. P: ratio of means of the knowledge neurons.",
      {{"relation", CellFormat::kRelation},
       {"facts", CellFormat::kCount},
       {"known", CellFormat::kCount},
       {"never", CellFormat::kCount},
       {"without neurons", CellFormat::kCount},
       {"P before", CellFormat::kNumber}});
  constexpr std::array<const char*, kNearScopes> kTitles = {"own", "held-out"};
  for (const char* scope : kTitles) {
    for (const char* title : kKindTitles) {
      table.columns.push_back({std::string(scope) + ": " + title, CellFormat::kSigned});
    }
    table.columns.push_back(
        {std::string(scope) + ": P, knowledge neurons", CellFormat::kSignedPercent});
  }
  constexpr std::array<EffectKind, 4> kCharted = {kKnowledgeSet, kGradientSet, kNextSet,
                                                  kOtherFactSet};
  std::array<Chart, kNearScopes> charts;
  for (size_t scope = 0; scope < kNearScopes; ++scope) {
    Chart& chart = charts[scope];
    chart.id = words.id + (scope == 0 ? "-own-chart" : "-held-out-chart");
    chart.title =
        scope == 0 ? "Change of log-odds on own prompts" : "Change of log-odds on held-out prompts";
    chart.meaning = "Change of log-odds by relation with 95 % intervals.";
    chart.kind = ChartKind::kRows;
    chart.x = {"change of log-odds", false, false};
    chart.y = {"relation", false, false};
    chart.relations = true;
    for (const EffectKind kind : kCharted) chart.series.push_back({kKindTitles[kind], {}});
  }
  for (size_t r = 0; r < input.facts.relations().size(); ++r) {
    std::vector<size_t> facts;
    std::array<double, kFactGroups> groups{};
    double empty = 0;
    double p = 0;
    double prompts = 0;
    for (size_t f = 0; f < rows.there.size(); ++f) {
      if (!rows.there[f] || input.facts.facts()[f].relation != r) continue;
      const Sums& own = rows.controls.facts[f][0];
      const FactGroup group = group_of(own);
      if (input.options.known_only && group != FactGroup::kKnown) continue;
      facts.push_back(f);
      groups[static_cast<size_t>(group)] += 1;
      empty += rows.empty[f] ? 1 : 0;
      p += own.p;
      prompts += own.prompts;
    }
    if (facts.empty()) continue;
    const RelationChanges changes = relation_changes(input, rows, facts, r);
    std::vector<ReportCell> cells = {text_cell(input.facts.relations()[r]),
                                     number_cell(static_cast<double>(facts.size())),
                                     number_cell(groups[static_cast<size_t>(FactGroup::kKnown)]),
                                     number_cell(groups[static_cast<size_t>(FactGroup::kNever)]),
                                     number_cell(empty),
                                     number_cell(ratio(p, prompts))};
    const auto place = static_cast<double>(table.rows.size());
    for (size_t scope = 0; scope < kNearScopes; ++scope) {
      for (const Interval& value : changes.log_odds[scope]) cells.push_back(interval_cell(value));
      cells.push_back(interval_cell(changes.ratio[scope]));
      charts[scope].categories.push_back(input.facts.relations()[r]);
      size_t s = 0;
      for (const EffectKind kind : kCharted) {
        charts[scope].series[s++].points.push_back({place, 0, changes.log_odds[scope][kind]});
      }
    }
    table.rows.push_back(std::move(cells));
  }
  section.blocks.emplace_back(std::move(charts[0]));
  section.blocks.emplace_back(std::move(charts[1]));
  section.blocks.emplace_back(std::move(table));
}

/// Suppressing, or amplifying.
ReportSection section_of(const ReportInput& input, const std::string& operation) {
  const Words words = words_of(operation);
  ReportSection section{words.id,
                        words.title,
                        "A fact's neurons are " + words.doing + " while the model reads a prompt.",
                        "engram reproduce ... --only effects",
                        {}};
  EffectRows rows = read_effect_rows(input, operation);
  if (!rows.any) {
    section.blocks.emplace_back(skipped_table(input, "effects", words.id, "Change of log-odds"));
    return section;
  }
  const Estimates found{estimate(input, rows, rows.controls, true),
                        estimate(input, rows, rows.baseline, false), input.options.known_only};
  section.blocks.emplace_back(metric_table(found, words, kMetricTables[0]));
  section.blocks.emplace_back(difference_table(found, rows, words, false));
  section.blocks.emplace_back(sets_table(found, words));
  for (const MetricWords& metric : std::span(kMetricTables).subspan(1)) {
    section.blocks.emplace_back(metric_table(found, words, metric));
  }
  section.blocks.emplace_back(difference_table(found, rows, words, true));
  add_relations(input, rows, words, section);
  return section;
}

}  // namespace

std::vector<ReportSection> sections(const ReportInput& input) {
  std::vector<ReportSection> both;
  for (const char* operation : {"zero", "double"}) both.push_back(section_of(input, operation));
  return both;
}

}  // namespace engram::experiments::effects
