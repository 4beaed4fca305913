// Suppressing and amplifying the neurons of facts, over all facts.
#include "experiments/effects/section.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "engram/statistics/effect_report.h"
#include "report/published.h"
#include "report/sections.h"
#include "statistics/effect_sums.h"

namespace engram::experiments::effects {
namespace {

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

/// Both estimates of an intervention: located against the controls, and against the baseline.
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
  if (operation == "zero") add_accuracy(input, rows, section);
  section.blocks.emplace_back(difference_table(found, rows, words, true));
  add_relations(input, rows, words.id, section);
  return section;
}

}  // namespace

std::vector<ReportSection> sections(const ReportInput& input) {
  if (!input.option("audit").empty()) return {};  // which has sections of its own
  std::vector<ReportSection> both;
  for (const char* operation : {"zero", "double"}) both.push_back(section_of(input, operation));
  return both;
}

}  // namespace engram::experiments::effects
