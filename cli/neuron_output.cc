#include "cli/neuron_output.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>

#include "cli/pieces.h"
#include "engram/base/utf8.h"

namespace engram::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kShownBins = 20;
constexpr int64_t kShownAround = 16;  // tokens of a text on either side of the extreme one

Json trigger_json(const Tokenizer& tokenizer, const Trigger& trigger) {
  Json tokens = Json::array();
  for (size_t i = 0; i < trigger.ids.size(); ++i) {
    tokens.push_back({tokenizer.token_of(trigger.ids[i]), trigger.values[i]});
  }
  return {{"activation", trigger.activation},
          {"line", trigger.line},
          {"at", trigger.at},
          {"text", running_text(tokenizer, trigger.ids)},
          {"tokens", std::move(tokens)}};
}

Json activity_json(const Tokenizer& tokenizer, const OpenedNeuron& opened) {
  const Activity& activity = *opened.activity;
  const Distribution& spread = activity.distribution;
  Json out{{"corpus", opened.corpus}};
  for (const auto& [name, value] : {std::pair{"lines", activity.counts.lines},
                                    {"windows", activity.counts.windows},
                                    {"words", activity.counts.words},
                                    {"tokens", spread.count()},
                                    {"not_finite", spread.not_finite()},
                                    {"cut", activity.counts.cut},
                                    {"skipped", activity.counts.skipped}}) {
    out[name] = value;
  }
  out["mean"] = spread.mean();
  out["deviation"] = spread.deviation();
  out["least"] = spread.least();
  out["largest"] = spread.largest();
  out["share_positive"] = spread.share_positive();
  Json& quantiles = out["quantiles"] = Json::array();
  for (const double share : told_shares()) quantiles.push_back({share, spread.quantile(share)});
  Json& histogram = out["histogram"] = Json::array();
  for (const Distribution::Bin& bin : spread.bins(2 * kShownBins)) {
    histogram.push_back({{"low", bin.low}, {"high", bin.high}, {"tokens", bin.count}});
  }
  for (const auto& [name, list] : {std::pair{"most", &activity.most}, {"least", &activity.least}}) {
    Json& triggers = out[std::string(name) + "_active"] = Json::array();
    for (const Trigger& one : *list) triggers.push_back(trigger_json(tokenizer, one));
  }
  return out;
}

Json neighbours_json(const Tokenizer& tokenizer, const std::vector<NeighbourRow>& rows) {
  Json out = Json::array();
  for (const NeighbourRow& row : rows) {
    out.push_back({{"layer", row.neighbour.neuron.layer},
                   {"neuron", row.neighbour.neuron.neuron},
                   {"cosine", row.neighbour.cosine},
                   {"raises", tokenizer.tokens_of(row.tokens)}});
  }
  return out;
}

/// A text around its extreme token, which is in brackets with its activation; other tokens at least
/// half as active are in brackets, too.
std::string shown_trigger(const Tokenizer& tokenizer, const Trigger& trigger) {
  const auto count = static_cast<int64_t>(trigger.ids.size());
  const int64_t begin = std::max<int64_t>(0, trigger.at - kShownAround);
  const int64_t end = std::min(count, trigger.at + kShownAround + 1);
  std::string out = begin > 0 ? "…" : "";
  for (int64_t i = begin; i < end; ++i) {
    const auto place = static_cast<size_t>(i);
    const Piece piece = piece_of(tokenizer, trigger.ids[place]);
    if (piece.begins && !out.empty()) out += ' ';
    const std::string text = printable(piece.text);
    const double share = trigger.activation == 0 ? 0 : trigger.values[place] / trigger.activation;
    if (i == trigger.at) {
      out += "[" + text + " " + format_number(trigger.activation, 3) + "]";
    } else if (share >= 0.5 && !text.empty()) {
      out += "[" + text + "]";
    } else {
      out += text;
    }
  }
  return out + (end < count ? "…" : "");
}

std::string activity_text(const Tokenizer& tokenizer, const OpenedNeuron& opened) {
  const Activity& activity = *opened.activity;
  const Distribution& spread = activity.distribution;
  std::string out;
  for (const auto& [title, list] :
       {std::pair{"Most active", &activity.most}, {"Least active", &activity.least}}) {
    out += "\n" + std::string(title) + "\n";
    for (const Trigger& one : *list) {
      out += "  " + format_signed(one.activation, 3) + "  line " + format_count(one.line) + "  " +
             shown_trigger(tokenizer, one) + "\n";
    }
  }
  out += "\nActivation on " + format_count(spread.count(), "token") + " (" +
         format_count(activity.counts.words, "word") + ", " +
         format_count(activity.counts.lines, "line") +
         ")\n  above 0: " + format_percent(spread.share_positive()) + ", mean " +
         format_signed(spread.mean(), 3) + ", standard deviation " +
         format_number(spread.deviation(), 3) + ", from " + format_signed(spread.least(), 3) +
         " to " + format_signed(spread.largest(), 3) + "\n  ";
  for (const double share : told_shares()) {
    out += (share == told_shares().front() ? "" : ", ") + format_percent(share, 0) + " below " +
           format_signed(spread.quantile(share), 3);
  }
  out += "\n\n";
  const std::vector<Distribution::Bin> bins = spread.bins(kShownBins);
  int64_t most = 0;
  for (const Distribution::Bin& bin : bins) most = std::max(most, bin.count);
  Table table({{"from"}, {"to"}, {"tokens"}, {"", Table::Align::kLeft}});
  for (const Distribution::Bin& bin : bins) {
    table.add_row({format_signed(bin.low, 3), format_signed(bin.high, 3), format_count(bin.count),
                   bar(static_cast<double>(bin.count) / static_cast<double>(most), 40)});
  }
  return out + table.str();
}

