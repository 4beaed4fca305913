// Texts that activate knowledge neurons.
#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <tuple>

#include "engram/sources.h"
#include "experiments/texts/rows.h"
#include "report/sections.h"

namespace engram::experiments::texts {
namespace {

constexpr std::array<std::string_view, 3> kSources = {sources::kIg, sources::kActivation,
                                                      sources::kRandomLayer};
constexpr std::array<const char*, 3> kSourceTitles = {"knowledge neurons", "activation baseline",
                                                      "random: same layer"};

/// A row of the table: which texts, and which of their words is asked for.
struct Contrast {
  const char* kind;
  const char* mask;
  const char* title;
};
constexpr std::array<Contrast, 10> kContrasts = {
    Contrast{"both", "released", "head and tail, as released (tail asked for)"},
    {"head", "released", "head only, as released (a random word asked for)"},
    {"random", "released", "random, as released (a random word asked for)"},
    {"tail", "released", "tail only, a random word asked for"},
    {"both", "name", "head and tail, a name asked for"},
    {"head", "name", "head only, a name asked for"},
    {"tail", "name", "tail only, a name asked for"},
    {"random", "name", "random, a name asked for"},
    {"both", "word", "head and tail, a random word asked for"},
    {"tail", "object", "tail only, the tail asked for"}};

/// Sum of activations and number of (draw, text) by fact.
struct OfFact {
  double sum = 0, texts = 0, draws = 0;
};
/// [kind, mask] -> fact -> [source].
using Activations =
    std::map<std::pair<std::string, std::string>, std::map<int64_t, std::array<OfFact, 3>>>;

Activations read_activations(const ReportInput& input) {
  Activations all;
  read_rows<TextActivationRow>(input.run, {}, [&](const TextActivationRow& row) {
    const auto* found = std::ranges::find(kSources, row.source);
    if (found == kSources.end()) return;
    OfFact& of = all[{row.kind, row.mask}][row.fact][static_cast<size_t>(found - kSources.begin())];
    of.sum += row.sum;
    of.texts += static_cast<double>(row.texts);
    of.draws += 1;
  });
  return all;
}

/// Facts and sum of their means by source, then the same over facts that have both sources 0 and 2.
enum : size_t { kFacts = 0, kMean = 3, kPairs = 6, kFirst, kSecond, kTextColumns };

ReportTable activation_table(const ReportInput& input, const Activations& all) {
  ReportTable table =
      make_table("texts", "Mean activation on texts",
                 "The paper asks for the tail where head and tail are there, and for one random "
                 "word elsewhere, so its contrast mixes what the text states with what kind of "
                 "word is asked for. The rows below match the kind.",
                 "Activation where the word is asked for, mean over a set's neurons, over the "
                 "fact's texts, then over facts. Name: another object of the relation, or else a "
                 "capitalised word. Known: the answer is the top one on at least half of the "
                 "fact's own prompts; never: on none. Difference: knowledge neurons minus random "
                 "ones, over facts with both and in the same draws of the bootstrap.",
                 {{"texts", CellFormat::kText},
                  {"of facts", CellFormat::kText},
                  {"facts", CellFormat::kCount},
                  {"number of texts", CellFormat::kCount}});
  for (const char* title : kSourceTitles) table.columns.push_back({title, CellFormat::kNumber});
  table.columns.push_back({"knowledge minus random", CellFormat::kSigned});
  const std::vector<FactGroup> groups = fact_groups(input.run, input.facts);
  for (size_t row = 0; row < kContrasts.size() * kFactGroups; ++row) {
    const Contrast& contrast = kContrasts[row / kFactGroups];
    const auto group = static_cast<FactGroup>(row % kFactGroups);
    const auto found = all.find({contrast.kind, contrast.mask});
    if (found == all.end()) continue;
    if (input.options.known_only && group != FactGroup::kKnown) continue;
    FactSums sums(input.facts, kTextColumns);
    double facts = 0;
    double texts = 0;
    for (const auto& [id, sources] : found->second) {
      if (group != FactGroup::kAll && groups[input.facts.place(id)] != group) continue;
      const std::span<double> of = sums.of(id);
      double most = 0;
      for (size_t s = 0; s < kSources.size(); ++s) {
        if (sources[s].texts == 0) continue;
        of[kFacts + s] += 1;
        of[kMean + s] += sources[s].sum / sources[s].texts;
        most = std::max(most, sources[s].texts / sources[s].draws);
      }
      facts += 1;
      texts += most;
      if (sources[0].texts == 0 || sources[2].texts == 0) continue;
      of[kPairs] += 1;
      of[kFirst] += sources[0].sum / sources[0].texts;
      of[kSecond] += sources[2].sum / sources[2].texts;
    }
    if (facts == 0) continue;
    const std::vector<Interval> means = bootstrap(
        sums.sums(), 4,
        [](std::span<const std::vector<double>> drawn, std::span<double> out) {
          const std::vector<double> total = total_of(drawn);
          for (size_t s = 0; s < 3; ++s) out[s] = ratio(total[kMean + s], total[kFacts + s]);
          out[3] = ratio(total[kFirst] - total[kSecond], total[kPairs]);
        },
        input.options.bootstrap);
    table.rows.push_back({text_cell(contrast.title), text_cell(group_name(group)),
                          number_cell(facts), number_cell(texts), interval_cell(means[0]),
                          interval_cell(means[1]), interval_cell(means[2]),
                          interval_cell(means[3])});
  }
  table.notes.emplace_back(
      "The paper's texts are from Bing, and it draws and averages otherwise (`--as-published` "
      "does as it does): its figures do not stand beside these.");
  if (table.rows.empty()) table.skipped = missing_reason(input, "texts");
  return table;
}

/// Differences between kinds for knowledge neurons, over facts that have both.
ReportTable contrast_table(const ReportInput& input, const Activations& all) {
  ReportTable table = make_table(
      "texts-contrast", "Does the neuron respond to the fact?",
      "Head and tail together against either alone. The fair comparison asks for the "
      "tail in both; where a text with head and tail is asked for another word, the "
      "fact is not asked.",
      "Mean activation on texts with head and tail minus that on the others, over facts that have "
      "both, in the same draws of the bootstrap.",
      {{"head and tail minus", CellFormat::kText},
       {"asked for", CellFormat::kText},
       {"facts", CellFormat::kCount}});
  for (const char* title : kSourceTitles) table.columns.push_back({title, CellFormat::kSigned});
  struct Pair {
    const char* mask;
    const char* other_kind;
    const char* other_mask;
    const char* title;
    const char* masked;
  };
  const std::array<Pair, 8> pairs = {
      Pair{"released", "head", "released", "head only", "as released"},
      {"released", "random", "released", "random", "as released"},
      {"name", "head", "name", "head only", "a name in both"},
      {"name", "tail", "name", "tail only", "a name in both"},
      {"name", "random", "name", "random", "a name in both"},
      {"word", "head", "released", "head only", "a random word in both"},
      {"word", "random", "released", "random", "a random word in both"},
      {"released", "tail", "object", "tail only", "the tail in both"}};
  for (const Pair& pair : pairs) {
    const auto both = all.find({"both", pair.mask});
    const auto other = all.find({pair.other_kind, pair.other_mask});
    if (both == all.end() || other == all.end()) continue;
    FactSums sums(input.facts, 6);
    double facts = 0;
    for (const auto& [id, a] : both->second) {
      const auto b = other->second.find(id);
      if (b == other->second.end()) continue;
      bool any = false;
      for (size_t s = 0; s < 3; ++s) {
        if (a[s].texts == 0 || b->second[s].texts == 0) continue;
        const std::span<double> of = sums.of(id);
        of[s] += 1;
        of[3 + s] += a[s].sum / a[s].texts - b->second[s].sum / b->second[s].texts;
        any = true;
      }
      facts += any ? 1 : 0;
    }
    if (facts == 0) continue;
    const std::vector<Interval> means = bootstrap(
        sums.sums(), 3,
        [](std::span<const std::vector<double>> drawn, std::span<double> out) {
          const std::vector<double> total = total_of(drawn);
          for (size_t s = 0; s < 3; ++s) out[s] = ratio(total[3 + s], total[s]);
        },
        input.options.bootstrap);
    table.rows.push_back({text_cell(pair.title), text_cell(pair.masked), number_cell(facts),
                          interval_cell(means[0]), interval_cell(means[1]),
                          interval_cell(means[2])});
  }
  if (table.rows.empty()) table.skipped = "no fact has texts of two kinds";
  return table;
}

/// Of a fact's texts of two kinds: sums of squares and products of the activation y, the kind k (1:
/// head and tail) and the log-odds x around the fact's means.
struct Within {
  double kk = 0, xx = 0, kx = 0, ky = 0, xy = 0;
};
struct OfTexts {
  double texts = 0, x = 0, y = 0, xx = 0, xy = 0;
};
Within within(const OfTexts& both, const OfTexts& other) {
  const double n = both.texts + other.texts;
  const double x = both.x + other.x;
  const double y = both.y + other.y;
  return {both.texts * other.texts / n, both.xx + other.xx - x * x / n, both.x - both.texts * x / n,
          both.y - both.texts * y / n, both.xy + other.xy - x * y / n};
}

using Odds =
    std::map<std::pair<std::string, std::string>, std::map<int64_t, std::array<OfTexts, 3>>>;

/// Sums of the run's table; random draws are averaged, so that they count as one set.
Odds read_odds(const ReportInput& input) {
  Odds all;
  std::map<std::tuple<std::string, std::string, int64_t>, double> draws;
  read_rows<TextOddsRow>(input.run, {}, [&](const TextOddsRow& row) {
    const auto* found = std::ranges::find(kSources, row.source);
    if (found == kSources.end()) return;
    const auto s = static_cast<size_t>(found - kSources.begin());
    OfTexts& of = all[{row.kind, row.mask}][row.fact][s];
    double& before = draws[{row.kind + " " + row.mask, row.source, row.fact}];
    const auto average = [&](double& mean, double value) { mean += (value - mean) / (before + 1); };
    average(of.texts, static_cast<double>(row.texts));
    average(of.x, row.log_odds);
    average(of.y, row.activation);
    average(of.xx, row.log_odds_squared);
    average(of.xy, row.product);
    before += 1;
  });
  return all;
}

/// Does the kind of text say anything about the activation beyond the answer's log-odds?
ReportTable regression_table(const ReportInput& input) {
  ReportTable table =
      make_table("texts-regression", "Beyond the answer's log-odds",
                 "Texts with head and tail also make the answer more probable in its place. Does "
                 "their kind still predict the activation at equal log-odds of the answer?",
                 "Least squares over texts within facts: activation = the fact's mean + b [head "
                 "and tail] + c log-odds of the answer in its place. Difference: b without the "
                 "log-odds; at equal log-odds: b with them. Intervals resample relations, then "
                 "facts with the same object together. Only texts that ask for as many tokens as "
                 "the answer has.",
                 {{"head and tail minus", CellFormat::kText},
                  {"asked for", CellFormat::kText},
                  {"facts", CellFormat::kCount}});
  for (const char* title : kSourceTitles) {
    table.columns.push_back({std::string(title) + ": difference", CellFormat::kSigned});
    table.columns.push_back({std::string(title) + ": at equal log-odds", CellFormat::kSigned});
    table.columns.push_back({std::string(title) + ": per unit of log-odds", CellFormat::kSigned});
  }
  struct Pair {
    const char* mask;
    const char* other_kind;
    const char* other_mask;
    const char* title;
    const char* masked;
  };
  constexpr std::array<Pair, 4> kPairs = {
      Pair{"released", "tail", "object", "tail only", "the tail in both"},
      {"released", "head", "released", "head only", "as released"},
      {"name", "head", "name", "head only", "a name in both"},
      {"word", "head", "released", "head only", "a random word in both"}};
  constexpr size_t kSumsOfOne = 5;
  const Odds all = read_odds(input);
  for (const Pair& pair : kPairs) {
    const auto both = all.find({"both", pair.mask});
    const auto other = all.find({pair.other_kind, pair.other_mask});
    if (both == all.end() || other == all.end()) continue;
    FactSums sums(input.facts, kSources.size() * kSumsOfOne);
    double facts = 0;
    for (const auto& [id, a] : both->second) {
      const auto b = other->second.find(id);
      if (b == other->second.end()) continue;
      for (size_t s = 0; s < kSources.size(); ++s) {
        if (a[s].texts == 0 || b->second[s].texts == 0) continue;
        const Within w = within(a[s], b->second[s]);
        const std::span<double> of = sums.of(id).subspan(s * kSumsOfOne, kSumsOfOne);
        of[0] += w.kk;
        of[1] += w.xx;
        of[2] += w.kx;
        of[3] += w.ky;
        of[4] += w.xy;
        facts += s == 0 ? 1 : 0;
      }
    }
    if (facts == 0) continue;
    const std::vector<Interval> found = bootstrap(
        sums.sums(), kSources.size() * 3,
        [](std::span<const std::vector<double>> drawn, std::span<double> out) {
          constexpr double kCollinear = 1e-9;
          const std::vector<double> total = total_of(drawn);
          for (size_t s = 0; s < kSources.size(); ++s) {
            const double* t = total.data() + s * kSumsOfOne;
            const double full = t[0] * t[1];
            const double rest = full - t[2] * t[2];
            const double scale = rest > kCollinear * full ? rest : 0;
            out[s * 3] = ratio(t[3], t[0]);
            out[s * 3 + 1] = ratio(t[1] * t[3] - t[2] * t[4], scale);
            out[s * 3 + 2] = ratio(t[0] * t[4] - t[2] * t[3], scale);
          }
        },
        input.options.bootstrap);
    std::vector<ReportCell> row = {text_cell(pair.title), text_cell(pair.masked),
                                   number_cell(facts)};
    for (const Interval& one : found) row.push_back(interval_cell(one));
    table.rows.push_back(std::move(row));
  }
  if (table.rows.empty()) table.skipped = "no fact has texts of two kinds that ask for its object";
  return table;
}

Chart activation_chart(const ReportTable& table) {
  Chart chart;
  chart.id = "texts-chart";
  chart.title = "Mean activation on texts";
  chart.meaning = "With 95 % intervals.";
  chart.kind = ChartKind::kRows;
  chart.x = {"mean activation (no unit)", false, false};
  chart.y = {"texts", false, false};
  constexpr size_t kFirstSource = 3;
  for (const char* title : kSourceTitles) chart.series.push_back({title, {}});
  for (size_t r = 0; r < table.rows.size(); ++r) {
    chart.categories.push_back(table.rows[r][0].text);
    for (size_t s = 0; s < kSourceTitles.size(); ++s) {
      chart.series[s].points.push_back(
          {static_cast<double>(r), 0, table.rows[r][kFirstSource + s].number});
    }
  }
  return chart;
}

}  // namespace

std::vector<ReportSection> sections(const ReportInput& input) {
  ReportSection section{
      "texts",
      "Texts that activate",
      "How active a fact's neurons are on texts that state the fact, or only name "
      "its parts.",
      "engram reproduce ... --only texts,examples",
      {}};
  const Activations all = read_activations(input);
  if (all.empty()) {
    section.blocks.emplace_back(skipped_table(input, "texts", "texts", "Mean activation on texts"));
  } else {
    ReportTable table = activation_table(input, all);
    Chart chart = activation_chart(table);
    section.blocks.emplace_back(std::move(table));
    if (!chart.categories.empty()) section.blocks.emplace_back(std::move(chart));
    section.blocks.emplace_back(contrast_table(input, all));
    section.blocks.emplace_back(regression_table(input));
  }
  return {std::move(section)};
}

}  // namespace engram::experiments::texts
