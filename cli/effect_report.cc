// How the effects of interventions are shown: tables for people, JSON for machines.
#include <cmath>
#include <nlohmann/json.hpp>

#include "cli/intervene.h"

namespace engram::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<const char*, kScopes> kScopeTitles = {
    "own prompts",     "held-out prompts", "same relation",  "  same object", "  other object",
    "other relations", "  same object",    "  other object", "ordinary text"};
constexpr std::array<const char*, kSources> kSourceTitles = {"located", "random: layer",
                                                             "+ activation, value", "+ gradient"};

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
  return {{"p", number(s.p)},
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

constexpr const char* kNoInterval =
    "[-]: no interval, for there are fewer than two groups of facts (a relation's facts with one "
    "object) to resample\n";

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

std::vector<Table::Column> source_columns(std::vector<Table::Column> columns, bool random) {
  for (size_t s = 0; s < (random ? kSources : 1); ++s) columns.push_back({kSourceTitles[s]});
  return columns;
}

using Cell = std::string (*)(const Interval&);

/// One metric: a row per scope, a column per source.
std::string metric_table(const EffectReport& report, Metric metric, bool random, Cell cell) {
  const auto m = static_cast<size_t>(metric);
  // Known prompts are others than those whose mean P the other tables show.
  const bool known = metric == Metric::kMeanOfRatios;
  const bool by_relation = metric == Metric::kRatioOfMeans;
  std::vector<Table::Column> columns{{"", Table::Align::kLeft}};
  if (by_relation) columns.push_back({"relations"});
  columns.push_back({known ? "known facts" : "facts"});
  if (!known) columns.insert(columns.end(), {{"prompts"}, {"before"}});
  Table table(source_columns(columns, random));
  for (const EffectRow& row : report.rows) {
    if (row.facts == 0) continue;
    std::vector<std::string> cells = {kScopeTitles[static_cast<size_t>(row.scope)]};
    if (by_relation) cells.push_back(format_count(row.relations));
    cells.push_back(format_count(known ? row.known : row.facts));
    if (!known) {
      cells.push_back(format_count(row.prompts));
      cells.push_back(metric == Metric::kLogP       ? value_text(row.before.log_p)
                      : metric == Metric::kAccuracy ? format_percent(row.before.accuracy)
                                                    : value_text(row.before.p));
    }
    for (size_t s = 0; s < (random ? kSources : 1); ++s) cells.push_back(cell(row.change[s][m]));
    table.add_row(cells);
  }
  return table.str();
}

std::string difference_table(const EffectReport& report) {
  Table table({{"", Table::Align::kLeft},
               {kSourceTitles[1]},
               {kSourceTitles[2]},
               {kSourceTitles[3]},
               {"random draws as strong", Table::Align::kLeft}});
  for (const EffectRow& row : report.rows) {
    if (row.facts == 0) continue;
    std::vector<std::string> cells = {kScopeTitles[static_cast<size_t>(row.scope)]};
    for (const auto& difference : row.difference) cells.push_back(percent_text(difference[0]));
    std::string draws;
    for (const int64_t count : row.draws_as_strong) {
      if (count >= 0) draws += (draws.empty() ? "" : " / ") + format_count(count);
    }
    cells.push_back(draws);
    table.add_row(cells);
  }
  return table.str();
}

std::string rank_table(const EffectReport& report, bool random) {
  Table table(source_columns({{"", Table::Align::kLeft}, {"before"}}, random));
  for (const EffectRow& row : report.rows) {
    if (row.facts == 0) continue;
    std::vector<std::string> cells = {kScopeTitles[static_cast<size_t>(row.scope)],
                                      value_text(row.before.rank)};
    for (size_t s = 0; s < (random ? kSources : 1); ++s) {
      cells.push_back(
          value_text(row.after[s].rank) + "  (x " +
          value_text(std::exp(row.change[s][static_cast<size_t>(Metric::kLogRank)].value)) + ")");
    }
    table.add_row(cells);
  }
  return table.str();
}

/// What the intervals say about located against matched random neurons, in words.
std::string verdict(const EffectReport& report) {
  const EffectRow& held_out = report.rows[static_cast<size_t>(Scope::kHeldOut)];
  const EffectRow& row =
      held_out.facts > 0 ? held_out : report.rows[static_cast<size_t>(Scope::kOwn)];
  const std::string where =
      held_out.facts > 0 ? "On held-out prompts" : "On own prompts (nothing is held out)";
  std::string out;
  for (size_t s = 0; s + 1 < kSources; ++s) {
    const Interval& difference = row.difference[s][0];
    if (std::isnan(difference.value) || std::isnan(difference.low)) continue;
    // Not even one of them does anything that is more than rounding: nothing to compare.
    const double located = row.change[0][0].value;
    const double random = row.change[s + 1][0].value;
    if (std::abs(located) <= kNoChange && std::abs(random) <= kNoChange) continue;
    std::string word = "do no more and no less than";
    if (difference.low > kNoChange || difference.high < -kNoChange) {
      const bool along = (difference.value < 0) == (located < 0);
      word = along && std::abs(located) > kNoChange ? "do more than" : "do less than";
    }
    out += where + " the located neurons " + word + " random ones of equal " +
           (s == 0   ? "layer"
            : s == 1 ? "layer, activation and value norm"
                     : "layer, activation, value norm and gradient") +
           ": difference " + percent_text(difference) + "\n";
  }
  return out;
}

}  // namespace

