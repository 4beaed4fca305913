#include "cli/intervene.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/fact_options.h"
#include "cli/intervene_facts.h"
#include "cli/paths.h"
#include "cli/reproduce.h"
#include "engram/base/file.h"
#include "engram/base/utf8.h"
#include "engram/neurons/selection.h"
#include "engram/run/replay.h"
#include "engram/text/corpus.h"
#include "engram/text/facts.h"
#include "engram/text/subject.h"

namespace engram::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kTextLines = 200;

constexpr const char* kInterveneHelp =
    R"(What happens when knowledge neurons are switched off, doubled or replaced: the effect
on the answers to a fact's own prompts, to its held-out prompts, to other facts of
its relation, to facts of other relations and to ordinary text (--text), beside the
same for random neurons that match the located ones, with bootstrap intervals.

--neurons FILE says for each fact which prompts located its neurons and which were
held out; the fact set has the other facts, which show side effects. With a list,
the held-out prompts are those of the fact set.

--do: zero (suppress), double (amplify), scale:X, mean (the neuron's mean over
--corpus, or over prompts of other facts), resample (its value on another prompt:
a line of --corpus, or a prompt of another fact). It acts at the mask, or at all
masks of an answer of several tokens; of a causal model at the tokens that predict the
answer. With --at subject it acts at the last token of each prompt's subject (default
for neurons that were located there), and on text, which has none, as before.

The measure is the change of the answer's log-odds, log(P / (1 - P)); P, its ratio,
rank and accuracy stand beside it. Each table shows all facts, those the model knows
(the answer is the top one on at least half of their own prompts) and those it never
gives (on none); --known-only shows the second alone.

Located neurons are compared with
  random-layer       random ones of the same layers
  random-activation  nearest neighbours in signed activation and value norm
  random-gradient    and in signed activation x gradient
  next               the next ones by activation x gradient in the same layers
  other-fact         those of other facts of the relation with another object
  activation-same-k  as many of the most active neurons of all layers
No neuron that was located for any fact is drawn or next (--random-from all lets them
in). Random ones are tried --draws times on own and held-out prompts and --side-draws
times on other facts.

The verdict is printed, everything else with --full, --out or --json; --out holds
every fact's and every prompt's effect.

Facts whose subject holds the object are left out: the model can copy the answer.

Examples:
  engram intervene MODEL --facts facts.jsonl --neurons neurons.jsonl --do zero
  engram intervene MODEL --facts facts.jsonl --neurons 3:17,5:201 --do scale:0.5 --limit 50
)";

std::string reference_text(const InterveneCommandOptions& options, const EffectReport& report) {
  if (!needs_reference(options.effects.intervention)) return "";
  return options.corpus.empty() ? format_count(report.reference) + " prompts of other facts"
                                : format_count(report.reference) + " sentences of " +
                                      options.corpus + ", one random word asked for in each";
}

