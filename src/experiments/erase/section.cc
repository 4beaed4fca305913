// Erasing relations: what goes, what else goes, and whether it is gone.
#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "engram/sources.h"
#include "experiments/erase/rows.h"
#include "report/published.h"
#include "report/sections.h"

namespace engram::experiments::erase {
namespace {

constexpr double kStandard = 20;  // neurons of the paper's erasure
constexpr std::array<const char*, 4> kScopes = {"own", "held-out", "other-relations", "text"};
constexpr std::array<const char*, 4> kErasureScopes = {"own prompts", "held-out prompts",
                                                       "facts of other relations", "ordinary text"};
constexpr std::array<const char*, 3> kModes = {"zero", "unk", "mean"};
constexpr std::array<const char*, 3> kModeTitles = {"zero", "[UNK] embedding",
                                                    "mean of the layer's values"};
constexpr std::array<const char*, 3> kRandom = {sources::kRandomLayer.data(),
                                                sources::kRandomActivation.data(),
                                                sources::kRandomGradient.data()};
constexpr std::array<const char*, 3> kRandomTitles = {
    "random: same layer", "random: + activation, value", "random: + gradient"};

/// Means over the prompts of one relation and scope; of several draws their mean.
struct Means {
  double draws = 0;
  double neurons = 0;
  double log_ppl = 0, log_factor = 0;  ///< before; after minus before
  double p = 0, p_after = 0;
  double top = 0, top_after = 0;
  double log_rank = 0, log_rank_after = 0;
  double log_odds = 0;  ///< after minus before