std::string effect_tables(const EffectReport& report, const EffectOptions& options) {
  const bool random = options.draws > 0;
  std::string out =
      "Change of P: ratio of means per relation, mean over the relations, "
      "empty sets included\n" +
      metric_table(report, Metric::kRatioOfMeans, random, percent_text);
  if (random) {
    out += "\nThe same, located minus matched random neurons\n" + difference_table(report) + "\n" +
           verdict(report);
  }
  out += "\nChange of P over prompts known before (P at least " + json_text(Json(options.known_p)) +
         ", rank at most " + format_count(options.known_rank) + "): mean of the facts' ratios\n" +
         metric_table(report, Metric::kMeanOfRatios, random, percent_text);
  out += "\nChange of log P\n" + metric_table(report, Metric::kLogP, random, number_text);
  out += "\nChange of accuracy (the answer is the top one)\n" +
         metric_table(report, Metric::kAccuracy, random, percent_text);
  out += "\nRank of the answer, geometric mean\n" + rank_table(report, random);
  const bool no_interval = out.find("[-]") != std::string::npos;
  return no_interval ? out + "\n" + kNoInterval : out;
}

Json effect_json(const EffectReport& report, const EffectOptions& options) {
  Json out;
  out["facts"] = report.facts;
  out["empty"] = report.empty;
  out["witnesses"] = report.witnesses;
  out["trials"] = report.trials;
  Json& rows = out["scopes"] = Json::array();
  for (const EffectRow& row : report.rows) {
    Json line = {{"scope", scope_name(row.scope)},
                 {"relations", row.relations},
                 {"facts", row.facts},
                 {"prompts", row.prompts},
                 {"known", row.known},
                 {"before", state(row.before)}};
    for (size_t s = 0; s < kSources; ++s) {
      if (s > 0 && options.draws == 0) break;
      Json& source = line[source_name(s)];
      source = {{"after", state(row.after[s])}, {"change", metrics(row.change[s])}};
      if (s > 0) {
        source["located_minus_random"] = metrics(row.difference[s - 1]);
        const int64_t draws = row.draws_as_strong[s - 1];
        source["draws_as_strong"] = draws >= 0 ? Json(draws) : Json(nullptr);
      }
    }
    rows.push_back(std::move(line));
  }
  Json& relations = out["relations"] = Json::array();
  for (const RelationEffect& relation : report.relations) {
    Json own;
    Json held_out;
    for (size_t s = 0; s < (options.draws > 0 ? kSources : 1); ++s) {
      own[source_name(s)] = number(relation.own[s]);
      held_out[source_name(s)] = number(relation.held_out[s]);
    }
    relations.push_back({{"relation", relation.relation},
                         {"facts", relation.facts},
                         {"empty", relation.empty},
                         {"own", own},
                         {"held_out", held_out}});
  }
  Json& matching = out["matching"] = Json::array();
  for (size_t s = 0; s + 1 < kSources && options.draws > 0; ++s) {
    matching.push_back({{"source", source_name(s + 1)},
                        {"weakened", report.weakened[s]},
                        {"missing", report.missing[s]}});
  }
  return out;
}

}  // namespace engram::cli