Json report_json(const InterveneCommandOptions& options, const Selection& selection,
                 const EffectReport& report) {
  const EffectOptions& e = options.effects;
  const double held_out_share = options.held_out_share.value_or(FactSetOptions().held_out_share);
  Json out;
  out["schema"] = "engram.intervene/1";
  out["version"] = ENGRAM_VERSION;
  out["model"] = options.model;
  out["fact_set"] = options.facts;
  out["neurons"] = options.neurons;
  out["do"] = intervention_name(e.intervention);
  out["at"] = neuron_place_name(selection.at);
  const std::string reference = reference_text(options, report);
  out["reference"] = reference.empty() ? Json(nullptr) : Json(reference);
  out["text"] = options.text.empty() ? Json(nullptr) : Json(options.text);
  Json& how = out["options"] = Json::object();
  add_choice(options.choice, how);
  how.update({{"held_out_share", selection.from_file ? Json(nullptr) : Json(held_out_share)},
              {"seed", options.common.seed},
              {"draws", e.draws},
              {"random_from", e.random_from_all ? "all" : "unlocated"},
              {"known_only", e.known_only},
              {"side_draws", std::min(e.side_draws, e.draws)},
              {"same_relation", e.same_relation},
              {"other_relations", e.other_relations},
              {"text_lines", options.text_lines.value_or(kTextLines)},
              {"sentences", e.sentences},
              {"known_p", e.known_p},
              {"known_rank", e.known_rank},
              {"bootstrap_draws", e.bootstrap.draws},
              {"level", e.bootstrap.level}});
  out["left_out"] = {{"subject_holds_object", selection.copies},
                     {"not_in_neurons", selection.without},
                     {"not_in_facts", selection.missing},
                     {"problems", selection.problems.size()}};
  out["unsplit_relations"] = selection.unsplit;
  out.update(effect_json(report, e));
  if (e.keep_details) out["fact_effects"] = fact_effects_json(report, selection.names);
  Json& problems = out["problems"] = Json::array();
  for (const FactProblem& problem : selection.problems) {
    problems.push_back(
        {{"file", problem.file}, {"line", problem.line}, {"message", problem.message}});
  }
  return out;
}

std::string heading(const InterveneCommandOptions& options, const Selection& selection,
                    const EffectReport& report) {
  const EffectOptions& e = options.effects;
  std::string out = intervention_name(e.intervention) + " on " + format_count(report.facts) +
                    " facts (" + format_count(report.empty) + " without neurons), " +
                    format_count(report.witnesses) + " facts for side effects\n";
  if (selection.at == NeuronPlace::kSubject) out += "at the last token of each subject\n";
  const std::string reference = reference_text(options, report);
  if (!reference.empty()) out += "values: " + reference + "\n";
  if (e.draws > 0) {
    out += "random neurons: " + format_count(e.draws) + " draws (" +
           format_count(std::min(e.side_draws, e.draws)) +
           (options.text.empty() ? " on other facts)" : " on other facts and text)");
    out += "\n";
  }
  out += "intervals: " + format_percent(e.bootstrap.level, 0) + ", " +
         format_count(e.bootstrap.draws) + " draws of relations and of objects\n";
  if (selection.copies > 0) {
    out +=
        "left out: " + format_count(selection.copies) + " facts whose subject holds the object\n";
  }
  if (selection.without > 0) {
    out += "not in --neurons, for side effects only: " + format_count(selection.without, "fact") +
           "\n";
  }
  if (selection.missing > 0) {
    out += "not in --facts, not used: " + format_count(selection.missing, "fact") + " of " +
           printable(options.neurons) + "\n";
  }
  if (!selection.unsplit.empty()) {
    out += "no held-out prompts in " +
           format_count(static_cast<int64_t>(selection.unsplit.size())) + " of " +
           format_count(static_cast<int64_t>(report.relations.size())) + " relations:";
    for (const std::string& relation : selection.unsplit) out += " " + printable(relation);
    out += "\n";
  }
  return out + "\n";
}

/// Activations on the corpus, if there is one and it is needed. Checks the reference's inputs.
at::Tensor corpus_reference(const InterveneCommandOptions& options, const LoadedModel& loaded) {
  if (options.corpus.empty()) return {};
  CorpusPrompts corpus =
      read_corpus(options.corpus, loaded.tokenizer, prompt_form(loaded.model.config()),
                  options.corpus_lines, options.common.seed);
  if (corpus.skipped > 0) {
    note(options.common, format_count(corpus.skipped) + " of " + format_count(corpus.lines) +
                             " lines of " + options.corpus +
                             " were not used: blank, too long, or without a word to ask for");
  }
  return mask_activations(loaded.model, corpus.prompts, options.effects.measure);
}

/// Sentences with a masked word, if there is a text.
std::vector<Cloze> read_text(const InterveneCommandOptions& options, const LoadedModel& loaded) {
  if (options.text.empty()) return {};
  return sample_corpus(options.text, loaded.tokenizer, prompt_form(loaded.model.config()),
                       options.text_lines.value_or(kTextLines), options.common.seed)
      .prompts;
}

