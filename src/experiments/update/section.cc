// Fact updates o -> o': do they work, on prompts that were not used, and what else do they change?
#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "experiments/update/section_sweep.h"

namespace engram::experiments::update {
namespace {

ReportTable rates_table(const ReportInput& input, const Edits& edits, bool wrong) {
  ReportTable table = make_table(
      wrong ? "update-wrong" : "update",
      wrong ? "Wrong answers made right" : "Does an update work?",
      wrong ? "The same for facts that the model does not know: o is its wrong answer, o' the "
              "right one. The few edits that the paper's first version shows were of this kind, "
              "where the new answer may be nearly there already."
            : "A seeded sample, never chosen by hand, of facts that the model knows: no wrong "
              "answer is "
              "more frequent on their own prompts than the right one. Only "
              "prompts that were not used to locate the neurons say whether the fact was edited.",
      "Change rate: of the prompts whose top answer was o, those whose top answer is "
      "another one after the edit. Success rate: those whose top answer is o'. Facts "
      "left without neurons are counted and not edited. Written: length of what the "
      "edit adds where own prompts ask for the answer, as a share of what the located "
      "neurons' edit adds; equal write: rescaled so that it is as much, the mean of "
      "five draws for random neurons. Intervals are over the edited facts.",
      {{"edited", CellFormat::kText},
       {"prompts", CellFormat::kText},
       {"facts edited", CellFormat::kCount},
       {"without neurons", CellFormat::kCount},
       {"written, of the located neurons'", CellFormat::kPercent},
       {"prompts with o before", CellFormat::kCount},
       {"change rate", CellFormat::kPercent},
       {"success rate", CellFormat::kPercent}});
  for (const VariantWords& words : kVariants) {
    const auto found = edits.find(words.name);
    if (found == edits.end()) continue;
    const auto keep = wrong ? wrong_before : right_before;
    const auto empty = std::ranges::count_if(
        found->second, [&](const Edit& edit) { return edit.neurons == 0 && keep(edit); });
    for (const EditScope scope : {kOwn, kHeldOut}) {
      const Rates of = rates(input, found->second, scope, keep);
      if (of.edits == 0 && empty == 0) continue;
      std::vector<ReportCell> row = {text_cell(words.title),
                                     text_cell(kEditScopeTitles[scope]),
                                     number_cell(of.edits),
                                     number_cell(static_cast<double>(empty)),
                                     number_cell(written_share(edits, found->second, keep)),
                                     number_cell(of.right),
                                     interval_cell(of.change),
                                     interval_cell(of.success)};
      table.rows.push_back(std::move(row));
    }
  }
  if (!wrong) {
    table.notes.emplace_back(
        "The paper tests an edit on one random prompt out of those that located the neurons, and "
        "draws o' otherwise (`--as-published` does as it does): its rates do not stand beside "
        "these.");
  }
  if (table.rows.empty()) table.skipped = "no fact of this kind was edited";
  return table;
}

/// Rate of the knowledge neurons minus that of a control in one scope, over facts that both edit;
/// change first, then success. `facts` is how many there are.
std::vector<Interval> update_difference(const ReportInput& input,
                                        const std::vector<Edit>& knowledge,
                                        const std::vector<Edit>& control, EditScope scope,
                                        const KeepEdit& keep, double& facts) {
  FactSums sums(input.facts, 2 * kEditColumns);
  std::map<int64_t, const Edit*> by_fact;
  for (const Edit& edit : control) by_fact.emplace(edit.fact, &edit);
  facts = 0;
  for (const Edit& edit : knowledge) {
    const auto match = by_fact.find(edit.fact);
    if (match == by_fact.end() || !keep(edit) || edit.neurons == 0 || match->second->neurons == 0 ||
        edit.scopes[scope].prompts == 0) {
      continue;
    }
    facts += 1;
    const std::span<double> to = sums.of(edit.fact);
    add_edit_sums(to.first(kEditColumns), edit.scopes[scope]);
    add_edit_sums(to.subspan(kEditColumns), match->second->scopes[scope]);
  }
  if (facts == 0) return {};
  return bootstrap(
      sums.sums(), 2,
      [](std::span<const std::vector<double>> drawn, std::span<double> out) {
        const std::vector<double> total = total_of(drawn);
        const std::span<const double> all(total);
        std::array<double, kEstimates> a{};
        std::array<double, kEstimates> b{};
        edit_estimates(all.first(kEditColumns), a);
        edit_estimates(all.subspan(kEditColumns), b);
        out[0] = a[kChangeRate] - b[kChangeRate];
        out[1] = a[kSuccessRate] - b[kSuccessRate];
      },
      input.options.bootstrap);
}

ReportTable update_difference_table(const ReportInput& input, const Edits& edits, bool wrong) {
  ReportTable table = make_table(
      wrong ? "update-wrong-difference" : "update-difference",
      wrong ? "Wrong answers made right: against the controls"
            : "Knowledge neurons against the controls",
      "Would the same change of other value vectors, or of the layer's output, do as well?",
      "Rate of the knowledge neurons minus that of the control, in percentage points and in the "
      "same draws of the bootstrap; over facts that both edit. p: two-sided, of the success rate's "
      "difference, with one added to both counts of draws; Holm: adjusted for all comparisons of "
      "this table on the same kind of prompts.",
      {{"control", CellFormat::kText},
       {"prompts", CellFormat::kText},
       {"facts", CellFormat::kCount},
       {"change rate", CellFormat::kSignedPercent},
       {"success rate", CellFormat::kSignedPercent},
       {"p", CellFormat::kNumber},
       {"p (Holm)", CellFormat::kNumber}});
  const auto knowledge = edits.find(variant::kKnowledge);
  if (knowledge == edits.end()) {
    table.skipped = "there are no edits of knowledge neurons";
    return table;
  }
  std::array<std::vector<double>, 2> p;
  std::vector<size_t> scope_of;
  for (const VariantWords& words : kVariants) {
    const auto other = edits.find(words.name);
    if (other == edits.end() || other == knowledge) continue;
    for (const EditScope scope : {kOwn, kHeldOut}) {
      double facts = 0;
      const std::vector<Interval> found =
          update_difference(input, knowledge->second, other->second, scope,
                            wrong ? wrong_before : right_before, facts);
      if (found.empty()) continue;
      table.rows.push_back({text_cell(words.title), text_cell(kEditScopeTitles[scope]),
                            number_cell(facts), interval_cell(found[0]), interval_cell(found[1]),
                            number_cell(found[1].p)});
      p[scope].push_back(found[1].p);
      scope_of.push_back(scope);
    }
  }
  std::array<size_t, 2> next{};
  for (std::vector<double>& of_scope : p) of_scope = holm(of_scope);
  for (size_t row = 0; row < table.rows.size(); ++row) {
    const size_t scope = scope_of[row];
    table.rows[row].push_back(number_cell(p[scope][next[scope]++]));
  }
  if (table.rows.empty()) table.skipped = "there are no controls";
  return table;
}

ReportTable perplexity_table(const ReportInput& input, const Edits& edits) {
  ReportTable table =
      make_table("update-perplexity", "What an update does elsewhere",
                 "An edit that harms nothing else leaves these perplexities as they were.",
                 "Perplexity: exp of the mean -log P of the right answer over prompts; for "
                 "ordinary text over sampled tokens (of a masked model pseudo-perplexity, each "
                 "masked in turn). Rise: after minus before. Facts answered rightly before.",
                 {{"edited", CellFormat::kText},
                  {"prompts", CellFormat::kText},
                  {"facts edited", CellFormat::kCount},
                  {"prompts or positions", CellFormat::kCount},
                  {"before", CellFormat::kNumber},
                  {"after", CellFormat::kNumber},
                  {"rise", CellFormat::kSigned},
                  {"rise over before", CellFormat::kSignedPercent}});
  for (const VariantWords& words : kVariants) {
    const auto found = edits.find(words.name);
    if (found == edits.end()) continue;
    for (size_t s = kOwn; s < kEditScopes; ++s) {
      const auto scope = static_cast<EditScope>(s);
      const Rates of = rates(input, found->second, scope, right_before);
      if (of.edits == 0) continue;
      table.rows.push_back({text_cell(words.title), text_cell(kEditScopeTitles[s]),
                            number_cell(of.edits), number_cell(of.prompts),
                            number_cell(of.before.value), number_cell(of.after.value),
                            interval_cell(of.rise), interval_cell(of.relative)});
    }
  }
  if (table.rows.empty()) table.skipped = "no fact that was answered rightly was edited";
  return table;
}

/// Three groups of equal size by a value, with the same value always in one group.
struct Group {
  double low = NAN, high = NAN;
};
std::vector<Group> terciles(std::vector<double> values) {
  std::erase_if(values, [](double value) { return std::isnan(value); });
  std::ranges::sort(values);
  std::vector<Group> groups;
  if (values.empty()) return groups;
  size_t begin = 0;
  for (size_t g = 0; g < 3; ++g) {
    size_t end = std::max(begin, values.size() * (g + 1) / 3);
    while (end > begin && end < values.size() && values[end] == values[end - 1]) ++end;
    if (end > begin) groups.push_back({values[begin], values[end - 1]});
    begin = end;
  }
  return groups;
}

ReportTable prior_table(const ReportInput& input, const Edits& edits) {
  ReportTable table = make_table(
      "update-prior", "Was the new answer nearly there already?",
      "If success comes only where o' was likely before, the edit wrote little.",
      "Edits of knowledge neurons in three groups of equal size by P of o' before (mean over own "
      "prompts), and by its rank (geometric mean). Held-out prompts; own ones where nothing is "
      "held "
      "out.",
      {{"groups by", CellFormat::kText},
       {"from", CellFormat::kNumber},
       {"to", CellFormat::kNumber},
       {"facts edited", CellFormat::kCount},
       {"prompts with o before", CellFormat::kCount},
       {"change rate", CellFormat::kPercent},
       {"success rate", CellFormat::kPercent}});
  const auto found = edits.find(variant::kKnowledge);
  if (found == edits.end()) {
    table.skipped = "there are no edits of knowledge neurons";
    return table;
  }
  const bool held_out = std::ranges::any_of(
      found->second, [](const Edit& edit) { return edit.scopes[kHeldOut].prompts > 0; });
  const EditScope scope = held_out ? kHeldOut : kOwn;
  for (const bool by_rank : {false, true}) {
    const auto value = [&](const Edit& edit) { return by_rank ? edit.target_rank : edit.target_p; };
    std::vector<double> values;
    for (const Edit& edit : found->second) {
      if (edit.right && edit.neurons > 0 && edit.scopes[scope].prompts > 0) {
        values.push_back(value(edit));
      }
    }
    for (const Group& group : terciles(std::move(values))) {
      const Rates of = rates(input, found->second, scope, [&](const Edit& edit) {
        return edit.right && value(edit) >= group.low && value(edit) <= group.high;
      });
      table.rows.push_back({text_cell(by_rank ? "rank of o' before" : "P of o' before"),
                            number_cell(group.low), number_cell(group.high), number_cell(of.edits),
                            number_cell(of.right), interval_cell(of.change),
                            interval_cell(of.success)});
    }
  }
  if (table.rows.empty()) table.skipped = "no fact that was answered rightly was edited";
  return table;
}

Chart rates_chart(const ReportInput& input, const Edits& edits) {
  Chart chart;
  chart.id = "update-chart";
  chart.title = "Success of updates";
  chart.meaning = "Success rate by what is edited, with 95 % intervals.";
  chart.kind = ChartKind::kRows;
  chart.x = {"success rate (%)", false, true};
  chart.y = {"edited", false, false};
  chart.series = {{"own prompts", {}}, {"held-out prompts", {}}};
  for (const VariantWords& words : kVariants) {
    const auto found = edits.find(words.name);
    if (found == edits.end()) continue;
    const auto place = static_cast<double>(chart.categories.size());
    chart.categories.emplace_back(words.title);
    for (size_t s = 0; s < 2; ++s) {
      chart.series[s].points.push_back(
          {place, 0, rates(input, found->second, static_cast<EditScope>(s), right_before).success});
    }
  }
  return chart;
}

}  // namespace

std::vector<ReportSection> sections(const ReportInput& input) {
  if (!input.option("audit").empty()) return {};  // which has sections of its own
  ReportSection section{
      "update",
      "Updating facts",
      "The value vectors of a fact's neurons lose a multiple of the embedding of the old answer o "
      "and get one of the new answer o'.",
      "engram reproduce ... --only update",
      {}};
  const Edits edits = read_edits(input);
  if (edits.empty()) {
    section.blocks.emplace_back(skipped_table(input, "update", "update", "Does an update work?"));
    return {std::move(section)};
  }
  section.blocks.emplace_back(rates_table(input, edits, false));
  Chart chart = rates_chart(input, edits);
  if (!chart.categories.empty()) section.blocks.emplace_back(std::move(chart));
  section.blocks.emplace_back(update_difference_table(input, edits, false));
  section.blocks.emplace_back(perplexity_table(input, edits));
  section.blocks.emplace_back(prior_table(input, edits));
  section.blocks.emplace_back(rates_table(input, edits, true));
  section.blocks.emplace_back(update_difference_table(input, edits, true));
  add_update_sweep(input, edits, section);
  return {std::move(section)};
}

}  // namespace engram::experiments::update
