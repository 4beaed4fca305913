// Fact updates o -> o': do they work, on prompts that were not used, and what else do they change?
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <set>
#include <tuple>

#include "report/sections.h"
#include "report/text.h"

namespace engram {
namespace {

enum EditScope : size_t { kOwn, kHeldOut, kSame, kOther, kText, kEditScopes };
constexpr std::array<const char*, kEditScopes> kScopeNames = {"own", "held-out", "same-relation",
                                                              "other-relations", "text"};
constexpr std::array<const char*, kEditScopes> kEditScopeTitles = {
    "own prompts", "held-out prompts", "other facts of the relation", "facts of other relations",
    "ordinary text"};

/// Sums over the prompts of a scope.
struct EditSums {
  double prompts = 0, right = 0, changed = 0, success = 0, before = 0, after = 0;
};

/// An edit of one fact; several draws of a random variant count as one, with the mean of their
/// sums.
struct Edit {
  int64_t fact = 0;
  double target_p = NAN, target_rank = NAN;
  bool right = false;
  int64_t neurons = 0;
  double written = 0;  ///< summed over the draws that edit
  int64_t draws = 0;   ///< that edit
  std::array<EditSums, kEditScopes> scopes;
};

/// Edits by variant, in the order of kVariants, then by name.
using Edits = std::map<std::string, std::vector<Edit>>;

struct VariantWords {
  const char* name;
  const char* title;
};
constexpr std::array<VariantWords, 11> kVariants = {
    VariantWords{"knowledge", "knowledge neurons"},
    VariantWords{"knowledge-unfiltered", "knowledge neurons, all of them"},
    VariantWords{"knowledge-released", "knowledge neurons as the paper's code chooses"},
    VariantWords{"activation", "activation baseline"},
    VariantWords{"activation-unfiltered", "activation baseline, all of them"},
    VariantWords{"random", "random neurons"},
    VariantWords{"random-activated", "random activated neurons"},
    VariantWords{"random-equal-write", "random activated neurons, equal write"},
    VariantWords{"other-fact", "another fact's neurons"},
    VariantWords{"other-fact-equal-write", "another fact's neurons, equal write"},
    VariantWords{"output", "same change on the layer's output"}};

bool is_sweep(const std::string& variant) { return variant.starts_with("sweep/"); }

/// "random-equal-write/3" is a draw of "random-equal-write".
std::string variant_of(std::string_view stored) {
  return std::string(is_sweep(std::string(stored)) ? stored : stored.substr(0, stored.find('/')));
}

/// Adds the sums of one draw in a scope; `draws` counts those that have it.
void add_draw(EditSums& to, const EditSums& draw, double draws) {
  const auto mean = [&](double& all, double one) { all += (one - all) / draws; };
  mean(to.prompts, draw.prompts);
  mean(to.right, draw.right);
  mean(to.changed, draw.changed);
  mean(to.success, draw.success);
  mean(to.before, draw.before);
  mean(to.after, draw.after);
}

Edits read_edits(const ReportInput& input) {
  Edits edits;
  std::map<std::string, std::map<int64_t, size_t>> places;
  const Table& edit = run_table("edit");
  const size_t fact = edit.column("fact"), variant = edit.column("variant"),
               target_p = edit.column("target_p"), target_rank = edit.column("target_rank"),
               right = edit.column("right"), neurons = edit.column("neurons"),
               written = edit.column("written");
  for_rows(input.run, "edit", {}, [&](const Cells& row) {
    const std::string name = variant_of(row.text(variant));
    std::vector<Edit>& list = edits[name];
    const auto [at, fresh] = places[name].emplace(row.integer(fact), list.size());
    if (fresh) list.emplace_back();
    Edit& one = list[at->second];
    one.fact = row.integer(fact);
    one.target_p = row.real(target_p);
    one.target_rank = row.real(target_rank);
    one.right = row.integer(right) != 0;
    one.neurons = std::max(one.neurons, row.integer(neurons));
    if (row.integer(neurons) == 0) return;
    one.written += row.real(written);
    ++one.draws;
  });
  const Table& effect = run_table("edit_effect");
  const size_t of = effect.column("fact"), by = effect.column("variant"),
               scope = effect.column("scope"), prompts = effect.column("prompts"),
               was_right = effect.column("right"), changed = effect.column("changed"),
               success = effect.column("success"), before = effect.column("log_p_before"),
               after = effect.column("log_p_after");
  std::map<std::tuple<std::string, int64_t, size_t>, double> draws;
  for_rows(input.run, "edit_effect", {}, [&](const Cells& row) {
    const std::string name = variant_of(row.text(by));
    const auto at = places[name].find(row.integer(of));
    const auto* where = std::ranges::find(kScopeNames, row.text(scope));
    if (at == places[name].end() || where == kScopeNames.end()) return;
    const auto s = static_cast<size_t>(where - kScopeNames.begin());
    add_draw(edits[name][at->second].scopes[s],
             {row.real(prompts), row.real(was_right), row.real(changed), row.real(success),
              row.real(before), row.real(after)},
             ++draws[{name, row.integer(of), s}]);
  });
  return edits;
}

/// What a variant writes over what the located neurons write, over the facts that both edit.
template <typename Keep>
double written_share(const Edits& edits, const std::vector<Edit>& variant, Keep keep) {
  const auto knowledge = edits.find("knowledge");
  if (knowledge == edits.end()) return NAN;
  std::map<int64_t, const Edit*> located;
  for (const Edit& edit : knowledge->second) located.emplace(edit.fact, &edit);
  double sum = 0;
  double all = 0;
  for (const Edit& edit : variant) {
    const auto match = located.find(edit.fact);
    if (!keep(edit) || edit.draws == 0 || match == located.end() || match->second->draws == 0) {
      continue;
    }
    sum += edit.written / static_cast<double>(edit.draws);
    all += match->second->written;
  }
  return ratio(sum, all);
}

/// What is estimated of some edits in one scope.
struct Rates {
  double edits = 0, prompts = 0, right = 0;
  Interval change, success;      ///< of prompts right before
  Interval before, after, rise;  ///< perplexity
  Interval relative;             ///< rise over before
};

/// Columns of the sums of one scope.
enum : size_t { kPrompts, kRight, kChanged, kSuccess, kBefore, kAfter, kEditColumns };
enum : size_t { kChangeRate, kSuccessRate, kPplBefore, kPplAfter, kRise, kRelative, kEstimates };

void add_sums(std::span<double> to, const EditSums& sums) {
  to[kPrompts] += sums.prompts;
  to[kRight] += sums.right;
  to[kChanged] += sums.changed;
  to[kSuccess] += std::isnan(sums.success) ? 0.0 : sums.success;
  to[kBefore] += sums.before;
  to[kAfter] += sums.after;
}

void estimate(std::span<const double> sums, std::span<double> out) {
  out[kChangeRate] = ratio(sums[kChanged], sums[kRight]);
  out[kSuccessRate] = ratio(sums[kSuccess], sums[kRight]);
  out[kPplBefore] = std::exp(-ratio(sums[kBefore], sums[kPrompts]));
  out[kPplAfter] = std::exp(-ratio(sums[kAfter], sums[kPrompts]));
  out[kRise] = out[kPplAfter] - out[kPplBefore];
  out[kRelative] = out[kRise] / out[kPplBefore];
}

template <typename Keep>
Rates rates(const ReportInput& input, const std::vector<Edit>& edits, EditScope scope, Keep keep) {
  Rates found;
  FactSums sums(input.facts, kEditColumns);
  for (const Edit& edit : edits) {
    if (edit.neurons == 0 || !keep(edit) || edit.scopes[scope].prompts == 0) continue;
    found.edits += 1;
    found.prompts += edit.scopes[scope].prompts;
    found.right += edit.scopes[scope].right;
    add_sums(sums.of(edit.fact), edit.scopes[scope]);
  }
  const std::vector<Interval> all = bootstrap(
      sums.sums(), kEstimates,
      [](std::span<const std::vector<double>> drawn, std::span<double> out) {
        estimate(total_of(drawn), out);
      },
      input.options.bootstrap);
  found.change = all[kChangeRate];
  found.success = all[kSuccessRate];
  found.before = all[kPplBefore];
  found.after = all[kPplAfter];
  found.rise = all[kRise];
  found.relative = all[kRelative];
  return found;
}

bool right_before(const Edit& edit) { return edit.right; }
bool wrong_before(const Edit& edit) { return !edit.right; }

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
      "Change rate: of the prompts whose top answer was o, those whose top answer is another one "
      "after the edit. Success rate: those whose top answer is o'. Facts left without neurons are "
      "counted and not edited. Written: length of what the edit adds at the mask of own prompts, "
      "as "
      "a share of what the located neurons' edit adds; equal write: rescaled so that it is as "
      "much, the mean of five draws for random neurons. Intervals are over the edited facts.",
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
        "draws o' otherwise (`--as-published` will compute its way): its rates do not stand beside "
        "these.");
  }
  if (table.rows.empty()) table.skipped = "no fact of this kind was edited";
  return table;
}

