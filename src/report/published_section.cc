// A run with --as-published beside the paper: its figures with its own averages.
#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "engram/sources.h"
#include "experiments/erase/rows.h"
#include "experiments/texts/rows.h"
#include "report/edits.h"
#include "report/effect_rows.h"
#include "report/neuron_sets.h"
#include "report/published.h"
#include "report/sections.h"

namespace engram {
namespace {

using experiments::erase::EraseRow;
using experiments::texts::TextActivationRow;

constexpr double kErasedNeurons = 20;

/// How a figure is written: as it is, in percent, or in percent with its sign.
enum class Form { kNumber, kRate, kChange };

/// A figure of this run and the paper's.
struct Figure {
  std::string name;
  Interval ours;
  double paper = NAN;
  Form form = Form::kNumber;
};

std::string figure_text(double value, Form form) {
  if (std::isnan(value)) return "";
  char text[32];
  switch (form) {
    case Form::kNumber:
      std::snprintf(text, sizeof text, "%.3g", value);
      break;
    case Form::kRate:
      std::snprintf(text, sizeof text, "%.2f %%", 100 * value);
      break;
    case Form::kChange:
      std::snprintf(text, sizeof text, "%+.2f %%", 100 * value);
      break;
  }
  return text;
}

std::string figure_text(const Interval& value, Form form) {
  std::string text = figure_text(value.value, form);
  if (text.empty() || std::isnan(value.low)) return text;
  return text + " [" + figure_text(value.low, form) + ", " + figure_text(value.high, form) + "]";
}

/// Mean over facts, or over relations of means, by columns [count, sum].
Interval mean_over(const ReportInput& input, const FactSums& sums, bool of_relations) {
  if (sums.empty()) return {NAN, NAN, NAN};
  return bootstrap(
             sums.sums(), 1,
             [&](std::span<const std::vector<double>> drawn, std::span<double> out) {
               if (!of_relations) {
                 const std::vector<double> total = total_of(drawn);
                 out[0] = ratio(total[1], total[0]);
                 return;
               }
               double sum = 0;
               double relations = 0;
               for (const std::vector<double>& relation : drawn) {
                 if (!(relation[0] > 0)) continue;
                 sum += relation[1] / relation[0];
                 relations += 1;
               }
               out[0] = ratio(sum, relations);
             },
             input.options.bootstrap)
      .front();
}

void add_neurons(const ReportInput& input, std::vector<Figure>& figures) {
  struct Paper {
    std::string_view source;
    const char* title;
    double neurons, within, across;
  };
  for (const Paper& paper :
       {Paper{sources::kIg, "knowledge neurons", published::kNeurons, published::kWithin,
              published::kAcross},
        Paper{sources::kActivation, "activation baseline", published::kBaselineNeurons,
              published::kBaselineWithin, published::kBaselineAcross}}) {
    const SetFamily family = read_family(input, paper.source);
    if (family.ids.empty()) continue;
    FactSums sums(input.facts, 2);
    for (size_t f = 0; f < family.ids.size(); ++f) {
      const std::span<double> of = sums.of(family.ids[f]);
      of[0] += 1;
      of[1] += static_cast<double>(family.facts[f].neurons.size());
    }
    const std::string title = std::string(", ") + paper.title;
    figures.push_back({"neurons per fact" + title, mean_over(input, sums, false), paper.neurons});
    const PooledIntersections shared = pooled_intersections(input, family);
    figures.push_back({"intersection within relations" + title, shared.within, paper.within});
    figures.push_back({"intersection across relations" + title, shared.across, paper.across});
  }
}

void add_effects(const ReportInput& input, std::vector<Figure>& figures) {
  for (const bool suppress : {true, false}) {
    const EffectRows rows = read_effect_rows(input, suppress ? "zero" : "double");
    if (!rows.any) continue;
    for (const size_t source : {size_t{0}, size_t{1}}) {
      FactSums sums(input.facts, 2);
      for (size_t f = 0; f < rows.baseline.facts.size(); ++f) {
        const Sums& own = rows.baseline.facts[f][static_cast<size_t>(Scope::kOwn)];
        if (own.prompts == 0) continue;
        const std::span<double> of = sums.of(input.facts.facts()[f].id);
        of[0] += own.p;
        of[1] += own.change[source].p;
      }
      const double paper =
          source == 0 ? (suppress ? published::kSuppress : published::kAmplify)
                      : (suppress ? published::kSuppressBaseline : published::kAmplifyBaseline);
      figures.push_back({std::string(suppress ? "suppressed" : "amplified") + ": change of P, " +
                             (source == 0 ? "knowledge neurons" : "activation baseline"),
                         mean_over(input, sums, true), paper, Form::kChange});
    }
  }
}

void add_updates(const ReportInput& input, std::vector<Figure>& figures) {
  const Edits edits = read_edits(input);
  struct Paper {
    const char* variant;
    const char* title;
    double change, success, within, across;
  };
  for (const Paper& paper :
       {Paper{variant::kKnowledge, "knowledge neurons", published::kChange, published::kSuccess,
              published::kRiseWithin, published::kRiseAcross},
        Paper{variant::kRandom, "random neurons", published::kRandomChange,
              published::kRandomSuccess, NAN, NAN}}) {
    const auto found = edits.find(paper.variant);
    if (found == edits.end()) continue;
    const std::string title = std::string(", ") + paper.title;
    const Rates one = rates(input, found->second, kOneOwn, right_before);
    if (one.edits == 0) continue;
    figures.push_back({"update: change rate" + title, one.change, paper.change, Form::kRate});
    figures.push_back({"update: success rate" + title, one.success, paper.success, Form::kRate});
    const auto rise = [&](const char* name, EditScope scope, double of_paper) {
      figures.push_back({std::string("update: rise of perplexity, ") + name + title,
                         rates(input, found->second, scope, right_before).rise, of_paper});
    };
    rise("same relation", kSameRelation, paper.within);
    rise("other relations", kOtherRelations, paper.across);
  }
}

/// Perplexity of a relation's own and of other relations' prompts, before and after.
struct OfErasure {
  double neurons = 0;
  double before = NAN, after = NAN, outside = NAN;
};

void add_erasures(const ReportInput& input, std::vector<Figure>& figures) {
  std::map<std::string, OfErasure> by_relation;
  const Where where = {is(&EraseRow::source, experiments::erase::kRelation),
                       is(&EraseRow::mode, "zero")};
  read_rows<EraseRow>(input.run, where, [&](const EraseRow& row) {
    OfErasure& one = by_relation[row.relation];
    const auto count = static_cast<double>(row.neurons);
    if (count == 0 || count > kErasedNeurons || count < one.neurons) return;
    one.neurons = count;
    const auto n = static_cast<double>(row.prompts);
    if (row.scope == "own") {
      one.before = std::exp(-row.log_p_before / n);
      one.after = std::exp(-row.log_p_after / n);
    } else if (row.scope == "other-relations") {
      one.outside = std::exp((row.log_p_before - row.log_p_after) / n) - 1;
    }
  });
  struct Paper {
    const char* relation;
    double before, after;
  };
  for (const Paper& paper :
       {Paper{"P19", published::kEraseP19Before, published::kEraseP19After},
        Paper{"P106", published::kEraseP106Before, published::kEraseP106After}}) {
    const auto found = by_relation.find(paper.relation);
    if (found == by_relation.end()) continue;
    const std::string name = std::string("erase ") + paper.relation + ": perplexity ";
    const auto alone = [](double value) { return Interval{value, NAN, NAN}; };
    figures.push_back({name + "before", alone(found->second.before), paper.before});
    figures.push_back({name + "after", alone(found->second.after), paper.after});
    figures.push_back(
        {name + "of other relations", alone(found->second.outside), NAN, Form::kChange});
  }
}

void add_texts(const ReportInput& input, std::vector<Figure>& figures) {
  // The paper averages over the neurons of a relation's facts, then over relations.
  const SetFamily family = read_family(input, sources::kIg);
  std::map<int64_t, double> sizes;
  for (size_t f = 0; f < family.ids.size(); ++f) {
    sizes[family.ids[f]] = static_cast<double>(family.facts[f].neurons.size());
  }
  struct Paper {
    const char* kind;
    const char* title;
    double mean;
  };
  for (const Paper& paper : {Paper{"both", "head and tail", published::kTextBoth},
                             Paper{"head", "head only", published::kTextHead},
                             Paper{"random", "random", published::kTextRandom}}) {
    FactSums sums(input.facts, 2);
    const Where where = {is(&TextActivationRow::source, sources::kIg),
                         is(&TextActivationRow::mask, "released")};
    read_rows<TextActivationRow>(input.run, where, [&](const TextActivationRow& row) {
      if (row.kind != paper.kind || row.texts <= 0) return;
      const std::span<double> of = sums.of(row.fact);
      const double neurons = sizes[row.fact];
      of[0] += neurons;
      of[1] += neurons * row.sum / static_cast<double>(row.texts);
    });
    if (sums.empty()) continue;
    figures.push_back({std::string("mean activation on texts: ") + paper.title,
                       mean_over(input, sums, true), paper.mean});
  }
}

}  // namespace

ReportSection published_section(const ReportInput& input) {
  ReportSection section{"published",
                        "Beside the paper",
                        "Every figure with the averages of the paper's released code.",
                        "engram reproduce ... --as-published",
                        {}};
  std::vector<Figure> figures;
  add_neurons(input, figures);
  add_effects(input, figures);
  add_updates(input, figures);
  add_erasures(input, figures);
  add_texts(input, figures);
  ReportTable table = make_table(
      "published", "This run beside the paper",
      "Prompts that located the neurons test them too; there are no other controls than the "
      "paper's own.",
      "Intersections: mean over the pairs of all relations' facts, pooled; across, over a fact and "
      "one of another relation that is drawn uniformly. Change of P: sum of P after over before "
      "over a relation's prompts, mean over relations without weights. Updates: one random own "
      "prompt, of those answered rightly. Erasing: exp of the mean -log P of the answer; of other "
      "relations its rise. Texts: over the neurons of a relation's facts, then over relations. "
      "Intervals resample relations and objects.",
      {{"figure", CellFormat::kText},
       {"this run", CellFormat::kText},
       {published::kAcl, CellFormat::kText, true},
       {"the paper's lies in the interval", CellFormat::kText}});
  for (const Figure& figure : figures) {
    const bool tested = !std::isnan(figure.paper) && !std::isnan(figure.ours.low);
    const bool inside = figure.paper >= figure.ours.low && figure.paper <= figure.ours.high;
    table.rows.push_back({text_cell(figure.name), text_cell(figure_text(figure.ours, figure.form)),
                          text_cell(figure_text(figure.paper, figure.form)),
                          text_cell(!tested ? "" : (inside ? "yes" : "no"))});
  }
  if (table.rows.empty()) table.skipped = "nothing of it was computed yet";
  section.blocks.emplace_back(std::move(table));
  return section;
}

}  // namespace engram
