// How the effects of interventions are shown: tables for people, JSON for machines.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <tuple>

#include "cli/intervene.h"

namespace engram::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<const char*, kScopes> kScopeTitles = {
    "own prompts",     "held-out prompts", "same relation",  "  same object", "  other object",
    "other relations", "  same object",    "  other object", "ordinary text"};
constexpr std::array<const char*, kSources> kSourceTitles = {
    "located", "random: layer",  "+ activation, value",    "+ gradient",
    "next",    "another fact's", "activation, same number"};
/// In a sentence: "the located neurons do more than ...".
constexpr std::array<const char*, kSources> kSourceWords = {
    "",
    "random neurons of the same layers",
    "random neurons alike in activation and value norm",
    "random neurons alike in activation, value norm and activation x gradient",
    "the next neurons by activation x gradient",
    "another fact's neurons",
    "as many of the most active neurons"};

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json interval(const Interval& i) {
  return {{"value", number(i.value)}, {"low", number(i.low)}, {"high", number(i.high)}};
}

Json metrics(const std::array<Interval, kMetrics>& values) {
  Json out;
  for (size_t m = 0; m < kMetrics; ++m) {
    out[metric_name(static_cast<Metric>(m))] = interval(values[m]);
  }
  return out;
}

Json state(const EffectRow::State& s) {
  return {{"log_odds", number(s.log_odds)},
          {"p", number(s.p)},
          {"log_p", number(s.log_p)},
          {"accuracy", number(s.accuracy)},
          {"rank", number(s.rank)}};
}

/// A number that is rounded to nothing has no sign: "0.0 %", not "-0.0 %".
std::string without_lone_sign(std::string text) {
  if (text.find_first_of("123456789") == std::string::npos && text.find_first_of("+-") == 0 &&
      text.size() > 1) {
    text.erase(0, 1);
  }
  return text;
}

std::string signed_percent(double value) {
  return without_lone_sign((value > 0 ? "+" : "") + format_percent(value));
}

std::string signed_number(double value, int digits) {
  return std::isnan(value) ? "-" : format_signed(value, digits);
}

/// Where nothing could be resampled, the interval's place has a dash (see kNoInterval).
bool has_interval(const Interval& i) { return !std::isnan(i.low) && !std::isnan(i.high); }

constexpr const char* kNoInterval = "[-]: no interval, for fewer than 10 objects have a fact\n";

/// "-9.4 % [-11.0, -7.9]".
std::string percent_text(const Interval& i) {
  if (std::isnan(i.value)) return "-";
  if (!has_interval(i)) return signed_percent(i.value) + " [-]";
  const auto bare = [](double value) {
    std::string text = signed_percent(value);
    return text.substr(0, text.size() - 2);
  };
  return signed_percent(i.value) + " [" + bare(i.low) + ", " + bare(i.high) + "]";
}

std::string number_text(const Interval& i) {
  if (std::isnan(i.value)) return "-";
  if (!has_interval(i)) return signed_number(i.value, 3) + " [-]";
  return signed_number(i.value, 3) + " [" + signed_number(i.low, 2) + ", " +
         signed_number(i.high, 2) + "]";
}

std::string value_text(double value, int digits = 3) {
  return std::isnan(value) ? "-" : format_number(value, digits);
}

bool has_controls(const EffectReport& report) { return report.matching[0].sets > 0; }

/// The sources that were tried on some fact.
std::vector<size_t> tried_sources(const EffectReport& report) {
  std::vector<size_t> sources = {kLocated};
  for (size_t c = 0; c < kControls; ++c) {
    if (report.matching[c].sets > 0) sources.push_back(c + 1);
  }
  return sources;
}

/// Rows as they are shown: scope by scope, its groups together.
std::vector<const EffectRow*> shown_rows(const EffectReport& report, const EffectOptions& options) {
  std::vector<const EffectRow*> rows;
  for (size_t scope = 0; scope < kScopes; ++scope) {
    for (const EffectRow& row : report.rows) {
      if (static_cast<size_t>(row.scope) != scope || row.facts == 0) continue;
      if (options.known_only && row.group != FactGroup::kKnown) continue;
      rows.push_back(&row);
    }
  }
  return rows;
}

std::vector<std::string> row_labels(const EffectRow& row) {
  return {kScopeTitles[static_cast<size_t>(row.scope)], group_name(row.group)};
}

using Cell = std::string (*)(const Interval&);

double before_of(const EffectRow& row, Metric metric) {
  switch (metric) {
    case Metric::kLogOdds:
      return row.before.log_odds;
    case Metric::kLogP:
      return row.before.log_p;
    default:
      return row.before.p;
  }
}

