#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "experiments/editors/rows.h"
#include "experiments/update/rows.h"
#include "report/hypotheses.h"
#include "report/sections.h"

namespace engram::experiments::editors {
namespace {

constexpr double kReached = 0.5;   ///< H1
constexpr double kSmallest = 0.1;  ///< logit, H2 and H3
constexpr double kNothing = 0.1;   ///< correlation, H4

enum Editor : size_t { kLocated, kEqualWrite, kOtherFact, kFineTuned, kRome, kEditors };
constexpr std::array<const char*, kEditors> kTitles = {
    "located", "equal write, random", "another fact's, equal write", "fine-tuned matrix", "ROME"};

/// What an edit does to a fact; draws averaged.
struct EditOf {
  double margin = 0, success = 0, written = 0;
  double edits = 0;  ///< with held-out prompts
  double same = 0, same_edits = 0;
  double others = 0, others_edits = 0;
};
struct FactEdits {
  bool right = false;
  std::array<EditOf, kEditors> by_editor;
  std::map<int64_t, std::pair<double, double>> by_layer;  ///< share, change of the margin
};

/// The editor of a variant; kEditors: none of them.
Editor editor_of(std::string_view name) {
  if (name == update::variant::kKnowledgeUnfiltered) return kLocated;
  if (name.starts_with(update::variant::kRandomEqualWrite + std::string("/"))) return kEqualWrite;
  if (name == update::variant::kOtherFactEqualWrite) return kOtherFact;
  if (name == variant::kFineTuned) return kFineTuned;
  return name == variant::kRome ? kRome : kEditors;
}

std::map<int64_t, FactEdits> read(RunStore& run) {
  std::map<int64_t, FactEdits> facts;
  std::map<std::pair<int64_t, std::string>, double> written;
  read_rows<update::EditRow>(run, {}, [&](const update::EditRow& row) {
    facts[row.fact].right = row.right;
    written[{row.fact, row.variant}] = row.written;
  });
  read_rows<LayerShareRow>(run, {}, [&](const LayerShareRow& row) {
    facts[row.fact].by_layer[row.layer] = {row.share, std::nan("")};
  });
  read_rows<update::EditEffectRow>(run, {}, [&](const update::EditEffectRow& row) {
    FactEdits& fact = facts[row.fact];
    const auto prompts = static_cast<double>(row.prompts);
    const double own = (row.log_p_after - row.log_p_before) / prompts;
    const bool held_out = row.scope == update::kEditScopeNames[update::kHeldOut];
    const double margin = (row.target_log_p_after - row.target_log_p_before) / prompts - own;
    if (row.variant.starts_with(variant::kLayer)) {
      const int64_t layer = std::stoll(row.variant.substr(std::string(variant::kLayer).size()));
      const auto place = fact.by_layer.find(layer);
      if (held_out && place != fact.by_layer.end()) place->second.second = margin;
      return;
    }
    const Editor editor = editor_of(row.variant);
    if (editor == kEditors) return;
    EditOf& edit = fact.by_editor[editor];
    if (held_out) {
      const auto hits =
          static_cast<double>(row.success.value_or(0) + row.wrong_success.value_or(0));
      edit.margin += margin;
      edit.success += hits / prompts;
      edit.written += written[{row.fact, row.variant}];
      edit.edits += 1;
    } else if (row.scope == update::kEditScopeNames[update::kSameRelation]) {
      edit.same += own;
      edit.same_edits += 1;
    } else if (row.scope == update::kEditScopeNames[update::kOtherRelations]) {
      edit.others += own;
      edit.others_edits += 1;
    }
  });
  return facts;
}

// --- editors -------------------------------------------------------------------------------------

constexpr size_t kGroups = 2;  ///< o right, wrong to right
constexpr std::array<const char*, kGroups> kGroupTitles = {"right", "wrong to right"};

/// What is summed over facts, by group and editor. "Both": facts with this edit and the located
/// one.
enum EditColumn : size_t {
  kFacts,
  kMargin,
  kSuccess,
  kWritten,
  kMarginBoth,
  kLocatedBoth,
  kSameFacts,
  kSame,
  kSameBoth,
  kSameDifference,
  kOthersFacts,
  kOthers,
  kOthersBoth,
  kOthersDifference,
  kEditColumns
};
size_t column(size_t group, size_t editor, EditColumn of) {
  return (group * kEditors + editor) * kEditColumns + of;
}

/// What is estimated, by group and editor.
enum Estimate : size_t {
  kMeanMargin,
  kMeanSuccess,
  kMeanWritten,
  kReaches,  ///< of the located edit
  kMeanSame,
  kMeanOthers,
  kSpares,       ///< damage of the located edit minus its own, within the relation
  kSparesOther,  ///< and elsewhere
  kEstimates
};
size_t place(size_t group, size_t editor, Estimate of) {
  return (group * kEditors + editor) * kEstimates + of;
}

void add_fact(const FactEdits& fact, std::span<double> sums) {
  const size_t group = fact.right ? 0 : 1;
  const EditOf& located = fact.by_editor[kLocated];
  for (size_t e = 0; e < kEditors; ++e) {
    const EditOf& edit = fact.by_editor[e];
    const auto add = [&](EditColumn of, double value) { sums[column(group, e, of)] += value; };
    if (edit.edits > 0) {
      add(kFacts, 1);
      add(kMargin, edit.margin / edit.edits);
      add(kSuccess, edit.success / edit.edits);
      add(kWritten, edit.written / edit.edits);
      if (located.edits > 0) {
        add(kMarginBoth, edit.margin / edit.edits);
        add(kLocatedBoth, located.margin / located.edits);
      }
    }
    const auto damage = [&](double sum, double edits, double of_located, double located_edits,
                            EditColumn facts, EditColumn mean, EditColumn both,
                            EditColumn difference) {
      if (edits == 0) return;
      add(facts, 1);
      add(mean, sum / edits);
      if (located_edits == 0) return;
      add(both, 1);
      add(difference, of_located / located_edits - sum / edits);
    };
    damage(edit.same, edit.same_edits, located.same, located.same_edits, kSameFacts, kSame,
           kSameBoth, kSameDifference);
    damage(edit.others, edit.others_edits, located.others, located.others_edits, kOthersFacts,
           kOthers, kOthersBoth, kOthersDifference);
  }
}

void estimate(std::span<const double> total, std::span<double> out) {
  for (size_t g = 0; g < kGroups; ++g) {
    for (size_t e = 0; e < kEditors; ++e) {
      const auto mean = [&](EditColumn sum, EditColumn facts) {
        return ratio(total[column(g, e, sum)], total[column(g, e, facts)]);
      };
      out[place(g, e, kMeanMargin)] = mean(kMargin, kFacts);
      out[place(g, e, kMeanSuccess)] = mean(kSuccess, kFacts);
      out[place(g, e, kMeanWritten)] = mean(kWritten, kFacts);
      out[place(g, e, kReaches)] = mean(kMarginBoth, kLocatedBoth);
      out[place(g, e, kMeanSame)] = mean(kSame, kSameFacts);
      out[place(g, e, kMeanOthers)] = mean(kOthers, kOthersFacts);
      out[place(g, e, kSpares)] = mean(kSameDifference, kSameBoth);
      out[place(g, e, kSparesOther)] = mean(kOthersDifference, kOthersBoth);
    }
  }
}

ReportTable editors_table(const std::vector<Interval>& found, std::span<const double> total) {
  ReportTable table = make_table(
      "editors", "Edits of one fact", "Every edit is to make o' of o.",
      "Margin: change of log P(o') - log P(o) on held-out prompts, mean over a fact's prompts, "
      "then "
      "over facts; on top: held-out prompts whose top answer is o'; reaches: over the located "
      "edit's; damage: change of log P of their own answers, on prompts of other facts of the "
      "relation and of other relations; written: length of what is added at the mask, all layers "
      "together. Wrong to right: o is the model's own answer, o' the fact's object.",
      {{"o is", CellFormat::kText},
       {"edit", CellFormat::kText},
       {"facts", CellFormat::kCount},
       {"margin", CellFormat::kSigned},
       {"on top", CellFormat::kPercent},
       {"reaches", CellFormat::kNumber},
       {"damage, relation", CellFormat::kSigned},
       {"damage, others", CellFormat::kSigned},
       {"written", CellFormat::kNumber}});
  for (size_t g = 0; g < kGroups; ++g) {
    for (size_t e = 0; e < kEditors; ++e) {
      const double facts = total[column(g, e, kFacts)];
      if (facts == 0) continue;
      const auto cell = [&](Estimate of) { return interval_cell(found[place(g, e, of)]); };
      table.rows.push_back({text_cell(kGroupTitles[g]), text_cell(kTitles[e]), number_cell(facts),
                            cell(kMeanMargin), cell(kMeanSuccess), cell(kReaches), cell(kMeanSame),
                            cell(kMeanOthers), cell(kMeanWritten)});
    }
  }
  return table;
}

// --- layers --------------------------------------------------------------------------------------

/// Sums of one layer: facts, share, margin, their squares and product.
enum LayerColumn : size_t { kN, kX, kY, kXX, kYY, kXY, kLayerColumns };

/// Correlation, sums taken from their layer's mean; NaN without spread.
double correlation(std::span<const double> total, size_t first, size_t end) {
  double xx = 0;
  double yy = 0;
  double xy = 0;
  for (size_t layer = first; layer < end; ++layer) {
    const auto sum = total.subspan(layer * kLayerColumns, kLayerColumns);
    if (sum[kN] == 0) continue;
    xx += sum[kXX] - sum[kX] * sum[kX] / sum[kN];
    yy += sum[kYY] - sum[kY] * sum[kY] / sum[kN];
    xy += sum[kXY] - sum[kX] * sum[kY] / sum[kN];
  }
  return xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : std::nan("");
}

/// By layer: mean share, mean margin, correlation; behind them that of all layers.
std::vector<Interval> estimate_layers(const ReportInput& input,
                                      const std::map<int64_t, FactEdits>& facts, size_t layers) {
  FactSums sums(input.facts, layers * kLayerColumns);
  for (const auto& [id, fact] : facts) {
    if (!fact.right) continue;
    const std::span<double> of = sums.of(id);
    for (const auto& [layer, one] : fact.by_layer) {
      const auto [x, y] = one;
      if (std::isnan(y)) continue;
      const std::array<double, kLayerColumns> add = {1, x, y, x * x, y * y, x * y};
      for (size_t c = 0; c < kLayerColumns; ++c) {
        of[static_cast<size_t>(layer) * kLayerColumns + c] += add[c];
      }
    }
  }
  return bootstrap_totals(
      sums, 3 * layers + 1,
      [layers](std::span<const double> total, std::span<double> out) {
        for (size_t l = 0; l < layers; ++l) {
          const auto sum = total.subspan(l * kLayerColumns, kLayerColumns);
          out[3 * l] = ratio(sum[kX], sum[kN]);
          out[3 * l + 1] = ratio(sum[kY], sum[kN]);
          out[3 * l + 2] = correlation(total, l, l + 1);
        }
        out[3 * layers] = correlation(total, 0, layers);
      },
      input.options.bootstrap);
}

ReportTable layers_table(const std::vector<Interval>& found, size_t layers) {
  ReportTable table = make_table(
      "editors-layers", "The same edit in every layer",
      "Five neurons of a layer are edited for each fact. Exploratory but for the last row.",
      "Share: of the fact's positive scores that the layer holds; margin: as above; correlation of "
      "the two over facts, in the last row over facts and layers, both taken from their layer's "
      "mean. Facts whose o is right.",
      {{"layer", CellFormat::kText},
       {"share", CellFormat::kPercent},
       {"margin", CellFormat::kSigned},
       {"correlation", CellFormat::kSigned}});
  for (size_t l = 0; l < layers; ++l) {
    table.rows.push_back({text_cell(std::to_string(l)), interval_cell(found[3 * l]),
                          interval_cell(found[3 * l + 1]), interval_cell(found[3 * l + 2])});
  }
  table.rows.push_back({text_cell("all"), number_cell(std::nan("")), number_cell(std::nan("")),
                        interval_cell(found[3 * layers])});
  return table;
}

}  // namespace

std::vector<ReportSection> sections(const ReportInput& input) {
  if (input.option("audit").empty()) return {};
  constexpr const char* kTitle = "Does location guide an edit?";
  ReportSection section{"editors", kTitle, "", "engram audit MODEL ... --only editors", {}};
  const std::map<int64_t, FactEdits> facts = read(input.run);
  FactSums sums(input.facts, kGroups * kEditors * kEditColumns);
  std::vector<double> total(kGroups * kEditors * kEditColumns, 0.0);
  size_t layers = 0;
  for (const auto& [id, fact] : facts) {
    add_fact(fact, sums.of(id));
    add_fact(fact, total);
    if (!fact.by_layer.empty()) {
      layers = std::max(layers, static_cast<size_t>(fact.by_layer.rbegin()->first) + 1);
    }
  }
  if (sums.empty()) {
    section.blocks.emplace_back(skipped_table(input, "editors", "editors-verdict", kTitle));
    return {std::move(section)};
  }
  const std::vector<Interval> found =
      bootstrap_totals(sums, kGroups * kEditors * kEstimates, estimate, input.options.bootstrap);
  const std::vector<Interval> by_layer = estimate_layers(input, facts, layers);

  const Interval& reached = found[place(0, kEqualWrite, kReaches)];
  const Interval& within = found[place(0, kEqualWrite, kSpares)];
  const Interval& across = found[place(0, kEqualWrite, kSparesOther)];
  const Interval& guide = by_layer.back();
  const Hypothesis hypotheses[] = {
      {"H1: random neurons that write as much reach at least 0.5 of the located edit", reached,
       decide_at_least(reached, kReached), "Other neurons do for an edit, too.",
       "Other neurons do not do what located ones do."},
      {"H2: within the relation the located edit spares nothing, within 0.1 logit", within,
       decide_within(within, kSmallest), "Location spares nothing within the relation.",
       "Within the relation location makes a difference."},
      {"H3: facts of other relations lose less by the located edit, by at least 0.1 logit", across,
       decide_at_least(across, kSmallest), "Location spares other relations.",
       "Location does not spare other relations."},
      {"H4: a layer's share of the scores says nothing about the edit there (|r| < 0.1)", guide,
       decide_within(guide, kNothing), "Location does not guide the choice of the layer.",
       "The scores of a layer do say something about the edit there."}};
  section.blocks.emplace_back(
      hypothesis_table("editors-verdict", kTitle,
                       "An update may work by what it writes, not by where. Then other neurons "
                       "would do as well, and "
                       "where a fact was located says nothing about where to edit it.",
                       hypotheses));
  section.blocks.emplace_back(editors_table(found, total));
  if (layers > 0) section.blocks.emplace_back(layers_table(by_layer, layers));
  return {std::move(section)};
}

}  // namespace engram::experiments::editors