std::string neighbours_text(const Tokenizer& tokenizer, const std::string& title,
                            const std::vector<NeighbourRow>& rows) {
  Table table({{"neuron"}, {"cosine"}, {"its value raises", Table::Align::kLeft}});
  for (const NeighbourRow& row : rows) {
    std::string tokens;
    for (const int64_t id : row.tokens) {
      tokens += (tokens.empty() ? "" : " ") + shorten(printable(tokenizer.token_of(id)), 20);
    }
    table.add_row(
        {neuron_name(row.neighbour.neuron), format_signed(row.neighbour.cosine, 3), tokens});
  }
  return "\n" + title + "\n" + table.str();
}

std::string facts_text(const OpenedNeuron& opened) {
  constexpr size_t kMost = 20;
  std::string out = "\nIn the sets of " + format_count(static_cast<int64_t>(opened.holds.size())) +
                    " of " + format_count(opened.facts, "located fact") + "\n";
  if (opened.holds.empty()) return out;
  Table table({{"relation", Table::Align::kLeft},
               {"subject", Table::Align::kLeft},
               {"object", Table::Align::kLeft},
               {"", Table::Align::kLeft}});
  for (size_t i = 0; i < std::min(kMost, opened.holds.size()); ++i) {
    const HeldFact& fact = opened.holds[i];
    table.add_row({shorten(printable(fact.relation), 24), shorten(printable(fact.subject), 32),
                   shorten(printable(fact.object), 24), fact.refined ? "" : "not refined"});
  }
  out += table.str();
  if (opened.holds.size() > kMost) {
    out += "  and " + format_count(static_cast<int64_t>(opened.holds.size() - kMost)) +
           " more (--json and --html list all)\n";
  }
  return out;
}

}  // namespace

const std::vector<double>& told_shares() {
  static const std::vector<double> shares{0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99};
  return shares;
}

Json neuron_json(const NeuronCommandOptions& options, const LoadedModel& loaded,
                 const OpenedNeuron& opened) {
  const Tokenizer& tokenizer = loaded.tokenizer;
  Json out;
  out["schema"] = "engram.neuron/1";
  out["version"] = ENGRAM_VERSION;
  out["model"] = options.model;
  out["layer"] = opened.id.layer;
  out["neuron"] = opened.id.neuron;
  out["key_norm"] = opened.norms.key;
  out["gate_norm"] = opened.norms.gate;
  out["value_norm"] = opened.norms.value;
  for (const auto& [name, list] :
       {std::pair{"raises", &opened.raised}, {"lowers", &opened.lowered}}) {
    Json& tokens = out[name] = Json::array();
    for (const ValueToken& one : *list) {
      tokens.push_back({{"token", tokenizer.token_of(one.id)},
                        {"id", one.id},
                        {"logit", one.logit},
                        {"p", one.p}});
    }
  }
  out["near_by_key"] = neighbours_json(tokenizer, opened.by_key);
  out["near_by_value"] = neighbours_json(tokenizer, opened.by_value);
  out["activity"] = nullptr;
  if (opened.activity) out["activity"] = activity_json(tokenizer, opened);
  out["located_facts"] = nullptr;
  out["facts"] = nullptr;
  if (opened.located) {
    out["located_facts"] = opened.facts;
    Json& facts = out["facts"] = Json::array();
    for (const HeldFact& fact : opened.holds) {
      facts.push_back({{"relation", fact.relation},
                       {"subject", fact.subject},
                       {"object", fact.object},
                       {"refined", fact.refined}});
    }
  }
  return out;
}

std::string neuron_text(const LoadedModel& loaded, const OpenedNeuron& opened) {
  const Tokenizer& tokenizer = loaded.tokenizer;
  std::string out = "neuron " + neuron_name(opened.id) + "  length of its key " +
                    format_number(opened.norms.key, 3);
  if (!std::isnan(opened.norms.gate)) {
    out += ", of the gate's " + format_number(opened.norms.gate, 3);
  }
  out += ", of its value " + format_number(opened.norms.value, 3) + "\n\nIts value\n";
  Table value({{"raises", Table::Align::kLeft},
               {"logit"},
               {"P"},
               {"lowers", Table::Align::kLeft},
               {"logit"}});
  for (size_t i = 0; i < std::min(opened.raised.size(), opened.lowered.size()); ++i) {
    const ValueToken& up = opened.raised[i];
    const ValueToken& down = opened.lowered[i];
    value.add_row({shorten(printable(tokenizer.token_of(up.id)), 24), format_signed(up.logit, 3),
                   format_number(up.p, 3), shorten(printable(tokenizer.token_of(down.id)), 24),
                   format_signed(down.logit, 3)});
  }
  out += value.str();
  out += neighbours_text(tokenizer, "Neurons with a similar key", opened.by_key);
  out += neighbours_text(tokenizer, "Neurons with a similar value", opened.by_value);
  if (opened.located) out += facts_text(opened);
  if (opened.activity) out += activity_text(tokenizer, opened);
  return out;
}

}  // namespace engram::cli