/// One metric: a row per scope and group, a column per source.
std::string metric_table(const EffectReport& report, const EffectOptions& options, Metric metric,
                         Cell cell) {
  const auto m = static_cast<size_t>(metric);
  // Known prompts are others than those whose mean P the other tables show.
  const bool known = metric == Metric::kMeanOfRatios;
  const bool by_relation = metric == Metric::kRatioOfMeans;
  std::vector<Table::Column> columns{{"", Table::Align::kLeft}, {"which", Table::Align::kLeft}};
  if (by_relation) columns.push_back({"relations"});
  columns.push_back({"facts"});
  if (!known) columns.insert(columns.end(), {{"prompts"}, {"before"}});
  for (const size_t s : tried_sources(report)) columns.push_back({kSourceTitles[s]});
  Table table(columns);
  for (const EffectRow* row : shown_rows(report, options)) {
    std::vector<std::string> cells = row_labels(*row);
    if (by_relation) cells.push_back(format_count(row->relations));
    cells.push_back(format_count(known ? row->known : row->facts));
    if (!known) {
      cells.push_back(format_count(row->prompts));
      cells.push_back(metric == Metric::kAccuracy ? format_percent(row->before.accuracy)
                                                  : value_text(before_of(*row, metric)));
    }
    for (const size_t s : tried_sources(report)) cells.push_back(cell(row->change[s][m]));
    table.add_row(cells);
  }
  return table.str();
}

std::string difference_table(const EffectReport& report, const EffectOptions& options) {
  Table table({{"", Table::Align::kLeft},
               {"which", Table::Align::kLeft},
               {"minus", Table::Align::kLeft},
               {"difference"},
               {"p"},
               {"p (Holm)"},
               {"draws as strong"}});
  for (const EffectRow* row : shown_rows(report, options)) {
    for (const size_t s : tried_sources(report)) {
      if (s == kLocated) continue;
      const Interval& difference = row->difference[s - 1][static_cast<size_t>(Metric::kLogOdds)];
      if (std::isnan(difference.value)) continue;
      std::vector<std::string> cells = row_labels(*row);
      const bool random = s <= kRandomGradient;
      const int64_t strong = random ? row->draws_as_strong[s - kRandomLayer] : -1;
      cells.insert(cells.end(),
                   {kSourceTitles[s], number_text(difference), value_text(difference.p),
                    value_text(row->holm[s - 1]), strong < 0 ? "" : format_count(strong)});
      table.add_row(cells);
    }
  }
  return table.str();
}

std::string rank_table(const EffectReport& report, const EffectOptions& options) {
  std::vector<Table::Column> columns{
      {"", Table::Align::kLeft}, {"which", Table::Align::kLeft}, {"before"}};
  for (const size_t s : tried_sources(report)) columns.push_back({kSourceTitles[s]});
  Table table(columns);
  for (const EffectRow* row : shown_rows(report, options)) {
    std::vector<std::string> cells = row_labels(*row);
    cells.push_back(value_text(row->before.rank));
    for (const size_t s : tried_sources(report)) {
      cells.push_back(
          value_text(row->after[s].rank) + "  (x " +
          value_text(std::exp(row->change[s][static_cast<size_t>(Metric::kLogRank)].value)) + ")");
    }
    table.add_row(cells);
  }
  return table.str();
}

std::string sets_table(const EffectReport& report) {
  Table table({{"", Table::Align::kLeft},
               {"sets"},
               {"neurons"},
               {"of the fact's own"},
               {"without counterpart"},
               {"activation"},
               {"value norm"},
               {"activation x gradient"}});
  for (const size_t s : tried_sources(report)) {
    if (s == kLocated) continue;
    const SetMatch& match = report.matching[s - 1];
    table.add_row({kSourceTitles[s], value_text(match.sets), value_text(match.neurons),
                   value_text(match.overlap), format_count(static_cast<int64_t>(match.missing)),
                   signed_number(match.difference[0], 3), signed_number(match.difference[1], 3),
                   signed_number(match.difference[2], 3)});
  }
  return table.str();
}

/// The row on which the verdict stands: held-out prompts where there are some.
const EffectRow* decisive_row(const EffectReport& report, FactGroup group) {
  const EffectRow* held_out = report.row(Scope::kHeldOut, group);
  return held_out != nullptr && held_out->facts > 0 ? held_out : report.row(Scope::kOwn, group);
}