/// The verdict first; the rest with --full.
std::string shown_text(const InterveneCommandOptions& options, const EffectReport& report) {
  const std::string verdict = effect_verdict(report, options.effects);
  if (options.full) return verdict + "\n" + effect_tables(report, options.effects);
  return verdict + "\nevery table: --full; every fact and prompt: --out FILE\n";
}

/// With --run: neurons and effects are kept in the run's file, which says what they are of.
void intervene_in_run(const InterveneCommandOptions& options) {
  const EffectOptions& e = options.effects;
  const EffectOptions defaults;
  if (options.at == NeuronPlace::kSubject) {
    throw UsageError(
        "--run cannot be combined with --at subject: a run's neurons are those where "
        "the answer is asked");
  }
  if (!options.neurons.empty() || !options.corpus.empty() || options.strict ||
      e.known_p != defaults.known_p || e.known_rank != defaults.known_rank || options.text_lines) {
    throw UsageError(
        "--run: takes the neurons that the run has located and what `engram reproduce` "
        "takes for effects: not together with --neurons, --corpus, --text-lines, "
        "--known-p, --known-rank and --strict");
  }
  RunCommandOptions run;
  run.common = options.common;
  run.model = options.model;
  run.facts = options.facts;
  run.run = options.run;
  run.options.choice = options.choice;
  if (options.held_out_share) run.options.held_out_share = *options.held_out_share;
  run.options.locate.selection = selection_preset("dai2022", Score::kIntegratedGradients);
  run.options.baseline = selection_preset("dai2022", Score::kActivation);
  run.options.corpus = options.text;
  run.options.draws = e.draws;
  run.options.random_from_all = e.random_from_all;
  run.options.side_draws = e.side_draws;
  run.options.same_relation = e.same_relation;
  run.options.other_relations = e.other_relations;
  const std::string operation = intervention_name(e.intervention);
  if (operation == "zero" || operation == "double") {
    run.scope.only = {"effects"};
  } else {
    run.scope.only = {"locate"};
    run.scope.intervention = e.intervention;
  }
  run.outputs = {{"--out", options.out}};
  perform_run(std::move(run), [&](const RunContext& context, const RunSummary& summary,
                                  const FactSet&) {
    for (const auto& [experiment, reason] : summary.left_out) {
      throw InputError(experiment + ": " + reason);
    }
    const EffectReport report = replay_effects(context, operation, e);
    Json out = {{"schema", "engram.intervene/1"}, {"version", ENGRAM_VERSION}};
    out["model"] = options.model;
    out["facts"] = options.facts;
    out["run"] = options.run;
    out["do"] = operation;
    out.update(effect_json(report, e));
    if (e.keep_details) {
      std::vector<FactName> names;
      for (const int64_t id : replayed_facts(context)) {
        const Fact& fact = context.facts.fact(id);
        names.push_back({fact.relation, fact.subject, fact.object, fact.prompts, fact.held_out});
      }
      out["fact_effects"] = fact_effects_json(report, names);
    }
    if (!options.out.empty()) {
      AtomicFile file(options.out);
      file.write(json_text(out, 2) + "\n");
      file.commit();
    }
    if (options.common.json) {
      print_json(out);
      return;
    }
    const std::vector<FactProblem>& problems = context.facts.problems();
    print(
        operation + " on " + format_count(report.facts) + " facts (" + format_count(report.empty) +
        " without neurons) of " + options.run + "\n\n" + shown_text(options, report) +
        problems_text(problems, format_count(static_cast<int64_t>(problems.size())) + " skipped"));
  });
}

