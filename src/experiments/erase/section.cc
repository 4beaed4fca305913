// Erasing relations: what goes, what else goes, and whether it is gone.
#include "experiments/erase/section.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "engram/sources.h"
#include "report/published.h"

namespace engram::experiments::erase {
namespace {

constexpr std::array<const char*, 4> kErasedScopes = {"own", "held-out", "other-relations", "text"};
constexpr std::array<const char*, 4> kErasureScopes = {"own prompts", "held-out prompts",
                                                       "facts of other relations", "ordinary text"};
constexpr std::array<const char*, 4> kModes = {"zero", "unk", "mean", kToken};
constexpr std::array<const char*, 4> kModeTitles = {
    "zero", "[UNK] embedding", "mean of the layer's values", "random tokens, as long as [UNK]"};
constexpr std::array<const char*, 3> kRandom = {sources::kRandomLayer.data(),
                                                sources::kRandomActivation.data(),
                                                sources::kRandomGradient.data()};
constexpr std::array<const char*, 3> kRandomTitles = {
    "random: same layer", "random: + activation, value", "random: + gradient"};

constexpr const char* kPerplexityDefined =
    "Perplexity: exp of the mean -log P of the answer over prompts, for ordinary text "
    "pseudo-perplexity; geometric mean over relations. Factor: after over before. Intervals "
    "resample "
    "relations. ";

ReportTable modes_table(const ReportInput& input, const Erasures& erasures) {
  ReportTable table = make_table(
      "erase", "Erasing a relation by its 20 neurons",
      "All ways to erase beside both perplexities: the answers', inside and outside the relation, "
      "and ordinary text's.",
      std::string(kPerplexityDefined) +
          "The 20 neurons are the most frequent of the relation's facts (fewer where it has "
          "fewer).",
      {{"values set to", CellFormat::kText},
       {"prompts", CellFormat::kText},
       {"relations", CellFormat::kCount},
       {"perplexity before", CellFormat::kNumber},
       {"after", CellFormat::kNumber},
       {"factor", CellFormat::kNumber},
       {"accuracy before", CellFormat::kPercent},
       {"change of accuracy", CellFormat::kSignedPercent},
       {std::string(published::kAcl) + " (zero): factor", CellFormat::kText, true}});
  for (size_t m = 0; m < kModes.size(); ++m) {
    for (size_t s = 0; s < kErasedScopes.size(); ++s) {
      const Erased of =
          measure(input, erasures, {kRelation, kModes[m], kStandard, kErasedScopes[s]});
      if (of.relations == 0) continue;
      std::string paper;
      if (m == 0 && s == 0) paper = published::kEraseInside;
      if (m == 0 && s == 2) paper = published::kEraseOutside;
      table.rows.push_back(
          {text_cell(kModeTitles[m]), text_cell(kErasureScopes[s]), number_cell(of.relations),
           number_cell(of.before.value), number_cell(of.after.value), interval_cell(of.factor),
           number_cell(of.top.value), interval_cell(of.top_change), text_cell(paper)});
    }
  }
  table.notes.emplace_back(
      "The paper's released code erases with zeros, its 2021 version with the [UNK] embedding.");
  if (table.rows.empty()) table.skipped = "no relation has neurons";
  return table;
}

ReportTable controls_table(const ReportInput& input, const Erasures& erasures) {
  ReportTable table = make_table(
      "erase-controls", "Against random neurons",
      "How much of the damage would any 20 neurons of these layers do?",
      std::string(kPerplexityDefined) +
          "Values set to zero. Random sets of equal size match the relation's neurons one by one "
          "and hold no neuron located for any fact of the run; mean over the draws. Beyond: the "
          "factor of the relation's neurons over that of the control, and their change of log-odds "
          "minus the control's, in the same draws of the bootstrap.",
      {{"erased", CellFormat::kText},
       {"prompts", CellFormat::kText},
       {"relations", CellFormat::kCount},
       {"perplexity factor", CellFormat::kNumber},
       {"relation's neurons beyond this", CellFormat::kNumber},
       {"change of log-odds", CellFormat::kSigned},
       {"relation's neurons beyond this, log-odds", CellFormat::kSigned},
       {"change of accuracy", CellFormat::kSignedPercent}});
  for (size_t s = 0; s < kErasedScopes.size(); ++s) {
    const SelectedErasure own{kRelation, "zero", kStandard, kErasedScopes[s]};
    const Erased of = measure(input, erasures, own);
    if (of.relations == 0) continue;
    table.rows.push_back({text_cell("the relation's neurons"), text_cell(kErasureScopes[s]),
                          number_cell(of.relations), interval_cell(of.factor), number_cell(NAN),
                          interval_cell(of.odds_change), number_cell(NAN),
                          interval_cell(of.top_change)});
    for (size_t k = 0; k < kRandom.size(); ++k) {
      const SelectedErasure control{kRandom[k], "zero", kStandard, kErasedScopes[s]};
      const Erased random = measure(input, erasures, control);
      if (random.relations == 0) continue;
      const Erased both = measure(input, erasures, own, &control);
      table.rows.push_back({text_cell(kRandomTitles[k]), text_cell(kErasureScopes[s]),
                            number_cell(random.relations), interval_cell(random.factor),
                            interval_cell(both.beyond), interval_cell(random.odds_change),
                            interval_cell(both.odds_beyond), interval_cell(random.top_change)});
    }
  }
  if (table.rows.empty()) table.skipped = "no relation has neurons";
  return table;
}

/// The groups of facts that are shown apart, as scopes end.
constexpr std::array<std::pair<const char*, const char*>, 3> kEraseGroups = {
    std::pair{"all", ""}, {"known", " known"}, {"never", " never"}};

ReportTable audit_table(const ReportInput& input, const Erasures& erasures) {
  ReportTable table = make_table(
      "erase-audit", "Is it gone?",
      "Erased knowledge would be gone from paraphrases that nobody looked at, and not only become "
      "less probable: the paper has no such check.",
      "20 neurons. Means over relations; ranks are geometric means, 1 is the top. Known: the "
      "answer "
      "is the top one on at least half of the fact's own prompts; never: on none.",
      {{"values set to", CellFormat::kText},
       {"prompts", CellFormat::kText},
       {"of facts", CellFormat::kText},
       {"relations", CellFormat::kCount},
       {"change of log-odds", CellFormat::kSigned},
       {"accuracy before", CellFormat::kPercent},
       {"after", CellFormat::kPercent},
       {"change", CellFormat::kSignedPercent},
       {"P before", CellFormat::kNumber},
       {"after", CellFormat::kNumber},
       {"change", CellFormat::kSigned},
       {"rank before", CellFormat::kNumber},
       {"after", CellFormat::kNumber}});
  for (size_t m = 0; m < kModes.size(); ++m) {
    for (size_t at = 0; at < 2 * kEraseGroups.size(); ++at) {
      const size_t s = at / kEraseGroups.size();
      const auto& [group, ending] = kEraseGroups[at % kEraseGroups.size()];
      if (input.options.known_only && std::string_view(group) != "known") continue;
      const Erased of =
          measure(input, erasures,
                  {kRelation, kModes[m], kStandard, std::string(kErasedScopes[s]) + ending});
      if (of.relations == 0) continue;
      table.rows.push_back(
          {text_cell(kModeTitles[m]), text_cell(kErasureScopes[s]), text_cell(group),
           number_cell(of.relations), interval_cell(of.odds_change), interval_cell(of.top),
           interval_cell(of.top_after), interval_cell(of.top_change), interval_cell(of.p),
           interval_cell(of.p_after), interval_cell(of.p_change), interval_cell(of.rank),
           interval_cell(of.rank_after)});
    }
  }
  if (table.rows.empty()) table.skipped = "no relation has neurons";
  return table;
}

/// Sizes of a sweep: those of the relation that has the most of them.
std::vector<double> sizes_of(const Erasures& erasures, const std::string& source) {
  std::vector<double> sizes;
  const auto found = erasures.find({source, "zero"});
  if (found == erasures.end()) return sizes;
  for (const auto& [relation, by_size] : found->second) {
    std::vector<double> mine;
    for (const auto& [size, scopes] : by_size) mine.push_back(size);
    if (std::pair(mine.size(), mine.back()) >
        std::pair(sizes.size(), sizes.empty() ? 0.0 : sizes.back())) {
      sizes = mine;
    }
  }
  return sizes;
}

constexpr std::array<std::pair<const char*, const char*>, 4> kSwept = {
    std::pair{kRelation, "the relation's neurons"},
    {sources::kRandomLayer.data(), "random: same layers"},
    {kOthers, "other relations' neurons"},
    {kRandomOthers, "random: layers of the others'"}};

ReportTable sweep_table(const ReportInput& input, const Erasures& erasures) {
  ReportTable table =
      make_table("erase-sweep", "More and fewer neurons, and other relations' neurons",
                 "Growing unions of other relations' neurons at equal size show whether the "
                 "relation's own are "
                 "special.",
                 std::string(kPerplexityDefined) +
                     "Values set to zero. A relation with fewer neurons than "
                     "asked for gives all that it has.",
                 {{"erased", CellFormat::kText},
                  {"at most", CellFormat::kCount},
                  {"neurons, mean", CellFormat::kNumber},
                  {"relations", CellFormat::kCount}});
  for (size_t s = 0; s < 3; ++s) {
    table.columns.push_back({std::string(kErasureScopes[s]) + ": factor", CellFormat::kNumber});
    table.columns.push_back(
        {std::string(kErasureScopes[s]) + ": change of accuracy", CellFormat::kSignedPercent});
  }
  for (const auto& [source, title] : kSwept) {
    for (const double size : sizes_of(erasures, source)) {
      std::vector<ReportCell> row = {text_cell(title), number_cell(size)};
      for (size_t s = 0; s < 3; ++s) {
        const Erased of = measure(input, erasures, {source, "zero", size, kErasedScopes[s]});
        if (s == 0) {
          row.push_back(number_cell(of.neurons));
          row.push_back(number_cell(of.relations));
        }
        row.push_back(interval_cell(of.factor));
        row.push_back(interval_cell(of.top_change));
      }
      table.rows.push_back(std::move(row));
    }
  }
  if (!erasures.contains({kOthers, "zero"})) {
    table.notes.push_back("Unions of other relations' neurons are skipped: " +
                          missing_reason(input, "unions"));
  }
  if (table.rows.empty()) table.skipped = "no relation has neurons";
  return table;
}

Chart sweep_chart(const ReportInput& input, const Erasures& erasures, size_t scope) {
  Chart chart;
  chart.id = std::string("erase-") + kErasedScopes[scope] + "-chart";
  chart.title = std::string("Erasing n neurons: ") + kErasureScopes[scope];
  chart.meaning =
      "Perplexity of the answer, after over before; 1 is no change. Both axes are "
      "logarithmic.";
  chart.kind = ChartKind::kLines;
  chart.x = {"neurons erased", true, false};
  chart.y = {"perplexity factor", true, false};
  for (const auto& [source, title] : kSwept) {
    ChartSeries series{title, {}};
    for (const double size : sizes_of(erasures, source)) {
      const Erased of = measure(input, erasures, {source, "zero", size, kErasedScopes[scope]});
      if (of.relations > 0 && of.neurons > 0) series.points.push_back({of.neurons, 0, of.factor});
    }
    if (!series.points.empty()) chart.series.push_back(std::move(series));
  }
  return chart;
}

/// One relation's perplexities, by mode.
ReportTable relation_erasures_table(const ReportInput& input, const Erasures& erasures) {
  ReportTable table = make_table(
      "erase-relations", "Erasing by relation",
      "Each relation's 20 neurons, one relation at a time.",
      "Perplexity of the answer over prompts that located the neurons; outside: facts of other "
      "relations, the same after erasing as a factor of before.",
      {{"relation", CellFormat::kRelation},
       {"neurons", CellFormat::kCount},
       {"perplexity before", CellFormat::kNumber}});
  for (const char* title : kModeTitles) {
    table.columns.push_back({std::string("after: ") + title, CellFormat::kNumber});
    table.columns.push_back({std::string("outside, factor: ") + title, CellFormat::kNumber});
  }
  table.columns.push_back({"random: same layer, after", CellFormat::kNumber});
  table.columns.push_back(
      {std::string(published::kAcl) + " (zero): before", CellFormat::kNumber, true});
  table.columns.push_back(
      {std::string(published::kAcl) + " (zero): after", CellFormat::kNumber, true});
  for (const std::string& relation : input.facts.relations()) {
    const Means* first =
        find(erasures, {kRelation, kModes[0], kStandard, kErasedScopes[0]}, relation);
    if (first == nullptr) continue;
    std::vector<ReportCell> row = {text_cell(relation), number_cell(first->neurons),
                                   number_cell(std::exp(first->values()[kLogPpl]))};
    const auto after = [](const Means* means) -> double {
      if (means == nullptr) return NAN;
      const std::array<double, 9> values = means->values();
      return std::exp(values[kLogPpl] + values[kLogFactor]);
    };
    for (const char* mode : kModes) {
      const Means* inside =
          find(erasures, {kRelation, mode, kStandard, kErasedScopes[0]}, relation);
      const Means* outside =
          find(erasures, {kRelation, mode, kStandard, kErasedScopes[2]}, relation);
      row.push_back(number_cell(after(inside)));
      row.push_back(
          number_cell(outside == nullptr ? NAN : std::exp(outside->values()[kLogFactor])));
    }
    row.push_back(number_cell(
        after(find(erasures, {kRandom[0], "zero", kStandard, kErasedScopes[0]}, relation))));
    const bool p19 = relation == "P19";
    const bool p106 = relation == "P106";
    row.push_back(
        number_cell(p19 ? published::kEraseP19Before : (p106 ? published::kEraseP106Before : NAN)));
    row.push_back(
        number_cell(p19 ? published::kEraseP19After : (p106 ? published::kEraseP106After : NAN)));
    table.rows.push_back(std::move(row));
  }
  if (table.rows.empty()) table.skipped = "no relation has neurons";
  return table;
}

}  // namespace

std::vector<ReportSection> sections(const ReportInput& input) {
  ReportSection section{"erase",
                        "Erasing relations",
                        "The value vectors of a relation's most frequent neurons are replaced.",
                        "engram reproduce ... --only erase,unions",
                        {}};
  const Erasures erasures = read_erasures(input);
  if (erasures.empty()) {
    section.blocks.emplace_back(
        skipped_table(input, "erase", "erase", "Erasing a relation by its 20 neurons"));
    return {std::move(section)};
  }
  section.blocks.emplace_back(modes_table(input, erasures));
  add_values(input, erasures, section);
  section.blocks.emplace_back(controls_table(input, erasures));
  for (const size_t scope : {size_t{0}, size_t{2}}) {
    Chart chart = sweep_chart(input, erasures, scope);
    if (!chart.series.empty()) section.blocks.emplace_back(std::move(chart));
  }
  section.blocks.emplace_back(sweep_table(input, erasures));
  section.blocks.emplace_back(audit_table(input, erasures));
  add_lens(input, section);
  section.blocks.emplace_back(relation_erasures_table(input, erasures));
  return {std::move(section)};
}

}  // namespace engram::experiments::erase