  [[nodiscard]] std::array<double, 9> values() const {
    std::array<double, 9> all = {log_ppl,  log_factor,     p,       p_after, top, top_after,
                                 log_rank, log_rank_after, log_odds};
    for (double& value : all) value /= draws;
    return all;
  }
};
enum : size_t {
  kLogPpl,
  kLogFactor,
  kP,
  kPAfter,
  kTop,
  kTopAfter,
  kLogRank,
  kLogRankAfter,
  kLogOdds
};

/// [source, mode] -> relation -> number of neurons -> scope.
using BySize = std::map<double, std::map<std::string, Means>>;
using ByRelation = std::map<std::string, BySize>;
using Erasures = std::map<std::pair<std::string, std::string>, ByRelation>;

Erasures read_erasures(const ReportInput& input) {
  Erasures erasures;
  read_rows<EraseRow>(input.run, {}, [&](const EraseRow& row) {
    const auto n = static_cast<double>(row.prompts);
    if (!(n > 0)) return;
    const auto neurons = static_cast<double>(row.neurons);
    Means& means = erasures[{row.source, row.mode}][row.relation][neurons][row.scope];
    means.draws += 1;
    means.neurons = neurons;
    means.log_ppl -= row.log_p_before / n;
    means.log_factor += (row.log_p_before - row.log_p_after) / n;
    means.p += row.p_before / n;
    means.p_after += row.p_after / n;
    means.top += static_cast<double>(row.top_before) / n;
    means.top_after += static_cast<double>(row.top_after) / n;
    means.log_rank += row.log_rank_before / n;
    means.log_rank_after += row.log_rank_after / n;
    means.log_odds += (row.log_odds_after - row.log_odds_before) / n;
  });
  return erasures;
}

/// What is erased and where it is looked at.
struct SelectedErasure {
  std::string source, mode;
  double neurons = kStandard;  ///< at most; a relation with fewer gives all that it has
  std::string scope;
};

/// The relation's largest set of at most so many neurons, nullptr: none in this scope.
const Means* find(const Erasures& erasures, const SelectedErasure& what,
                  const std::string& relation) {
  const auto by_relation = erasures.find({what.source, what.mode});
  if (by_relation == erasures.end()) return nullptr;
  const auto sizes = by_relation->second.find(relation);
  if (sizes == by_relation->second.end()) return nullptr;
  const Means* found = nullptr;
  for (const auto& [size, scopes] : sizes->second) {
    if (size > what.neurons) break;
    const auto scope = scopes.find(what.scope);
    if (scope != scopes.end()) found = &scope->second;
  }
  return found;
}

/// Means over relations without weights, with intervals over relations.
struct Erased {
  double relations = 0;
  double neurons = 0;              ///< mean
  Interval before, after, factor;  ///< perplexity; geometric means
  Interval p, p_after, p_change;
  Interval top, top_after, top_change;
  Interval rank, rank_after;  ///< geometric means
  Interval beyond;            ///< factor over that of the control
  Interval odds_change;       ///< of the answer's log-odds
  Interval odds_beyond;       ///< minus that of the control
};

/// `control` may be nullptr; only relations that have both are compared.
Erased measure(const ReportInput& input, const Erasures& erasures, const SelectedErasure& what,
               const SelectedErasure* control = nullptr) {
  Erased erased;
  constexpr size_t kWidth = 9;
  // Then relations, and of those with a control: how many, and both factors and log-odds.
  enum : size_t { kCount = kWidth, kPairs, kPaired, kControl, kPairedOdds, kControlOdds, kAll };
  FactSums sums(input.facts, kAll);
  for (const std::string& relation : input.facts.relations()) {
    const Means* means = find(erasures, what, relation);
    if (means == nullptr) continue;
    erased.relations += 1;
    erased.neurons += means->neurons;
    const std::span<double> of = sums.of_relation(relation);
    of[kCount] += 1;
    const std::array<double, kWidth> values = means->values();
    for (size_t i = 0; i < kWidth; ++i) of[i] += values[i];
    const Means* other = control != nullptr ? find(erasures, *control, relation) : nullptr;
    if (other == nullptr) continue;
    of[kPairs] += 1;
    of[kPaired] += values[kLogFactor];
    of[kControl] += other->values()[kLogFactor];
    of[kPairedOdds] += values[kLogOdds];
    of[kControlOdds] += other->values()[kLogOdds];
  }
  erased.neurons = ratio(erased.neurons, erased.relations);
  const std::vector<Interval> found = bootstrap(
      sums.sums(), 14,
      [](std::span<const std::vector<double>> drawn, std::span<double> out) {
        const std::vector<double> total = total_of(drawn);
        std::vector<double> mean = total;
        for (double& value : mean) value /= total[kCount];
        const std::array<double, 14> all = {
            std::exp(mean[kLogPpl]),
            std::exp(mean[kLogPpl] + mean[kLogFactor]),
            std::exp(mean[kLogFactor]),
            mean[kP],
            mean[kPAfter],
            mean[kPAfter] - mean[kP],
            mean[kTop],
            mean[kTopAfter],
            mean[kTopAfter] - mean[kTop],
            std::exp(mean[kLogRank]),
            std::exp(mean[kLogRankAfter]),
            std::exp(ratio(total[kPaired] - total[kControl], total[kPairs])),
            mean[kLogOdds],
            ratio(total[kPairedOdds] - total[kControlOdds], total[kPairs])};
        std::ranges::copy(all, out.begin());
      },
      input.options.bootstrap);
  erased.before = found[0];
  erased.after = found[1];
  erased.factor = found[2];
  erased.p = found[3];
  erased.p_after = found[4];
  erased.p_change = found[5];
  erased.top = found[6];
  erased.top_after = found[7];
  erased.top_change = found[8];
  erased.rank = found[9];
  erased.rank_after = found[10];
  erased.beyond = found[11];
  erased.odds_change = found[12];
  erased.odds_beyond = found[13];
  return erased;
}

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
    for (size_t s = 0; s < kScopes.size(); ++s) {
      const Erased of = measure(input, erasures, {"relation", kModes[m], kStandard, kScopes[s]});
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
  for (size_t s = 0; s < kScopes.size(); ++s) {
    const SelectedErasure own{"relation", "zero", kStandard, kScopes[s]};
    const Erased of = measure(input, erasures, own);
    if (of.relations == 0) continue;
    table.rows.push_back({text_cell("the relation's neurons"), text_cell(kErasureScopes[s]),
                          number_cell(of.relations), interval_cell(of.factor), number_cell(NAN),
                          interval_cell(of.odds_change), number_cell(NAN),
                          interval_cell(of.top_change)});
    for (size_t k = 0; k < kRandom.size(); ++k) {
      const SelectedErasure control{kRandom[k], "zero", kStandard, kScopes[s]};
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
      const Erased of = measure(
          input, erasures, {"relation", kModes[m], kStandard, std::string(kScopes[s]) + ending});
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
    std::pair{"relation", "the relation's neurons"},
    {sources::kRandomLayer.data(), "random: same layers"},
    {"others", "other relations' neurons"},
    {"random-others", "random: layers of the others'"}};

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
        const Erased of = measure(input, erasures, {source, "zero", size, kScopes[s]});
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
  if (!erasures.contains({"others", "zero"})) {
    table.notes.push_back("Unions of other relations' neurons are skipped: " +
                          missing_reason(input, "unions"));
  }
  if (table.rows.empty()) table.skipped = "no relation has neurons";
  return table;
}

Chart sweep_chart(const ReportInput& input, const Erasures& erasures, size_t scope) {
  Chart chart;
  chart.id = std::string("erase-") + kScopes[scope] + "-chart";
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
      const Erased of = measure(input, erasures, {source, "zero", size, kScopes[scope]});
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
    const Means* first = find(erasures, {"relation", kModes[0], kStandard, kScopes[0]}, relation);
    if (first == nullptr) continue;
    std::vector<ReportCell> row = {text_cell(relation), number_cell(first->neurons),
                                   number_cell(std::exp(first->values()[kLogPpl]))};
    const auto after = [](const Means* means) -> double {
      if (means == nullptr) return NAN;
      const std::array<double, 9> values = means->values();
      return std::exp(values[kLogPpl] + values[kLogFactor]);
    };
    for (const char* mode : kModes) {
      const Means* inside = find(erasures, {"relation", mode, kStandard, kScopes[0]}, relation);
      const Means* outside = find(erasures, {"relation", mode, kStandard, kScopes[2]}, relation);
      row.push_back(number_cell(after(inside)));
      row.push_back(
          number_cell(outside == nullptr ? NAN : std::exp(outside->values()[kLogFactor])));
    }
    row.push_back(
        number_cell(after(find(erasures, {kRandom[0], "zero", kStandard, kScopes[0]}, relation))));
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

// --- the lens ------------------------------------------------------------------------------------

/// [mode][held_out][layer]: sums by relation of the means over prompts.
struct Lens {
  struct Place {
    double rank = 0, p = 0, top = 0;
  };
  std::map<std::string, std::array<std::vector<std::map<std::string, Place>>, 2>> modes;
};

Lens read_lens(const ReportInput& input) {
  Lens lens;
  read_rows<LensRow>(input.run, {}, [&](const LensRow& row) {
    const auto n = static_cast<double>(row.prompts);
    if (!(n > 0)) return;
    auto& layers = lens.modes[row.mode][row.held_out ? 1 : 0];
    const auto l = static_cast<size_t>(row.layer);
    if (layers.size() <= l) layers.resize(l + 1);
    layers[l][row.relation] = {row.log_rank / n, row.log_p / n, static_cast<double>(row.top) / n};
  });
  return lens;
}

/// Geometric mean of the rank, and accuracy, over relations.
std::array<Interval, 2> lens_means(const ReportInput& input,
                                   const std::map<std::string, Lens::Place>& relations) {
  FactSums sums(input.facts, 3);
  for (const auto& [relation, place] : relations) {
    const std::span<double> of = sums.of_relation(relation);
    of[0] += 1;
    of[1] += place.rank;
    of[2] += place.top;
  }
  const std::vector<Interval> found = bootstrap(
      sums.sums(), 2,
      [](std::span<const std::vector<double>> drawn, std::span<double> out) {
        const std::vector<double> total = total_of(drawn);
        out[0] = std::exp(total[1] / total[0]);
        out[1] = total[2] / total[0];
      },
      input.options.bootstrap);
  return {found[0], found[1]};
}

void add_lens(const ReportInput& input, ReportSection& section) {
  const Lens lens = read_lens(input);
  ReportTable table = make_table(
      "erase-lens", "The answer after every layer",
      "If the answer comes up in the middle layers and only the last ones push it down, the "
      "knowledge is still there.",
      "Logit lens: the hidden state at the mask after each layer read through the LM head. Layer 0 "
      "is the embedding. Geometric mean of the answer's rank, and accuracy; means over relations.",
      {{"prompts", CellFormat::kText}, {"layers passed", CellFormat::kCount}});
  if (lens.modes.empty()) {
    table.skipped = missing_reason(input, "erase");
    section.blocks.emplace_back(std::move(table));
    return;
  }
  Chart chart;
  chart.id = "erase-lens-chart";
  chart.title = "Rank of the answer after every layer, held-out prompts";
  chart.meaning = "Lower is nearer to the top. Before erasing, and after it by mode.";
  chart.kind = ChartKind::kLines;
  chart.x = {"layers passed", false, false};
  chart.y = {"rank of the answer (geometric mean)", true, false};
  std::vector<std::pair<std::string, std::string>> modes;
  for (const auto& [mode, title] :
       {std::pair{"none", "before erasing"}, std::pair{"zero", "zero"},
        std::pair{"unk", "[UNK] embedding"}, std::pair{"mean", "mean"}}) {
    if (lens.modes.contains(mode)) modes.emplace_back(mode, title);
  }
  size_t layers = 0;
  for (const auto& [mode, title] : modes) {
    table.columns.push_back({title + ": rank", CellFormat::kNumber});
    table.columns.push_back({title + ": accuracy", CellFormat::kPercent});
    for (const auto& of : lens.modes.at(mode)) layers = std::max(layers, of.size());
    chart.series.push_back({title, {}});
  }
  for (const size_t held_out : {size_t{0}, size_t{1}}) {
    for (size_t l = 0; l < layers; ++l) {
      std::vector<ReportCell> row = {text_cell(held_out == 1 ? "held-out" : "own"),
                                     number_cell(static_cast<double>(l))};
      bool any = false;
      for (size_t m = 0; m < modes.size(); ++m) {
        const auto& of = lens.modes.at(modes[m].first)[held_out];
        std::array<Interval, 2> means = {ReportCell{}.number, ReportCell{}.number};
        if (l < of.size() && !of[l].empty()) {
          means = lens_means(input, of[l]);
          any = true;
        }
        row.push_back(interval_cell(means[0]));
        row.push_back(interval_cell(means[1]));
        if (held_out == 1) {
          chart.series[m].points.push_back({static_cast<double>(l), 0, means[0]});
        }
      }
      if (any) table.rows.push_back(std::move(row));
    }
  }
  section.blocks.emplace_back(std::move(chart));
  section.blocks.emplace_back(std::move(table));
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
