#include "cli/attribute_output.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engram/base/utf8.h"

namespace engram::cli {
namespace {

/// The target by the name that --target takes; answers of several tokens have one of their own.
std::string target_key(const AttributeOptions& options, size_t masks) {
  if (masks > 1) return "mean-logprob";
  std::string key(target_name(options.attribution.target));
  if (options.attribution.target == Target::kLogitDifference) key += ":" + options.contrast;
  return key;
}

struct Totals {
  double sum = 0;
  int64_t nodes = 0;
  int64_t cheap_nodes = 0;
  double gap = 0;  ///< largest gap / |delta|
  bool converged = true;
};

/// A layer's gap as the stopping rule takes it (METHOD section 2): beside |F(a) - F(0)|, or where
/// that nearly vanishes a thousandth of P.
double relative_gap(const Attribution& attribution, const LayerReport& layer) {
  const double scale = std::max(std::fabs(layer.delta), 1e-3 * attribution.p);
  return scale > 0 ? layer.gap / scale : 0;
}

Totals totals_of(const Attribution& attribution) {
  Totals totals;
  for (const LayerReport& layer : attribution.layers) {
    totals.sum += layer.sum;
    totals.nodes += layer.nodes;
    totals.cheap_nodes += layer.cheap_nodes;
    totals.gap = std::max(totals.gap, relative_gap(attribution, layer));
    totals.converged = totals.converged && layer.converged;
  }
  return totals;
}

std::string layer_table(const Attribution& attribution, bool integrated) {
  double largest = 0;
  for (const LayerReport& l : attribution.layers) largest = std::max(largest, std::fabs(l.sum));
  // The other scores are not meant to sum to F(a) - F(0).
  std::vector<Table::Column> columns{{"layer"}, {"F(a)-F(0)"}, {"sum"}};
  if (integrated) {
    columns.insert(columns.end(), {{"gap"}, {"gap %"}, {"nodes"}, {"cheap"}, {"est. error"}});
  }
  columns.push_back({"|sum|", Table::Align::kLeft});
  Table table(columns);
  for (size_t i = attribution.layers.size(); i-- > 0;) {
    const LayerReport& l = attribution.layers[i];
    std::vector<std::string> row{std::to_string(i), format_signed(l.delta), format_signed(l.sum)};
    if (integrated) {
      row.push_back(format_number(l.gap, 3));
      row.push_back(format_percent(relative_gap(attribution, l), 2));
      row.push_back(std::to_string(l.nodes));
      row.push_back(std::to_string(l.cheap_nodes));
      row.push_back(std::isnan(l.estimated_error) ? "-" : format_number(l.estimated_error, 3));
    }
    row.push_back(bar(largest > 0 ? std::fabs(l.sum) / largest : 0, 16) +
                  (l.converged || !integrated ? "" : " not converged"));
    table.add_row(row);
  }
  return table.str();
}

/// The neuron with the least score, if that is negative and not among `ranked`: what suppresses the
/// answer most would otherwise stay unseen.
std::string most_negative_text(const Attribution& attribution,
                               const std::vector<RankedNeuron>& ranked) {
  const at::Tensor scores = attribution.scores.flatten();
  const auto at = scores.argmin().item<int64_t>();
  const int64_t d_ff = attribution.scores.size(1);
  const auto score = scores[at].item<float>();
  const bool listed = std::ranges::any_of(
      ranked, [&](const RankedNeuron& n) { return n.layer == at / d_ff && n.neuron == at % d_ff; });
  if (listed || score >= 0) return "";
  return "  most negative: neuron " + std::to_string(at / d_ff) + ":" + std::to_string(at % d_ff) +
         ", " + format_signed(score) + " (--by magnitude lists negative ones, too)\n";
}

std::string neuron_table(const AttributeOptions& options, const Attribution& attribution) {
  const int64_t all = attribution.scores.numel();
  const auto ranked = rank_neurons(attribution, options.top.value_or(all), options.by);
  const bool by_score = options.by == RankBy::kScore;
  const auto size_of = [&](const RankedNeuron& n) {
    return by_score ? n.score : std::fabs(n.score);
  };
  const double largest = ranked.empty() ? 0 : size_of(ranked.front());
  Table table({{"layer"}, {"neuron"}, {"score"}, {"activation"}, {"", Table::Align::kLeft}});
  for (const RankedNeuron& n : ranked) {
    table.add_row({std::to_string(n.layer), std::to_string(n.neuron), format_signed(n.score),
                   format_signed(n.activation), bar(largest > 0 ? size_of(n) / largest : 0, 24)});
  }
  return "Top " + format_count(static_cast<int64_t>(ranked.size())) + " of " + format_count(all) +
         " neurons" + (by_score ? "" : " by |score|") + "\n" + table.str() +
         most_negative_text(attribution, ranked);
}

std::string score_map(const Attribution& attribution) {
  const at::Tensor scores = attribution.scores.contiguous();
  const int64_t d_ff = scores.size(1);
  constexpr int64_t kBins = 64;
  std::vector<std::vector<double>> rows;
  std::vector<std::string> labels;
  for (int64_t layer = 0; layer < scores.size(0); ++layer) {
    rows.push_back(largest_per_bin(scores.const_data_ptr<float>() + layer * d_ff, d_ff, kBins));
    labels.push_back(std::to_string(layer));
  }
  const std::string part =
      d_ff <= kBins
          ? "|score| of every neuron"
          : "Largest |score| of every " + format_count((d_ff + kBins - 1) / kBins) + " neurons";
  return part + " by layer (░ 5 %, ▒ 20 %, ▓ 50 %, █ 80 % of the largest)\n" +
         heat_map(rows, labels);
}

}  // namespace

std::string target_text(const AttributeOptions& options, const Subject& subject) {
  const size_t tokens = subject.prompt.answer.size();
  if (tokens > 1) {
    return "mean log P over " + std::to_string(tokens) + (subject.causal ? " tokens" : " masks");
  }
  switch (options.attribution.target) {
    case Target::kProbability:
      return "P";
    case Target::kLogProbability:
      return "log P";
    case Target::kLogitDifference:
      return "logit minus that of " + options.contrast;
  }
  return "";
}

nlohmann::ordered_json attribute_json(const LoadedModel& loaded, const AttributeOptions& options,
                                      const Subject& subject, const Attribution& attribution) {
  using Json = nlohmann::ordered_json;
  const bool integrated = score_method(options.attribution.score).integrates;
  Json out;
  out["schema"] = "engram.attribute/1";
  out["model"] = options.model;
  out["prompt"] = subject.text;
  out["answer"] = subject.answer;
  out["answer_ids"] = subject.prompt.answer;
  out["predicted"] = options.predicted;
  auto& tokens = out["tokens"] = Json::array();
  for (const int64_t id : subject.prompt.ids) tokens.push_back(loaded.tokenizer.token_of(id));
  out["positions"] = subject.prompt.positions;
  if (subject.prompt.neurons_at) out["neurons_at"] = *subject.prompt.neurons_at;
  out["p"] = attribution.p;
  out["f"] = attribution.f;
  out["rank"] = subject.prompt.answer.size() == 1 ? Json(attribution.rank) : Json(nullptr);
  out["target"] = target_key(options, subject.prompt.answer.size());
  out["score"] = score_name(options.attribution.score);
  out["rule"] = rule_json(options.attribution);
  out["tolerance"] = options.attribution.integration.tolerance;
  auto& layers = out["layers"] = Json::array();
  for (size_t i = 0; i < attribution.layers.size(); ++i) {
    const LayerReport& l = attribution.layers[i];
    layers.push_back({{"layer", i},
                      {"delta", l.delta},
                      {"sum", l.sum},
                      {"gap", l.gap},
                      {"nodes", l.nodes},
                      {"cheap_nodes", l.cheap_nodes},
                      {"estimated_error", l.estimated_error},
                      {"converged", integrated ? Json(l.converged) : Json(nullptr)}});
  }
  out["by"] = options.by == RankBy::kScore ? "score" : "magnitude";
  auto& neurons = out["neurons"] = Json::array();
  for (const RankedNeuron& n :
       rank_neurons(attribution, options.top.value_or(attribution.scores.numel()), options.by)) {
    neurons.push_back({{"layer", n.layer},
                       {"neuron", n.neuron},
                       {"score", n.score},
                       {"activation", n.activation}});
  }
  const Totals totals = totals_of(attribution);
  out["totals"] = {{"neurons", attribution.scores.numel()},
                   {"sum", totals.sum},
                   {"nodes", totals.nodes},
                   {"cheap_nodes", totals.cheap_nodes},
                   {"largest_relative_gap", totals.gap},
                   {"converged", integrated ? Json(totals.converged) : Json(nullptr)}};
  return out;
}

std::string attribute_text(const LoadedModel& loaded, const AttributeOptions& options,
                           const Subject& subject, const Attribution& attribution) {
  std::string out = printable(subject.text) + "\n";
  out += (options.predicted ? "predicted answer \"" : "answer \"") + printable(subject.answer) +
         "\"  P = " + format_number(attribution.p);
  if (subject.prompt.answer.size() == 1) {
    out += ", rank " + format_count(attribution.rank) + " of " +
           format_count(loaded.model.config().vocabulary);
  } else {
    out += " (exp of the mean log P of its " + std::to_string(subject.prompt.answer.size()) +
           " tokens)";
  }
  out += "\nscores: " + method_text(options.attribution.score, options.attribution.integration) +
         " of " + printable(target_text(options, subject)) + "\n";
  if (subject.prompt.neurons_at) {
    const int64_t id = subject.prompt.ids[static_cast<size_t>(*subject.prompt.neurons_at)];
    out += "neurons at the subject's last token, \"" + printable(loaded.tokenizer.token_of(id)) +
           "\"\n";
  }
  out += "\n";

  out += neuron_table(options, attribution) + "\n" + score_map(attribution);

  const bool integrated = score_method(options.attribution.score).integrates;
  out += "\nLayers\n" + layer_table(attribution, integrated);
  const Totals totals = totals_of(attribution);
  if (integrated) {
    out += "\n" + format_count(totals.nodes) + " exact and " + format_count(totals.cheap_nodes) +
           " cheap nodes, largest gap " + format_percent(totals.gap, 2) +
           (totals.converged ? "" : "; not all layers met the tolerance") + "\n";
  }
  return out;
}

}  // namespace engram::cli
