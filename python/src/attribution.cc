// Attribution of prompts, and its picture.
#include "engram/attribution/attribution.h"

#include <nanobind/stl/optional.h>

#include <string>
#include <utility>
#include <vector>

#include "call.h"
#include "cli/attribute_output.h"
#include "cli/attribute_subject.h"
#include "cli/picture.h"
#include "engram/text/subject.h"
#include "options.h"
#include "parts.h"
#include "prompts.h"
#include "tensor.h"

namespace nb = nanobind;

namespace engram::python {
namespace {

using cli::LoadedModel;

/// delta, sum, gap, nodes, shared nodes, nodes of the control variate, estimated error, converged.
using LayerTuple = std::tuple<double, double, double, int64_t, int64_t, int64_t, double, bool>;

LayerTuple tuple_of_layer(const LayerReport& layer) {
  return {layer.delta,           layer.sum,          layer.gap,
          layer.nodes,           layer.shared_nodes, layer.cheap_nodes,
          layer.estimated_error, layer.converged};
}

/// What attribute() gives: scores and activations [prompts, layers, d_ff], and what is known of
/// each prompt.
nb::dict attribute_prompts(const LoadedModel& loaded, const std::vector<std::string>& prompts,
                           const std::vector<std::string>& answers,
                           const std::vector<std::string>& subjects, const nb::dict& given,
                           const nb::object& progress) {
  cli::AttributeOptions options;
  options.common.quiet = true;
  options.prompts = prompts;
  options.answers = answers;
  options.subjects = subjects;
  options.predicted = answers.empty();
  Options reader(given);
  take_attribution(reader, options.attribution);
  reader.text("at", [&](const std::string& name) { options.at = parse_neuron_place(name); });
  reader.text("target", [&](const std::string& name) {
    options.attribution.target = name == "prob"      ? Target::kProbability
                                 : name == "logprob" ? Target::kLogProbability
                                                     : Target::kLogitDifference;
  });
  reader.take("contrast", options.contrast);
  reader.done();
  const std::function<void(int64_t)> advance = progress_of(progress);
  const bool ablation = options.attribution.score == Score::kAblation;
  if (ablation && advance) options.attribution.on_ablated = advance;

  std::vector<cli::Subject> asked;
  std::vector<Attribution> results;
  at::Tensor scores;
  at::Tensor activations;
  call([&] {
    std::vector<Cloze> clozes;
    for (const cli::AskedPrompt& one : cli::asked_prompts(options)) {
      asked.push_back(cli::make_subject(loaded, options, one));
      clozes.push_back(asked.back().prompt);
    }
    const ModelConfig& config = loaded.model.config();
    const auto count = static_cast<int64_t>(clozes.size());
    scores = at::empty({count, config.layers, config.d_ff}, at::kFloat);
    activations = at::empty_like(scores);
    results.resize(clozes.size());
    attribute(loaded.model, clozes, options.attribution, [&](size_t i, Attribution&& result) {
      scores[static_cast<int64_t>(i)].copy_(result.scores);
      activations[static_cast<int64_t>(i)].copy_(result.activations);
      results[i] = std::move(result);
      results[i].scores.reset();
      results[i].activations.reset();
      if (advance && !ablation) advance(1);
    });
  });

  nb::list each;
  for (size_t i = 0; i < results.size(); ++i) {
    const Attribution& result = results[i];
    const cli::Subject& subject = asked[i];
    std::vector<LayerTuple> layers;
    for (const LayerReport& layer : result.layers) layers.push_back(tuple_of_layer(layer));
    nb::dict one;
    one["prompt"] = subject.text;
    one["answer"] = subject.answer;
    one["mask"] = subject.mask;
    one["ids"] = subject.prompt.ids;
    one["tokens"] = loaded.tokenizer.tokens_of(subject.prompt.ids);
    one["positions"] = subject.prompt.positions;
    one["neuron_positions"] = subject.prompt.neurons_at
                                  ? std::vector<int64_t>{*subject.prompt.neurons_at}
                                  : subject.prompt.positions;
    one["answer_ids"] = subject.prompt.answer;
    one["p"] = result.p;
    one["f"] = result.f;
    one["rank"] = result.rank;
    one["layers"] = layers;
    one["target_text"] = cli::target_text(options, subject);
    each.append(one);
  }
  nb::dict out;
  out["scores"] = plain(scores);
  out["activations"] = plain(activations);
  out["each"] = each;
  out["method"] = method_text(options.attribution.score, options.attribution.integration);
  return out;
}

/// The picture of the command, from what attribute_prompts() said of a prompt.
nb::bytes picture(const at::Tensor& scores, const at::Tensor& activations, const nb::dict& one,
                  const std::string& model, const std::string& method, const std::string& format,
                  const std::string& theme) {
  Attribution attribution;
  attribution.scores = scores.contiguous();
  attribution.activations = activations.contiguous();
  attribution.p = nb::cast<double>(one["p"]);
  attribution.f = nb::cast<double>(one["f"]);
  attribution.rank = nb::cast<int64_t>(one["rank"]);
  for (const LayerTuple& layer : nb::cast<std::vector<LayerTuple>>(one["layers"])) {
    LayerReport& report = attribution.layers.emplace_back();
    std::tie(report.delta, report.sum, report.gap, report.nodes, report.shared_nodes,
             report.cheap_nodes, report.estimated_error, report.converged) = layer;
  }
  cli::PictureInput input;
  input.model = model;
  input.prompt = nb::cast<std::string>(one["prompt"]);
  input.mask = nb::cast<std::string>(one["mask"]);
  input.answer = nb::cast<std::string>(one["answer"]);
  input.target = nb::cast<std::string>(one["target_text"]);
  input.method = method;
  input.theme = theme == "light"  ? cli::Theme::kLight
                : theme == "dark" ? cli::Theme::kDark
                                  : cli::Theme::kAuto;
  input.attribution = &attribution;
  const std::string drawn =
      call([&] { return cli::make_picture(input, cli::picture_format("picture." + format)); });
  return nb::bytes(drawn.data(), drawn.size());
}

}  // namespace

void add_attribution(nb::module_& module) {
  module.def("attribute", attribute_prompts, nb::arg("model"), nb::arg("prompts"),
             nb::arg("answers"), nb::arg("subjects"), nb::arg("options"),
             nb::arg("progress").none());
  module.def("picture", picture, nb::arg("scores"), nb::arg("activations"), nb::arg("one"),
             nb::arg("model"), nb::arg("method"), nb::arg("format"), nb::arg("theme"));
  module.def("score_methods", [] {
    nb::list out;
    for (const ScoreMethod& method : score_methods()) {
      out.append(nb::make_tuple(std::string(method.name), std::string(method.other_name),
                                std::string(method.meaning)));
    }
    return out;
  });
  module.def("attribution_defaults", [] {
    const AttributionOptions how;
    nb::dict out;
    out["score"] = std::string(score_name(how.score));
    out["rule"] = std::string(rule_name(how.integration.rule));
    out["steps"] = how.integration.steps;
    out["interpolate"] = how.integration.interpolate;
    out["max_steps"] = how.integration.max_steps;
    out["tolerance"] = how.integration.tolerance;
    out["target"] = std::string(target_name(how.target));
    out["threads"] = how.threads;
    return out;
  });
}

}  // namespace engram::python
