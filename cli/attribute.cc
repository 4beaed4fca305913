#include "cli/attribute.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/attribute_output.h"
#include "cli/attribute_subject.h"
#include "cli/paths.h"
#include "cli/picture.h"
#include "cli/score_file.h"
#include "engram/base/file.h"
#include "engram/base/interrupt.h"
#include "engram/base/utf8.h"

namespace engram::cli {
namespace {

constexpr const char* kAttributeHelp =
    R"(Which neurons an answer comes from: a score for every neuron of the feed-forward
layers, at the mask of one prompt. Of a causal model: at the prompt's last token,
from which the answer goes on.

The default score is the paper's knowledge attribution (Dai et al. 2022): with F
the probability of the answer when all neurons of a layer are scaled by t, the
score of a neuron is its activation times the integral of F's gradient over t from
0 to 1. A layer's scores sum to F(a) - F(0), what the whole layer contributes; the
difference is shown as the gap. Quadrature nodes are added per layer until gap and
scores are good to --tolerance.

An answer of several tokens still takes one [MASK]: the program expands it,
and the score is that of the mean log P over the masks. A causal model reads the
answer's tokens but the last, and its neurons count at every token that predicts
one of the answer's.

With --at subject the neurons at the last token of the subject are scored instead,
where the ROME method edits: what they write reaches the answer through attention.

The prompt of a causal model needs no mask. A [MASK] or [Y] in it stands last, but
for punctuation, which is cut.

Several prompts go together: repeat --prompt and --answer, or name a file with
--prompts. --json then prints one line for each.

Examples:
  engram attribute models/engram-base --prompt "The capital of France is [MASK]." \
                   --answer Paris --by magnitude
  engram attribute models/engram-base --prompts prompts.jsonl --scores scores.npy
  engram attribute models/engram-base --prompt "The capital of France is [MASK]." \
                   --answer Paris --at subject --subject France
  engram attribute models/engram-base --prompt "The capital of France is [MASK]." \
                   --predicted --target logit-diff:London --picture france.html
)";

/// The ending decides the format; any other is refused before any work.
void check_score_name(const std::string& path) {
  if (path.ends_with(".npy") || path.ends_with(".safetensors")) return;
  throw UsageError("--scores: got \"" + printable(path) +
                   "\", expected a name ending in .npy or .safetensors");
}

void write_picture(const AttributeOptions& options, const Subject& subject,
                   const Attribution& attribution) {
  PictureInput input;
  input.model = options.model;
  input.prompt = subject.text;
  input.mask = subject.mask;
  input.answer = subject.answer;
  input.method = method_text(options.attribution.score, options.attribution.integration);
  input.target = target_text(options, subject);
  input.theme = options.theme;
  input.attribution = &attribution;
  AtomicFile file(options.picture);
  file.write(make_picture(input, picture_format(options.picture)));
  file.commit();
  note(options.common, "wrote " + options.picture);
}

/// Attributes `subjects` and hands on each with its index, in their order.
void attribute_all(const LoadedModel& loaded, const AttributeOptions& options,
                   const std::vector<Subject>& subjects,
                   const std::function<void(size_t, const Attribution&)>& use) {
  AttributionOptions how = options.attribution;
  how.threads = options.common.threads;
  how.memory_bytes = options.common.memory_bytes;
  const bool ablation = how.score == Score::kAblation;
  const auto count = static_cast<int64_t>(subjects.size());
  std::unique_ptr<Progress> progress;  // the other scores of one prompt take a second or two
  if (ablation) {
    progress = std::make_unique<Progress>(options.common.quiet, "ablating",
                                          count * loaded.model.config().neurons(), "neurons");
    how.on_ablated = [&](int64_t neurons) { progress->advance(neurons); };
  } else if (count > 1) {
    progress = std::make_unique<Progress>(options.common.quiet, "attributing", count, "prompts");
  }
  // In blocks, so that memory is bounded: results come in any order and are wanted in ours.
  constexpr size_t kBlock = 64;
  for (size_t begin = 0; begin < subjects.size(); begin += kBlock) {
    const size_t end = std::min(subjects.size(), begin + kBlock);
    std::vector<Cloze> clozes;
    for (size_t i = begin; i < end; ++i) clozes.push_back(subjects[i].prompt);
    std::vector<Attribution> results(clozes.size());
    attribute(loaded.model, clozes, how, [&](size_t i, Attribution&& attribution) {
      results[i] = std::move(attribution);
      if (progress && !ablation) progress->advance();
    });
    if (end == subjects.size()) progress.reset();
    for (size_t i = 0; i < results.size(); ++i) use(begin + i, results[i]);
  }
}

std::vector<Subject> make_subjects(const LoadedModel& loaded, const AttributeOptions& options,
                                   const std::vector<AskedPrompt>& asked) {
  std::vector<Subject> subjects;
  for (const AskedPrompt& one : asked) {
    Interrupt::check();
    subjects.push_back(make_subject(loaded, options, one));
  }
  return subjects;
}

void run_attribute(const AttributeOptions& options) {
  if (!options.picture.empty()) picture_format(options.picture);
  if (!options.scores.empty()) check_score_name(options.scores);
  const std::string file = options.prompts_file == "-" ? "" : options.prompts_file;
  const std::vector<AskedPrompt> asked = asked_prompts(options);
  check_outputs({{"--picture", options.picture}, {"--scores", options.scores}},
                {{"MODEL", options.model}, {"--prompts", file}});
  if (!options.picture.empty() && asked.size() > 1) {
    throw UsageError("--picture: got " + format_count(static_cast<int64_t>(asked.size())) +
                     " prompts, expected one: a picture shows one prompt");
  }
  try {
    const auto start = std::chrono::steady_clock::now();
    const LoadedModel loaded = load_model(options.model, options.common);
    const auto ready = std::chrono::steady_clock::now();
    const std::vector<Subject> subjects = make_subjects(loaded, options, asked);
    std::unique_ptr<ScoreFile> scores;
    const ModelConfig& config = loaded.model.config();
    if (!options.scores.empty()) {
      scores = std::make_unique<ScoreFile>(options.scores, config.layers, config.d_ff);
    }
    attribute_all(loaded, options, subjects, [&](size_t i, const Attribution& attribution) {
      if (scores) scores->write_row(static_cast<int64_t>(i), attribution.scores);
      if (!options.picture.empty()) write_picture(options, subjects[i], attribution);
      if (options.common.json) {
        print_json(attribute_json(loaded, options, subjects[i], attribution));
      } else {
        print((i > 0 ? "\n" : "") + attribute_text(loaded, options, subjects[i], attribution));
      }
    });
    if (scores) {
      scores->commit(static_cast<int64_t>(subjects.size()), subjects.size() == 1);
      note(options.common, "wrote " + options.scores);
    }
    flush_output();
    const std::chrono::duration<double> loading = ready - start;
    const std::chrono::duration<double> working = std::chrono::steady_clock::now() - ready;
    note(options.common, "loaded in " + format_duration(loading.count()) + ", attributed in " +
                             format_duration(working.count()));
  } catch (const Interrupted&) {
    throw Interrupted("no file was written");
  }
}

/// The list of scores, for --help.
std::string score_help() {
  std::string text;
  for (const ScoreMethod& method : score_methods()) {
    text += text.empty() ? "" : "; ";
    text += method.name;
    if (!method.other_name.empty()) text += ", or " + std::string(method.other_name);
    if (method.score == Score::kIntegratedGradients) text += " (default)";
    text += ": " + std::string(method.meaning);
  }
  return text + ".";
}

}  // namespace