void run_intervene(const InterveneCommandOptions& given) {
  InterveneCommandOptions options = given;
  options.effects.intervention = parse_intervention(options.operation);
  options.effects.random_from_all = options.random_from == "all";
  options.effects.bootstrap.seed = options.common.seed;
  options.effects.keep_details = !options.out.empty() || options.common.json;
  if (!options.run.empty()) {
    intervene_in_run(options);
    return;
  }
  if (options.neurons.empty()) {
    throw UsageError("--neurons or --run is required: what `engram locate` wrote, or a list");
  }
  options.effects.seed = options.common.seed;
  options.effects.bootstrap.seed = options.common.seed;
  options.effects.measure = {options.common.threads, options.common.memory_bytes};
  if (!options.corpus.empty() && !needs_reference(options.effects.intervention)) {
    throw UsageError("--corpus: serves --do mean and resample only, got --do " + options.operation);
  }
  if (options.text_lines && options.text.empty()) {
    throw UsageError("--text-lines: serves --text only");
  }
  if (options.held_out_share && !is_list(options.neurons)) {
    throw UsageError("--held-out-share: serves a list of neurons only, " + options.neurons +
                     " says itself which prompts are held out");
  }
  std::vector<NamedPath> inputs = fact_inputs(options.facts);
  inputs.push_back({"MODEL", options.model});
  inputs.push_back({"--corpus", options.corpus});
  inputs.push_back({"--text", options.text});
  if (!is_list(options.neurons)) inputs.push_back({"--neurons", options.neurons});
  check_outputs({{"--out", options.out}}, inputs);
  for (const std::string& path : {options.corpus, options.text}) {
    if (!path.empty()) check_readable(path);
  }
  const NeuronSource source = read_neurons(options);
  FactSetOptions reading;
  reading.strict = options.strict;
  reading.seed = options.common.seed;
  if (options.held_out_share) reading.held_out_share = *options.held_out_share;
  // The file says which prompts of its facts are held out; the others show side effects only.
  if (!source.list) reading.held_out_share = 0;
  FactSet set = facts_for_model(options.model, options.facts, reading, options.common);
  try {
    const auto start = std::chrono::steady_clock::now();
    const LoadedModel loaded = load_model(options.model, options.common);
    check_neurons(source, loaded.model.config(), options);
    Selection selection = select_facts(std::move(set.facts), source, loaded, options);
    selection.problems.insert(selection.problems.begin(), set.problems.begin(), set.problems.end());
    if (options.effects.draws > 0 && options.effects.draws < 20) {
      note(options.common, "fewer than 20 random draws tell little about what random neurons do");
    }
    EffectContext context;
    context.located = source.all;
    for (const auto& [key, located] : source.facts) {
      context.sets.push_back({located.relation, located.subject, located.object, located.neurons});
    }
    context.text = read_text(options, loaded);
    context.reference = corpus_reference(options, loaded);
    std::unique_ptr<Progress> progress;
    int64_t shown = 0;
    const EffectReport report = measure_effects(
        loaded.model, selection.facts, options.effects, context, [&](int64_t done, int64_t total) {
          if (!progress) {
            progress =
                std::make_unique<Progress>(options.common.quiet, "intervening", total, "runs");
          }
          progress->advance(done - shown);
          shown = done;
        });
    progress.reset();
    if (!options.out.empty() || options.common.json) {
      const Json json = report_json(options, selection, report);
      if (!options.out.empty()) {
        AtomicFile file(options.out);
        file.write(json_text(json, 2) + "\n");
        file.commit();
      }
      if (options.common.json) print_json(json);
    }
    if (!options.common.json) {
      print(heading(options, selection, report) + shown_text(options, report) +
            problems_text(
                selection.problems,
                format_count(static_cast<int64_t>(selection.problems.size())) + " skipped"));
    }
    flush_output();
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    note(options.common, format_count(report.trials) + " changed runs in " +
                             format_duration(time.count()) +
                             (options.out.empty() ? "" : "; wrote " + options.out));
  } catch (const Interrupted&) {
    throw Interrupted("no file was written");
  }
}

}  // namespace