/// One control: "do more than random neurons ...".
std::string comparison(const EffectRow& row, size_t source) {
  const auto m = static_cast<size_t>(Metric::kLogOdds);
  const Interval& difference = row.difference[source - 1][m];
  if (std::isnan(difference.value)) return "";
  // Not even one of them does anything that is more than rounding: nothing to compare.
  const double located = row.change[kLocated][m].value;
  const double other = row.change[source][m].value;
  if (std::abs(located) <= kNoChange && std::abs(other) <= kNoChange) return "";
  if (!has_interval(difference)) {
    return std::string("  against ") + kSourceWords[source] + ": " + number_text(difference) + "\n";
  }
  std::string word = "no more and no less than";
  if (difference.low > kNoChange || difference.high < -kNoChange) {
    const bool along = (difference.value < 0) == (located < 0);
    word = along && std::abs(located) > kNoChange ? "more than" : "less than";
  }
  return "  " + word + " " + kSourceWords[source] + ": " + number_text(difference) + ", p " +
         value_text(row.holm[source - 1]) + "\n";
}

}  // namespace

std::string effect_verdict(const EffectReport& report, const EffectOptions& options) {
  const auto m = static_cast<size_t>(Metric::kLogOdds);
  const FactGroup first = options.known_only ? FactGroup::kKnown : FactGroup::kAll;
  const EffectRow* row = decisive_row(report, first);
  const bool held_out = row->scope == Scope::kHeldOut;
  std::string out = held_out ? "On held-out prompts" : "On own prompts (nothing is held out)";
  out += " the answer's log-odds change by " + number_text(row->change[kLocated][m]) +
         " (P: " + percent_text(row->change[kLocated][static_cast<size_t>(Metric::kRatioOfMeans)]) +
         ", ratio of means; accuracy: " +
         percent_text(row->change[kLocated][static_cast<size_t>(Metric::kAccuracy)]) + ")\n";
  if (!options.known_only) {
    for (const FactGroup group : {FactGroup::kKnown, FactGroup::kNever}) {
      const EffectRow* of_group = decisive_row(report, group);
      if (of_group->facts == 0) continue;
      out += std::string(group == FactGroup::kKnown ? "  facts that the model knows ("
                                                    : "  facts that it never gives (") +
             format_count(of_group->facts) + "): " + number_text(of_group->change[kLocated][m]) +
             "\n";
    }
  }
  std::string compared;
  for (size_t s = 1; s < kSources; ++s) compared += comparison(*row, s);
  if (!compared.empty()) {
    out += "The located neurons do (located minus other; p adjusted by Holm)\n" + compared;
  }
  if (has_controls(report) && options.draws > 0) {
    out += "p by the rank among random draws: at least 1/" + format_count(options.draws + 1) +
           " with " + format_count(options.draws) + " draws\n";
  }
  if (out.find("[-]") != std::string::npos) out += kNoInterval;
  return out;
}

std::string effect_tables(const EffectReport& report, const EffectOptions& options) {
  std::string out =
      "Change of log-odds: log(P / (1 - P)), mean over a fact's prompts, then over "
      "facts, empty sets included\n" +
      metric_table(report, options, Metric::kLogOdds, number_text);
  if (has_controls(report)) {
    out += "\nThe same, located minus other neurons\n" + difference_table(report, options) +
           "\nThe other sets, and (located - other) in standard deviations of the layer\n" +
           sets_table(report);
  }
  out +=
      "\nChange of P: ratio of means per relation, mean over the relations, empty sets "
      "included\n" +
      metric_table(report, options, Metric::kRatioOfMeans, percent_text);
  out += "\nChange of P over prompts known before (P at least " + json_text(Json(options.known_p)) +
         ", rank at most " + format_count(options.known_rank) + "): mean of the facts' ratios\n" +
         metric_table(report, options, Metric::kMeanOfRatios, percent_text);
  out += "\nChange of log P\n" + metric_table(report, options, Metric::kLogP, number_text);
  out += "\nChange of accuracy (the answer is the top one)\n" +
         metric_table(report, options, Metric::kAccuracy, percent_text);
  out += "\nRank of the answer, geometric mean\n" + rank_table(report, options);
  const bool no_interval = out.find("[-]") != std::string::npos;
  return no_interval ? out + "\n" + kNoInterval : out;
}

namespace {

Json answer(const ShownAnswer& a) {
  return {{"log_odds", number(a.log_odds)},
          {"p", number(a.p)},
          {"top", number(a.top)},
          {"rank", number(a.rank)}};
}

/// Before, and after by source that was tried.
void add_answers(const ShownAnswer& before, const std::array<ShownAnswer, kSources>& after,
                 Json& out) {
  out["before"] = answer(before);
  for (size_t s = 0; s < kSources; ++s) {
    if (!std::isnan(after[s].p)) out[source_name(s)] = answer(after[s]);
  }
}

}  // namespace

