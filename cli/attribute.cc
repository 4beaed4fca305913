#include "cli/attribute.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/paths.h"
#include "cli/picture.h"
#include "cli/predict.h"
#include "cli/ranking.h"
#include "engram/base/file.h"
#include "engram/base/interrupt.h"
#include "engram/text/prompt.h"

namespace engram::cli {
namespace {

constexpr const char* kAttributeHelp =
    R"(Which neurons an answer comes from: a score for every neuron of the feed-forward
layers, at the mask of one prompt.

The default score is the paper's knowledge attribution (Dai et al. 2022): with F
the probability of the answer when all neurons of a layer are scaled by t, the
score of a neuron is its activation times the integral of F's gradient over t from
0 to 1. A layer's scores sum to F(a) - F(0), what the whole layer contributes; the
difference is shown as the gap. Quadrature nodes are added per layer until gap and
scores are good to --tolerance.

An answer of several tokens still takes one [MASK]: the program expands it,
and the score is that of the mean log P over the masks.

Examples:
  engram attribute models/engram-base --prompt "The capital of France is [MASK]." \
                   --answer Paris
  engram attribute models/engram-base --prompt "The capital of France is [MASK]." \
                   --predicted --target logit-diff:London --picture france.html
)";

std::string target_text(const AttributeOptions& options, size_t masks) {
  if (masks > 1) return "mean log P over " + std::to_string(masks) + " masks";
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

/// The target by the name that --target takes; answers of several tokens have one of their own.
std::string target_key(const AttributeOptions& options, size_t masks) {
  if (masks > 1) return "mean-logprob";
  std::string key(target_name(options.attribution.target));
  if (options.attribution.target == Target::kLogitDifference) key += ":" + options.contrast;
  return key;
}

std::string method_text(const AttributionOptions& options) {
  std::string text(score_name(options.score));
  if (options.score == Score::kIntegratedGradients)
    text += " by " + std::string(rule_name(options.rule));
  return text;
}

/// Everything about the prompt that is attributed.
struct Subject {
  TokenizedPrompt prompt;
  std::string answer;
  std::string mask;  ///< as it stands in the user's prompt
  std::vector<int64_t> contrast;
  int64_t rank = 0;  ///< of the answer among all tokens; 0 for several tokens
};

/// The likeliest token that is a word: no special token and no padding row of the embedding.
int64_t top_answer(const Tokenizer& tokenizer, const at::Tensor& probabilities) {
  for (const Prediction& guess : top_predictions(probabilities, probabilities.numel())) {
    if (guess.id < tokenizer.vocabulary() && !tokenizer.is_special(guess.id)) return guess.id;
  }
  throw InputError("the vocabulary holds special tokens only");
}

Subject make_subject(const LoadedModel& loaded, const AttributeOptions& options) {
  const Tokenizer& tokenizer = loaded.tokenizer;
  const int64_t max_tokens = loaded.model.config().max_tokens();
  Subject subject;
  subject.mask = "[MASK]";
  if (options.prompt.find(subject.mask) == std::string::npos) subject.mask = tokenizer.mask_token();
  // The prompt by itself first, so that messages name the option that is at fault.
  subject.prompt = encode_prompt(tokenizer, options.prompt, 1, max_tokens, "--prompt");
  if (options.predicted) {
    subject.prompt.answer = {
        top_answer(tokenizer, answer_probabilities(loaded.model, subject.prompt))};
    subject.answer = tokenizer.decode(subject.prompt.answer, false);
    subject.answer.erase(0, subject.answer.find_first_not_of(' '));
  } else {
    const auto ids = answer_ids(tokenizer, options.prompt, options.answer, "--answer");
    if (const std::string one =
            one_token_spelling(tokenizer, options.prompt, options.answer, "--answer");
        !one.empty()) {
      note(options.common, "the answer \"" + options.answer + "\" is " +
                               std::to_string(ids.size()) + " tokens of this model; \"" + one +
                               "\" is one");
    }
    subject.prompt = encode_prompt(tokenizer, options.prompt, static_cast<int64_t>(ids.size()),
                                   max_tokens, "--prompt");
    subject.prompt.answer = ids;
    subject.answer = options.answer;
  }
  if (options.attribution.target == Target::kLogitDifference) {
    subject.contrast = answer_ids(tokenizer, options.prompt, options.contrast, "--target");
    if (subject.prompt.answer.size() != 1 || subject.contrast.size() != 1) {
      const bool answer = subject.prompt.answer.size() != 1;
      const std::string one = one_token_spelling(
          tokenizer, options.prompt, answer ? subject.answer : options.contrast, "--target");
      throw InputError(
          std::string("--target logit-diff: \"") + (answer ? subject.answer : options.contrast) +
          "\" has " +
          std::to_string(answer ? subject.prompt.answer.size() : subject.contrast.size()) +
          " tokens, expected answers of one token" +
          (one.empty() ? "" : " such as \"" + one + "\""));
    }
    if (subject.contrast == subject.prompt.answer) {
      throw InputError("--target logit-diff: \"" + options.contrast +
                       "\" is the answer itself, expected another word");
    }
  }
  if (subject.prompt.answer.size() == 1) {
    const at::Tensor p = answer_probabilities(loaded.model, subject.prompt);
    subject.rank = 1 + p.gt(p[subject.prompt.answer.front()]).sum().item<int64_t>();
  }
  return subject;
}

struct Totals {
  double sum = 0;
  int64_t nodes = 0;
  int64_t cheap_nodes = 0;
  double gap = 0;  ///< largest gap / |delta|
  bool converged = true;
};

double relative_gap(const LayerReport& layer) {
  return layer.delta != 0 ? layer.gap / std::fabs(layer.delta) : 0;
}

Totals totals_of(const Attribution& attribution) {
  Totals totals;
  for (const LayerReport& layer : attribution.layers) {
    totals.sum += layer.sum;
    totals.nodes += layer.nodes;
    totals.cheap_nodes += layer.cheap_nodes;
    totals.gap = std::max(totals.gap, relative_gap(layer));
    totals.converged = totals.converged && layer.converged;
  }
  return totals;
}

nlohmann::ordered_json to_json(const LoadedModel& loaded, const AttributeOptions& options,
                               const Subject& subject, const Attribution& attribution) {
  using Json = nlohmann::ordered_json;
  const bool integrated = options.attribution.score == Score::kIntegratedGradients;
  Json out;
  out["schema"] = "engram.attribute/1";
  out["model"] = options.model;
  out["prompt"] = options.prompt;
  out["answer"] = subject.answer;
  out["answer_ids"] = subject.prompt.answer;
  out["predicted"] = options.predicted;
  auto& tokens = out["tokens"] = Json::array();
  for (const int64_t id : subject.prompt.ids) tokens.push_back(loaded.tokenizer.token_of(id));
  out["positions"] = subject.prompt.positions;
  out["p"] = attribution.p;
  out["f"] = attribution.f;
  out["rank"] = subject.rank > 0 ? Json(subject.rank) : Json(nullptr);
  out["target"] = target_key(options, subject.prompt.answer.size());
  out["score"] = score_name(options.attribution.score);
  out["rule"] = integrated ? Json(rule_name(options.attribution.rule)) : Json(nullptr);
  out["tolerance"] = options.attribution.tolerance;
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
  auto& neurons = out["neurons"] = Json::array();
  for (const RankedNeuron& n : rank_neurons(
           attribution, options.top.value_or(attribution.scores.numel()), RankBy::kScore)) {
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
      row.push_back(format_percent(relative_gap(l), 2));
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

std::string to_text(const LoadedModel& loaded, const AttributeOptions& options,
                    const Subject& subject, const Attribution& attribution) {
  std::string out = printable(options.prompt) + "\n";
  out += (options.predicted ? "predicted answer \"" : "answer \"") + printable(subject.answer) +
         "\"  P = " + format_number(attribution.p);
  if (subject.rank > 0) {
    out += ", rank " + format_count(subject.rank) + " of " +
           format_count(loaded.model.config().vocabulary);
  } else {
    out += " (exp of the mean log P of its " + std::to_string(subject.prompt.answer.size()) +
           " tokens)";
  }
  out += "\nscores: " + method_text(options.attribution) + " of " +
         printable(target_text(options, subject.prompt.answer.size())) + "\n\n";

  const auto ranked =
      rank_neurons(attribution, options.top.value_or(attribution.scores.numel()), RankBy::kScore);
  const double largest = ranked.empty() ? 0 : ranked.front().score;
  Table table({{"layer"}, {"neuron"}, {"score"}, {"activation"}, {"", Table::Align::kLeft}});
  for (const RankedNeuron& n : ranked) {
    table.add_row({std::to_string(n.layer), std::to_string(n.neuron), format_signed(n.score),
                   format_signed(n.activation), bar(largest > 0 ? n.score / largest : 0, 24)});
  }
  out += "Top " + format_count(static_cast<int64_t>(ranked.size())) + " of " +
         format_count(attribution.scores.numel()) + " neurons\n" + table.str();

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
  out += "\n" + part + " by layer (░ 5 %, ▒ 20 %, ▓ 50 %, █ 80 % of the largest)\n" +
         heat_map(rows, labels);

  const bool integrated = options.attribution.score == Score::kIntegratedGradients;
  out += "\nLayers\n" + layer_table(attribution, integrated);
  const Totals totals = totals_of(attribution);
  if (integrated) {
    out += "\n" + format_count(totals.nodes) + " exact and " + format_count(totals.cheap_nodes) +
           " cheap nodes, largest gap " + format_percent(totals.gap, 2) +
           (totals.converged ? "" : "; not all layers met the tolerance") + "\n";
  }
  return out;
}

/// The file name's ending decides the format; any other is refused before any work.
bool is_html(const std::string& path) {
  const auto ends = [&](std::string_view ending) {
    return path.size() > ending.size() &&
           path.compare(path.size() - ending.size(), ending.size(), ending) == 0;
  };
  if (ends(".html")) return true;
  if (ends(".svg")) return false;
  throw UsageError("--picture: got \"" + printable(path) +
                   "\", expected a name ending in .svg or .html");
}

void write_picture(const AttributeOptions& options, const Subject& subject,
                   const Attribution& attribution) {
  PictureInput input;
  input.model = options.model;
  input.prompt = options.prompt;
  input.mask = subject.mask;
  input.answer = subject.answer;
  input.method = method_text(options.attribution);
  input.target = target_text(options, subject.prompt.answer.size());
  input.attribution = &attribution;
  AtomicFile file(options.picture);
  file.write(is_html(options.picture) ? html_picture(input) : svg_picture(input));
  file.commit();
  note(options.common, "wrote " + options.picture);
}

Attribution attribute_one(const LoadedModel& loaded, const AttributeOptions& options,
                          const Subject& subject) {
  AttributionOptions how = options.attribution;
  how.threads = options.common.threads;
  how.memory_bytes = options.common.memory_bytes;
  const AttributionQuery query{subject.prompt.ids, subject.prompt.positions, subject.prompt.answer,
                               subject.contrast};
  std::unique_ptr<Progress> progress;  // the other scores take less than a second or two
  if (how.score == Score::kAblation) {
    progress = std::make_unique<Progress>(options.common.quiet, "ablating",
                                          loaded.model.config().neurons(), "neurons");
    how.on_ablated = [&](int64_t neurons) { progress->advance(neurons); };
  }
  Attribution result;
  attribute(loaded.model, std::span(&query, 1), how,
            [&](size_t, Attribution&& attribution) { result = std::move(attribution); });
  return result;
}

void run_attribute(const AttributeOptions& options) {
  if (options.answer.empty() != options.predicted) {
    throw UsageError("one of --answer WORD and --predicted is required, and not both");
  }
  if (!options.picture.empty()) is_html(options.picture);
  check_outputs({{"--picture", options.picture}}, {{"MODEL", options.model}});
  try {
    const auto start = std::chrono::steady_clock::now();
    const LoadedModel loaded = load_model(options.model, options.common);
    const auto ready = std::chrono::steady_clock::now();
    const Subject subject = make_subject(loaded, options);
    const Attribution attribution = attribute_one(loaded, options, subject);
    const auto done = std::chrono::steady_clock::now();
    if (!options.picture.empty()) write_picture(options, subject, attribution);
    if (options.common.json) {
      print_json(to_json(loaded, options, subject, attribution));
    } else {
      print(to_text(loaded, options, subject, attribution));
    }
    flush_output();
    const std::chrono::duration<double> loading = ready - start;
    const std::chrono::duration<double> working = done - ready;
    note(options.common, "loaded in " + format_duration(loading.count()) + ", attributed in " +
                             format_duration(working.count()));
  } catch (const Interrupted&) {
    throw Interrupted("nothing was written");
  }
}

}  // namespace

void add_attribution_options(CLI::App& command, AttributionOptions& options) {
  command
      .add_option_function<std::string>(
          "--score", [&options](const std::string& name) { options.score = parse_score(name); },
          "ig (default): integrated gradients, the paper's; activation: the neuron's activation, "
          "the paper's baseline; gradient-x-activation: first-order effect of switching it off; "
          "ablation: exact effect on F of switching that neuron alone off.")
      ->type_name("NAME");
  command
      .add_option_function<std::string>(
          "--rule", [&options](const std::string& name) { options.rule = parse_rule(name); },
          "Quadrature of ig: control-variate (default: the integral of a cheap model of F and few "
          "exact nodes), gauss-legendre, gauss-radau, gauss-lobatto (adaptive too), riemann-left "
          "(the paper's code), riemann-right, trapezoid, linspace.")
      ->type_name("NAME");
  add_integer(
      command, "--steps", options.steps, 1, 10'000,
      "Take exactly N nodes a layer, 1 to 10000 (trapezoid: N intervals; control-variate: N "
      "beside t = 1). Default: as many as --tolerance needs; 20 for the rules that do not "
      "adapt.");
  add_integer(command, "--max-steps", options.max_steps, 1, 10'000,
              "At most N nodes of F a layer, in all, where rules adapt. Default: 64.");
  add_number(command, "--tolerance", options.tolerance, Range{0, 1, true, true},
             "What is close enough, as a share: of the gap in |F(a) - F(0)|, and of the change of "
             "scores in the largest. Default: 0.01.");
}

void add_attribute_command(CLI::App& app) {
  auto options = std::make_shared<AttributeOptions>();
  CLI::App* command =
      add_command(app, "attribute", "which neurons an answer comes from", kAttributeHelp);
  add_path(*command, "MODEL", options->model, "Folder of the model.")->required();
  command->add_option("--prompt", options->prompt, "A sentence with one [MASK]. Required.")
      ->type_name("TEXT")
      ->required();
  command
      ->add_option("--answer", options->answer,
                   "The answer to attribute, as it would stand in the sentence.")
      ->type_name("WORD");
  command->add_flag("--predicted", options->predicted,
                    "Attribute the model's own top answer instead (special tokens left out).");
  add_attribution_options(*command, options->attribution);
  command
      ->add_option_function<std::string>(
          "--target",
          [options](const std::string& text) {
            const std::string difference = "logit-diff:";
            Target& target = options->attribution.target;
            if (text == "prob") {
              target = Target::kProbability;
            } else if (text == "logprob") {
              target = Target::kLogProbability;
            } else if (text.rfind(difference, 0) == 0 && text.size() > difference.size()) {
              target = Target::kLogitDifference;
              options->contrast = text.substr(difference.size());
            } else {
              throw CLI::ValidationError("--target: got \"" + printable(text) +
                                         "\", expected prob, logprob or logit-diff:WORD");
            }
          },
          "F, what is attributed: prob (default), the answer's P; logprob, its log; "
          "logit-diff:WORD, its logit minus that of WORD.")
      ->type_name("NAME");
  command
      ->add_option_function<std::string>(
          "--top",
          [options](const std::string& text) {
            options->top.reset();
            if (text == "all") return;
            try {
              options->top = parse_integer(text, 1, 1'000'000'000, "--top");
            } catch (const UsageError& error) {
              throw CLI::ValidationError(std::string(error.what()) + " or all");
            }
          },
          "How many neurons to print, by score; all prints every one. Default: 20.")
      ->type_name("N|all");
  add_path(*command, "--picture", options->picture,
           "Also draw the scores into FILE, self-contained, by its name .svg or .html.")
      ->type_name("FILE");
  add_common_options(*command, options->common, {.seed = false});
  command->callback([options] { run_attribute(*options); });
}

}  // namespace engram::cli