ReportTable difference_table(const ReportInput& input, const Edits& edits) {
  ReportTable table = make_table(
      "update-difference", "Knowledge neurons against the controls",
      "Would the same change of other value vectors, or of the layer's output, do as well?",
      "Rate of the knowledge neurons minus that of the control, in percentage points and in the "
      "same draws of the bootstrap; over facts that both edit.",
      {{"control", CellFormat::kText},
       {"prompts", CellFormat::kText},
       {"facts", CellFormat::kCount},
       {"change rate", CellFormat::kSignedPercent},
       {"success rate", CellFormat::kSignedPercent}});
  const auto knowledge = edits.find("knowledge");
  if (knowledge == edits.end()) {
    table.skipped = "there are no edits of knowledge neurons";
    return table;
  }
  for (const VariantWords& words : kVariants) {
    const auto other = edits.find(words.name);
    if (other == edits.end() || other == knowledge) continue;
    for (const EditScope scope : {kOwn, kHeldOut}) {
      FactSums sums(input.facts, 2 * kEditColumns);
      double facts = 0;
      std::map<int64_t, const Edit*> by_fact;
      for (const Edit& edit : other->second) by_fact.emplace(edit.fact, &edit);
      for (const Edit& edit : knowledge->second) {
        const auto match = by_fact.find(edit.fact);
        if (match == by_fact.end() || !edit.right || edit.neurons == 0 ||
            match->second->neurons == 0 || edit.scopes[scope].prompts == 0) {
          continue;
        }
        facts += 1;
        const std::span<double> to = sums.of(edit.fact);
        add_sums(to.first(kEditColumns), edit.scopes[scope]);
        add_sums(to.subspan(kEditColumns), match->second->scopes[scope]);
      }
      if (facts == 0) continue;
      const std::vector<Interval> found = bootstrap(
          sums.sums(), 2,
          [](std::span<const std::vector<double>> drawn, std::span<double> out) {
            const std::vector<double> total = total_of(drawn);
            const std::span<const double> all(total);
            std::array<double, kEstimates> a{};
            std::array<double, kEstimates> b{};
            estimate(all.first(kEditColumns), a);
            estimate(all.subspan(kEditColumns), b);
            out[0] = a[kChangeRate] - b[kChangeRate];
            out[1] = a[kSuccessRate] - b[kSuccessRate];
          },
          input.options.bootstrap);
      table.rows.push_back({text_cell(words.title), text_cell(kEditScopeTitles[scope]),
                            number_cell(facts), interval_cell(found[0]), interval_cell(found[1])});
    }
  }
  if (table.rows.empty()) table.skipped = "there are no controls";
  return table;
}