void add_intervene_command(CLI::App& app) {
  auto options = std::make_shared<InterveneCommandOptions>();
  CLI::App* command = add_command(
      app, "intervene", "what changes when neurons are switched off or doubled", kInterveneHelp);
  add_model(*command, options->model, "Folder of the model.")->required();
  add_facts_option(*command, options->facts);
  add_path(*command, "--neurons", options->neurons,
           "What `engram locate --out` wrote, or LAYER:NEURON,... for every fact. Required without "
           "--run.")
      ->type_name("FILE|LIST");
  add_path(*command, "--run", options->run,
           "Take the neurons of this run, locating them where it has none, and keep the effects in "
           "it: the same command goes on after a crash.")
      ->type_name("RUN.db");
  command
      ->add_option("--do", options->operation, "zero, mean, resample, double or scale:X. Required.")
      ->type_name("WHAT")
      ->required();
  command
      ->add_option_function<std::string>(
          "--at", [options](const std::string& name) { options->at = parse_neuron_place(name); },
          "At which token neurons are changed: answer, where the answer is asked, or subject, the "
          "last token of the fact's subject. Default: where --neurons were located.")
      ->type_name("answer|subject")
      ->check(CLI::IsMember({"answer", "subject"}));
  add_path(*command, "--corpus", options->corpus,
           "Plain text, one sentence per line, for mean and resample. Default: prompts of other "
           "facts.")
      ->type_name("FILE");
  add_integer(*command, "--corpus-lines", options->corpus_lines, 1, 1'000'000,
              "Lines of --corpus to read at most. Default: 1000.");
  add_path(
      *command, "--text", options->text,
      "Plain text, one sentence per line: the effect on it, one random word asked for in each. "
      "Default: none.")
      ->type_name("FILE");
  add_integer(*command, "--text-lines", options->text_lines, 1, 1'000'000,
              "Lines of --text to take, a seeded sample; 20 of them per fact. Default: 200.");
  EffectOptions& e = options->effects;
  add_integer(*command, "--draws", e.draws, 0, 10'000,
              "Random sets per fact and strength, on own and held-out prompts; 0: none. "
              "Default: 20.");
  add_integer(*command, "--side-draws", e.side_draws, 0, 10'000,
              "The same on other facts' prompts and on text. Default: 1.");
  add_integer(*command, "--same-relation", e.same_relation, 0, 1'000'000,
              "Other facts of the relation per fact. Default: 20.");
  add_integer(*command, "--other-relations", e.other_relations, 0, 1'000'000,
              "Facts of other relations per fact. Default: 100.");
  add_number(*command, "--known-p", e.known_p, 0, 1,
             "A prompt is known before when P is at least this. Default: 0.1.");
  add_integer(*command, "--known-rank", e.known_rank, 1, 1'000'000'000,
              "And the answer's rank at most this. Default: 1.");
  add_integer(*command, "--bootstrap", e.bootstrap.draws, 1, 1'000'000,
              "Draws of the bootstrap. Default: 2000.");
  add_choice_options(*command, options->choice, "Take");
  add_number(*command, "--held-out-share", options->held_out_share, 0, 1,
             "ParaRel with a list of neurons: share of a relation's patterns held out, in whole "
             "groups; 0: none. Default: 0.3.");
  command
      ->add_option("--random-from", options->random_from,
                   "What random neurons and the next ones are drawn from: unlocated (default), or "
                   "all: also what was located for other facts.")
      ->type_name("all|unlocated")
      ->check(CLI::IsMember({"all", "unlocated"}));
  command->add_flag("--known-only", e.known_only,
                    "Facts that the model knows, alone: the answer is the top one on at least half "
                    "of their own prompts.");
  command->add_flag("--full", options->full, "Print every table, not the verdict alone.");
  command->add_flag("--strict", options->strict,
                    "Stop at the first line or fact that cannot be used.");
  add_path(*command, "--out", options->out, "Write the JSON report to this file.")
      ->type_name("FILE");
  add_common_options(*command, options->common);
  command->callback([options] { run_intervene(*options); });
}

}  // namespace engram::cli