void add_attribution_options(CLI::App& command, AttributionOptions& options) {
  command
      .add_option_function<std::string>(
          "--score", [&options](const std::string& name) { options.score = parse_score(name); },
          score_help())
      ->type_name("NAME");
  command
      .add_option_function<std::string>(
          "--rule",
          [&options](const std::string& name) { options.integration.rule = parse_rule(name); },
          "Quadrature of ig: control-variate (default: the integral of a cheap model of F and few "
          "exact nodes), gauss-legendre, gauss-radau, gauss-lobatto (adaptive too), riemann-left "
          "(the paper's code), riemann-right, trapezoid, linspace.")
      ->type_name("NAME");
  add_integer(
      command, "--steps", options.integration.steps, 1, 10'000,
      "Take exactly N nodes a layer, 1 to 10000 (trapezoid: N intervals; control-variate: N "
      "beside t = 1). Default: as many as --tolerance needs; 20 for the rules that do not "
      "adapt.");
  command.add_flag(
      "--interpolate", options.integration.interpolate,
      "Of riemann-left, riemann-right, trapezoid and linspace: take the sum over the "
      "steps from few nodes, within the tolerance of what a node at every step gives.");
  add_integer(command, "--max-steps", options.integration.max_steps, 1, 10'000,
              "At most N nodes of F a layer, in all, where rules adapt. Default: 64.");
  add_number(command, "--tolerance", options.integration.tolerance, Range{0, 1, true, true},
             "What is close enough, as a share: of the gap in |F(a) - F(0)|, and of the change of "
             "scores in the largest. Default: 0.01.");
}