Json fact_effects_json(const EffectReport& report, const std::vector<FactName>& names) {
  Json facts = Json::array();
  std::vector<size_t> order;
  for (const FactEffect& one : report.details) {
    if (order.empty() || order.back() != one.fact) order.push_back(one.fact);
  }
  std::vector<Json> of(names.size());
  for (const FactEffect& one : report.details) {
    Json& fact = of[one.fact];
    if (fact.is_null()) {
      const FactName& name = names[one.fact];
      const char* group = one.group == FactGroup::kAll ? "sometimes" : group_name(one.group);
      fact = {{"relation", name.relation}, {"subject", name.subject},
              {"object", name.object},     {"group", group},
              {"scopes", Json::array()},   {"prompts", Json::array()}};
    }
    Json line = {{"scope", scope_name(one.scope)}, {"prompts", one.prompts}};
    add_answers(one.before, one.after, line);
    fact["scopes"].push_back(std::move(line));
  }
  std::vector<const PromptEffect*> prompts;
  for (const PromptEffect& one : report.prompts) prompts.push_back(&one);
  std::ranges::sort(prompts, {}, [](const PromptEffect* one) {
    return std::tuple(one->fact, one->held_out, one->prompt);
  });
  for (const PromptEffect* one : prompts) {
    if (of[one->fact].is_null()) continue;
    const FactName& name = names[one->fact];
    Json line = {{"prompt", (one->held_out ? name.held_out : name.prompts).at(one->prompt)},
                 {"held_out", one->held_out}};
    add_answers(one->before, one->after, line);
    of[one->fact]["prompts"].push_back(std::move(line));
  }
  for (const size_t f : order) facts.push_back(std::move(of[f]));
  return facts;
}

Json effect_json(const EffectReport& report, const EffectOptions& options) {
  Json out;
  out["facts"] = report.facts;
  out["empty"] = report.empty;
  out["witnesses"] = report.witnesses;
  out["trials"] = report.trials;
  Json& rows = out["scopes"] = Json::array();
  for (const EffectRow& row : report.rows) {
    if (options.known_only && row.group != FactGroup::kKnown) continue;
    Json line = {{"scope", scope_name(row.scope)}, {"group", group_name(row.group)},
                 {"relations", row.relations},     {"facts", row.facts},
                 {"prompts", row.prompts},         {"known", row.known},
                 {"before", state(row.before)}};
    for (const size_t s : tried_sources(report)) {
      Json& source = line[source_name(s)];
      source = {{"after", state(row.after[s])}, {"change", metrics(row.change[s])}};
      if (s == kLocated) continue;
      source["located_minus"] = metrics(row.difference[s - 1]);
      source["p"] = number(row.difference[s - 1][static_cast<size_t>(Metric::kLogOdds)].p);
      source["p_holm"] = number(row.holm[s - 1]);
      const int64_t draws = s <= kRandomGradient ? row.draws_as_strong[s - kRandomLayer] : -1;
      source["draws_as_strong"] = draws >= 0 ? Json(draws) : Json(nullptr);
    }
    rows.push_back(std::move(line));
  }
  Json& relations = out["relations"] = Json::array();
  for (const RelationEffect& relation : report.relations) {
    const auto values = [&](const RelationEffect::Values& of) {
      Json list;
      for (const size_t s : tried_sources(report)) {
        list[source_name(s)] = {{"log_odds", number(of.log_odds[s])},
                                {"ratio_of_means", number(of.ratio[s])}};
      }
      return list;
    };
    relations.push_back({{"relation", relation.relation},
                         {"facts", relation.facts},
                         {"empty", relation.empty},
                         {"own", values(relation.own)},
                         {"held_out", values(relation.held_out)}});
  }
  Json& sets = out["sets"] = Json::array();
  for (const size_t s : tried_sources(report)) {
    if (s == kLocated) continue;
    const SetMatch& match = report.matching[s - 1];
    sets.push_back({{"source", source_name(s)},
                    {"sets", number(match.sets)},
                    {"neurons", number(match.neurons)},
                    {"overlap", number(match.overlap)},
                    {"missing", number(match.missing)},
                    {"difference",
                     {{"activation", number(match.difference[0])},
                      {"value_norm", number(match.difference[1])},
                      {"activation_x_gradient", number(match.difference[2])}}}});
  }
  return out;
}

}  // namespace engram::cli