ReportTable perplexity_table(const ReportInput& input, const Edits& edits) {
  ReportTable table = make_table(
      "update-perplexity", "What an update does elsewhere",
      "An edit that harms nothing else leaves these perplexities as they were.",
      "Perplexity: exp of the mean -log P of the right answer over prompts; for ordinary text "
      "pseudo-perplexity, each sampled token masked in turn. Rise: after minus before. Facts "
      "answered rightly before.",
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
  const auto found = edits.find("knowledge");
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

// --- the sweep -----------------------------------------------------------------------------------

/// A setting, out of the variant's name "sweep/l1=1,l2=8,n=all".
struct Setting {
  std::string variant;
  double lambda1 = 0, lambda2 = 0;
  std::string neurons;
};

std::optional<Setting> parse_setting(const std::string& variant) {
  const auto field = [&](const std::string& name) -> std::string {
    const size_t at = variant.find(name);
    if (at == std::string::npos) return "";
    const size_t begin = at + name.size();
    return variant.substr(begin, variant.find(',', begin) - begin);
  };
  Setting setting;
  setting.variant = variant;
  const auto number = [](const std::string& text, double& value) {
    const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
    return end.ec == std::errc() && end.ptr == text.data() + text.size();
  };
  setting.neurons = field("n=");
  if (!number(field("l1="), setting.lambda1) || !number(field("l2="), setting.lambda2) ||
      setting.neurons.empty()) {
    return {};
  }
  return setting;
}

struct Swept {
  Setting setting;
  Rates own, held_out, same;
};

std::vector<Swept> read_sweep(const ReportInput& input, const Edits& edits) {
  std::vector<Swept> sweep;
  for (const auto& [variant, list] : edits) {
    if (!is_sweep(variant)) continue;
    const std::optional<Setting> setting = parse_setting(variant);
    if (!setting) continue;
    sweep.push_back({*setting, rates(input, list, kOwn, right_before),
                     rates(input, list, kHeldOut, right_before),
                     rates(input, list, kSame, right_before)});
  }
  const auto count = [](const std::string& neurons) {
    return neurons == "all" ? 1e9 : std::strtod(neurons.c_str(), nullptr);
  };
  std::ranges::sort(sweep, {}, [&](const Swept& one) {
    return std::tuple(one.setting.lambda1, one.setting.lambda2, count(one.setting.neurons));
  });
  return sweep;
}

ReportTable sweep_table(const ReportInput& input, const std::vector<Swept>& sweep) {
  ReportTable table = make_table(
      "update-sweep", "Sweep over strength and number of neurons",
      "The paper's setting is lambda1 = 1, lambda2 = 8, all neurons. These are other facts than "
      "those reported above.",
      "Rates as above; n neurons are those that pass the most prompts.",
      {{"lambda1", CellFormat::kText},
       {"lambda2", CellFormat::kText},
       {"neurons", CellFormat::kText},
       {"facts edited", CellFormat::kCount},
       {"own: change rate", CellFormat::kPercent},
       {"own: success rate", CellFormat::kPercent},
       {"held-out: change rate", CellFormat::kPercent},
       {"held-out: success rate", CellFormat::kPercent},
       {"other facts of the relation: rise of perplexity", CellFormat::kSignedPercent}});
  for (const Swept& one : sweep) {
    table.rows.push_back(
        {text_cell(csv_number(one.setting.lambda1)), text_cell(csv_number(one.setting.lambda2)),
         text_cell(one.setting.neurons), number_cell(one.own.edits), interval_cell(one.own.change),
         interval_cell(one.own.success), interval_cell(one.held_out.change),
         interval_cell(one.held_out.success), interval_cell(one.same.relative)});
  }
  if (table.rows.empty()) table.skipped = missing_reason(input, "update");
  return table;
}

/// One parameter's line through the setting that most others share the rest with.
Chart sweep_chart(const std::vector<Swept>& sweep, size_t parameter) {
  constexpr std::array<const char*, 3> kNames = {"lambda1", "lambda2", "n"};
  const auto value = [&](const Setting& setting) {
    const std::array<std::string, 3> all = {std::to_string(setting.lambda1),
                                            std::to_string(setting.lambda2), setting.neurons};
    return all[parameter];
  };
  const auto rest = [&](const Setting& setting) {
    std::array<std::string, 3> all = {std::to_string(setting.lambda1),
                                      std::to_string(setting.lambda2), setting.neurons};
    all[parameter].clear();
    return all;
  };
  std::map<std::array<std::string, 3>, std::vector<const Swept*>> lines;
  for (const Swept& one : sweep) lines[rest(one.setting)].push_back(&one);
  const auto longest =
      std::ranges::max_element(lines, {}, [](const auto& line) { return line.second.size(); });
  Chart chart;
  chart.id = std::string("update-sweep-") + kNames[parameter] + "-chart";
  chart.title =
      std::string("Sweep over ") + (parameter == 2 ? "the number of neurons" : kNames[parameter]);
  chart.kind = parameter == 2 ? ChartKind::kBars : ChartKind::kLines;
  chart.x = {parameter == 2 ? "neurons" : std::string(kNames[parameter]) + " (no unit)", false,
             false};
  chart.y = {"rate (%)", false, true};
  if (longest == lines.end() || longest->second.size() < 2) return chart;
  const std::vector<const Swept*>& line = longest->second;
  const Setting& first = line.front()->setting;
  const std::array<std::string, 3> settings = {"lambda1 = " + csv_number(first.lambda1),
                                               "lambda2 = " + csv_number(first.lambda2),
                                               "neurons: " + first.neurons};
  chart.meaning = "The other settings stay as they are: ";
  for (size_t s = 0, shown = 0; s < settings.size(); ++s) {
    if (s != parameter) chart.meaning += (shown++ > 0 ? ", " : "") + settings[s];
  }
  using Get = const Interval& (*)(const Swept&);
  const std::array<std::pair<const char*, Get>, 4> series = {
      std::pair<const char*, Get>{"own: change rate",
                                  [](const Swept& s) -> const Interval& { return s.own.change; }},
      {"own: success rate", [](const Swept& s) -> const Interval& { return s.own.success; }},
      {"held-out: change rate",
       [](const Swept& s) -> const Interval& { return s.held_out.change; }},
      {"held-out: success rate",
       [](const Swept& s) -> const Interval& { return s.held_out.success; }}};
  for (const Swept* one : line) chart.categories.push_back(value(one->setting));
  for (const auto& [name, get] : series) {
    ChartSeries out{name, {}};
    for (size_t i = 0; i < line.size(); ++i) {
      const double x = parameter == 0   ? line[i]->setting.lambda1
                       : parameter == 1 ? line[i]->setting.lambda2
                                        : static_cast<double>(i);
      out.points.push_back({x, 0, get(*line[i])});
    }
    chart.series.push_back(std::move(out));
  }
  if (parameter != 2) chart.categories.clear();
  return chart;
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

ReportSection update_section(const ReportInput& input) {
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
    return section;
  }
  section.blocks.emplace_back(rates_table(input, edits, false));
  Chart chart = rates_chart(input, edits);
  if (!chart.categories.empty()) section.blocks.emplace_back(std::move(chart));
  section.blocks.emplace_back(difference_table(input, edits));
  section.blocks.emplace_back(perplexity_table(input, edits));
  section.blocks.emplace_back(prior_table(input, edits));
  section.blocks.emplace_back(rates_table(input, edits, true));
  const std::vector<Swept> sweep = read_sweep(input, edits);
  section.blocks.emplace_back(sweep_table(input, sweep));
  for (size_t parameter = 0; parameter < 3; ++parameter) {
    Chart swept = sweep_chart(sweep, parameter);
    if (!swept.series.empty()) section.blocks.emplace_back(std::move(swept));
  }
  return section;
}

}  // namespace engram