void add_neuron_place(CLI::App& command, NeuronPlace& place) {
  add_choice(command, "--at", place,
             {{"answer", NeuronPlace::kAnswer}, {"subject", NeuronPlace::kSubject}},
             "At which token neurons are read and changed: answer (default), where the answer is "
             "asked, or subject, the last token of the fact's subject.");
}

nlohmann::ordered_json rule_json(const AttributionOptions& options) {
  if (!score_method(options.score).integrates) return nullptr;
  return rule_name(options.integration.rule);
}

void add_attribute_command(CLI::App& app) {
  auto options = std::make_shared<AttributeOptions>();
  CLI::App* command =
      add_command(app, "attribute", "which neurons an answer comes from", kAttributeHelp);
  add_model(*command, options->model, "Folder of the model.")->required();
  command
      ->add_option(
          "--prompt", options->prompts,
          "A sentence with one [MASK], or one that the answer ends; may be given several times.")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  command
      ->add_option("--answer", options->answers,
                   "The answer to attribute, as it would stand in the sentence: one for each "
                   "--prompt, or one for all of them.")
      ->type_name("WORD")
      ->allow_extra_args(false);
  add_path(*command, "--prompts", options->prompts_file,
           "Prompts from a file instead (- is stdin): JSON Lines of {\"prompt\", \"answer\"} and, "
           "for --at subject, \"subject\"; or lines of text, each a prompt or a prompt, a tab and "
           "its answer.")
      ->type_name("FILE");
  command->add_flag("--predicted", options->predicted,
                    "Attribute the model's own top answer instead (special tokens left out).");
  add_neuron_place(*command, options->at);
  command
      ->add_option("--subject", options->subjects,
                   "With --at subject: the subject as the sentence writes it, one for each "
                   "--prompt, or one for all of them.")
      ->type_name("WORDS")
      ->allow_extra_args(false);
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
          "How many neurons to print; all prints every one. Default: 20.")
      ->type_name("N|all");
  add_choice(*command, "--by", options->by,
             {{"score", RankBy::kScore}, {"magnitude", RankBy::kMagnitude}},
             "What neurons are printed by: score (default: the largest), or magnitude, the largest "
             "|score|, negative ones among them.");
  add_path(*command, "--scores", options->scores,
           "Also write all scores to FILE, float32 [prompts, layers, neurons] ([layers, neurons] "
           "of one prompt), by its name .npy (NumPy) or .safetensors.")
      ->type_name("FILE");
  add_path(*command, "--picture", options->picture,
           "Also draw the scores of the one prompt into FILE, by its name .svg or .html "
           "(self-contained), .png or .pdf (these by the program "
           "rsvg-convert).")
      ->type_name("FILE");
  add_choice(
      *command, "--theme", options->theme,
      {{"auto", Theme::kAuto}, {"light", Theme::kLight}, {"dark", Theme::kDark}},
      "Colours of the picture: light, dark, or auto (default), which follows the viewer where "
      "the format can.");
  add_common_options(*command, options->common, {.seed = false});
  command->callback([options] { run_attribute(*options); });
}

}  // namespace engram::cli
