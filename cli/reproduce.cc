#include "cli/reproduce.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/attribute.h"
#include "cli/fact_options.h"
#include "cli/on_ray.h"
#include "cli/paths.h"
#include "cli/process.h"
#include "engram/model/device.h"
#include "engram/model/fingerprint.h"
#include "engram/run/run.h"

namespace engram::cli {
namespace {

constexpr const char* kReproduceHelp =
    R"(Runs the experiments of Dai et al. on a whole fact set and keeps every result in
one file, from which `engram report` makes a page and `engram export` tables.

  locate     scores of all neurons on all prompts (integrated gradients, and the
             activation as baseline); the knowledge neurons of every fact
  stability  the same from two halves of the prompts, and by the paper's own rule
  effects    suppress and amplify: own and held-out prompts, other facts, text;
             matched random neurons beside
  update     change a fact's answer by rewriting value vectors, with controls
  erase      take a relation away, and look whether it is gone
  unions     the same with other relations' neurons
  sizes      suppress the k best neurons, for k from 1 to 200
  texts      activation of the neurons on texts about the fact and on others
  memories   what triggers a sample of keys in the corpus, and whether their values
             predict what follows (as `engram memories` has it)
  examples   sentences of the corpus on which frequent neurons are most active

The run survives everything: after Ctrl-C, a crash or a power cut the same command
goes on where it was. Another model, fact set or option is refused, with what differs.
`engram status RUN.db` shows from another terminal how far it is.

Several machines: --shard 1/4 to 4/4 with --only locate, each with a RUN.db of its
own; then `engram merge`, and a copy of the merged file for every machine, since
controls avoid what was located for any fact; the same --shard on it without --only;
`engram merge` again, and the same command without --shard on the merged file.
With --ray ADDRESS the Python package does all of that on a Ray cluster, a task a
relation; --threads are those of a task, 1 by default, and every machine has the model.

--as-published does as the paper's released code: all prompts locate and test, facts
whose subject holds the object stay in, 20 left Riemann steps, layer norms with epsilon
1e-5, o' drawn by frequency, updates tested on one random prompt. The report then sets
its figures beside the paper's. --interpolate takes the sums of the steps from few
nodes.

--texts and --corpus default to MODEL/texts and MODEL/corpus.txt where those are.

Examples:
  engram reproduce models/engram-base --facts models/engram-base/facts.jsonl \
                   --run run.db --limit 200
  engram reproduce MODEL --facts pararel/ --run run.db --only locate,effects
)";

using Json = nlohmann::ordered_json;

// Fixed, so that batches do not depend on the memory of the machine.
constexpr int64_t kBatchBytes = int64_t{4} << 30;

int64_t relation_facts(const RunFacts& facts) {
  return static_cast<int64_t>(facts.usable().size());
}

std::string done_text(const RunCommandOptions& options, const RunFacts& facts,
                      const RunSummary& summary, double seconds) {
  std::string text = options.run + ": " + format_count(relation_facts(facts), "fact") + " of " +
                     format_count(static_cast<int64_t>(facts.relations().size()), "relation") +
                     "; " + format_count(summary.done, "piece") + " of work done in " +
                     format_duration(seconds);
  if (summary.skipped > 0) text += ", " + format_count(summary.skipped) + " were done before";
  text += "\n";
  for (const auto& [experiment, reason] : summary.left_out) {
    text += "not done: " + experiment + ": " + reason + "\n";
  }
  return text;
}

/// What an interrupt leaves, for the message.
std::string interrupted_text(const RunStore& store, const std::string& run) {
  int64_t units = 0;
  for (const Unit& unit : store.units()) {
    if (unit.experiment != kWholeUnit) ++units;
  }
  if (units == 0) return "nothing was done yet; the same command begins anew in " + run;
  return format_count(units, "piece") + " of work " + (units == 1 ? "is" : "are") + " kept in " +
         run + "; the same command goes on from there";
}

/// "2/8".
void parse_shard(const std::string& text, RunScope& scope) {
  const size_t slash = text.find('/');
  if (slash == std::string::npos) {
    throw UsageError("--shard: got \"" + text + "\", expected I/N, for example 1/4");
  }
  scope.shards = parse_integer(text.substr(slash + 1), 1, 1'000'000, "--shard");
  scope.shard = parse_integer(text.substr(0, slash), 1, scope.shards, "--shard");
}

void run_reproduce(const RunCommandOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  perform_run(options, [&](const RunContext& run, const RunSummary& summary, const FactSet&) {
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (!options.common.json) {
      print(done_text(options, run.facts, summary, seconds) + "next: engram report " + options.run +
            " -o report.html\n");
      return;
    }
    Json out = {{"schema", "engram.reproduce/1"}, {"run", options.run}};
    out["facts"] = relation_facts(run.facts);
    out["relations"] = run.facts.relations().size();
    out["problems"] = run.facts.problems().size();
    out["units_done"] = summary.done;
    out["units_done_before"] = summary.skipped;
    out["seconds"] = seconds;
    Json& skipped = out["skipped"] = Json::array();
    for (const auto& [experiment, reason] : summary.left_out) {
      skipped.push_back({{"experiment", experiment}, {"reason", reason}});
    }
    print_json(out);
  });
}

/// What --memory takes from --threads.
void remark_on_memory(const RunContext& run, const CommonOptions& common) {
  AttributionOptions how = run.options.locate.attribution;
  const int workers = attribution_workers(run.model, how);
  how.memory_bytes = 0;
  const int wanted = attribution_workers(run.model, how);
  if (workers == wanted) return;
  note(common, "--memory has room for " + std::to_string(workers) + " of " +
                   std::to_string(wanted) + " workers that attribute");
}

constexpr int64_t kPublishedSteps = 20;
constexpr double kPublishedEpsilon = 1e-5;

/// What --as-published stands for, but for what is typed. Throws UsageError for what contradicts
/// it.
void take_published(const CLI::App& command, RunOptions& run) {
  for (const char* other : {"--held-out-share", "--preset", "--random-from"}) {
    if (command.count(other) > 0) {
      throw UsageError(std::string(other) +
                       " cannot stand beside --as-published, which decides it");
    }
  }
  run.held_out_share = 0;
  run.locate.attribution.integration.rule = Rule::kRiemannLeft;
  run.locate.attribution.integration.steps = kPublishedSteps;
  run.norm_epsilon = kPublishedEpsilon;
  const auto unless_typed = [&](const char* name, int64_t& value) {
    if (command.count(name) == 0) value = 0;
  };
  unless_typed("--draws", run.draws);
  unless_typed("--sentences", run.sentences);
  unless_typed("--stability-facts", run.stability_facts);
}

}  // namespace

void perform_run(RunCommandOptions options, const RunLook& look) {
  RunOptions& how = options.options;
  const std::filesystem::path folder(options.model);
  std::error_code failed;
  if (how.texts.empty() && std::filesystem::is_directory(folder / "texts", failed)) {
    how.texts = (folder / "texts").string();
  }
  if (how.corpus.empty() && std::filesystem::is_regular_file(folder / "corpus.txt", failed)) {
    how.corpus = (folder / "corpus.txt").string();
  }
  std::vector<NamedPath> inputs = fact_inputs(options.facts);
  inputs.push_back({"MODEL", options.model});
  if (!how.texts.empty()) inputs.push_back({"--texts", how.texts});
  if (!how.corpus.empty()) inputs.push_back({"--corpus", how.corpus});
  for (const std::string& path : how.non_facts) inputs.push_back({"--non-facts", path});
  std::vector<NamedPath> outputs = options.outputs;
  outputs.push_back({"--run", options.run});
  check_outputs(outputs, inputs);
  FactSetOptions reading;
  reading.choice = how.choice;
  reading.seed = options.common.seed;
  reading.held_out_share = how.held_out_share;
  FactSet set = facts_for_model(options.model, options.facts, reading, options.common);
  if (how.as_published) {
    // All prompts locate and test.
    for (Fact& fact : set.facts) {
      std::ranges::move(fact.held_out, std::back_inserter(fact.prompts));
      fact.held_out.clear();
    }
  }
  how.seed = options.common.seed;
  how.locate.attribution.threads = options.common.threads;
  how.locate.attribution.memory_bytes = options.common.memory_bytes;
  how.locate.attribution.bitwise = true;
  how.device = open_device(options.common.device).is_cuda() ? "cuda" : "cpu";
  const RunIdentity identity = run_identity(how, model_fingerprint(options.model), set.facts);
  // Before the model is loaded: another run's file is refused at once.
  RunStore store = RunStore::open(options.run, RunStore::Mode::kContinue, identity);
  LoadedModel loaded = load_model(options.model, options.common);
  if (how.norm_epsilon) loaded.model.set_norm_epsilon(*how.norm_epsilon);
  RunFacts facts(std::move(set.facts), loaded.tokenizer, loaded.model.config(), set.problems,
                 how.as_published);
  const auto unusable = static_cast<int64_t>(facts.problems().size());
  if (unusable > 0) {
    note(options.common, format_count(unusable) +
                             (unusable == 1 ? " fact or line of " : " facts or lines of ") +
                             options.facts + " cannot be used: table \"problem\" of the run");
  }
  const RunContext run{
      loaded.model, loaded.tokenizer,
      facts,        how,
      store,        {options.common.threads, options.common.memory_bytes, kBatchBytes}};
  remark_on_memory(run, options.common);
  store.begin_session(typed_command(), ENGRAM_VERSION);
  std::unique_ptr<Progress> shown;
  struct Stage {
    std::string experiment;
    int64_t facts = 0;
    std::chrono::steady_clock::time_point start;
  } stage;
  const auto end_stage = [&] {
    shown.reset();
    if (stage.experiment.empty()) return;
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - stage.start;
    // Some are about no facts.
    const std::string what = stage.facts > 0 ? ": " + format_count(stage.facts, "fact") : "";
    note(options.common, stage.experiment + what + " in " + format_duration(took.count()));
  };
  RunProgress progress;
  progress.on_stage = [&](std::string_view experiment, int64_t total, int64_t done) {
    end_stage();
    stage = {std::string(experiment), 0, std::chrono::steady_clock::now()};
    shown =
        std::make_unique<Progress>(options.common.quiet, stage.experiment, total - done, "facts");
  };
  progress.on_facts = [&](int64_t by) {
    shown->advance(by);
    stage.facts += by;
  };
  RunSummary summary;
  try {
    summary = how.audit ? execute_audit(run, facts, options.scope, progress)
                        : execute_run(run, options.scope, progress);
  } catch (const Interrupted&) {
    shown.reset();
    store.flush();
    store.end_session(/*interrupted=*/true);
    throw Interrupted(interrupted_text(store, options.run));
  }
  end_stage();
  store.end_session();
  look(run, summary, set);
}

void add_reproduce_command(CLI::App& app) {
  auto options = std::make_shared<RunCommandOptions>();
  auto only = std::make_shared<std::vector<std::string>>();
  auto shard = std::make_shared<std::string>();
  auto ray = std::make_shared<std::string>();
  auto preset = std::make_shared<std::string>("dai2022");
  auto random_from = std::make_shared<std::string>("unlocated");
  CLI::App* command = add_command(
      app, "reproduce", "every experiment of the paper, in one resumable run", kReproduceHelp);
  add_model(*command, options->model, "Hugging Face folder.")->required();
  add_facts_option(*command, options->facts);
  add_path(*command, "--run", options->run, "The run's file; made when it is not there. Required.")
      ->type_name("RUN.db")
      ->required();
  RunOptions& how = options->options;
  add_path(*command, "--texts", how.texts, "Texts about facts (docs/formats.md).")
      ->type_name("FOLDER");
  add_path(*command, "--corpus", how.corpus, "Ordinary text, a sentence or paragraph a line.")
      ->type_name("FILE");
  command->add_option("--only", *only, "Experiments to run, with commas. Default: all.")
      ->delimiter(',')
      ->type_name("NAME,...");
  command->add_option("--shard", *shard, "This machine's share of the relations, \"2/8\".")
      ->type_name("I/N");
  command
      ->add_option("--ray", *ray,
                   "Work on the Ray cluster at this address; \"auto\": this machine's. Needs the "
                   "Python package (docs/python.md).")
      ->type_name("ADDRESS")
      ->excludes("--shard");
  command
      ->add_option("--preset", *preset,
                   "Rules of selection: dai2022 (default), eleuther, eleuther-pararel.")
      ->type_name("NAME");
  add_choice_options(*command, how.choice, "Take");
  add_number(*command, "--held-out-share", how.held_out_share, 0, 1,
             "ParaRel: share of a relation's patterns held out. Default: 0.3.");
  add_number(*command, "--tolerance", how.locate.attribution.integration.tolerance,
             Range{0, 1, true, true}, "Relative completeness gap and error. Default: 0.01.");
  add_integer(*command, "--draws", how.draws, 0, 10'000,
              "Matched random sets per fact and strength. Default: 20.");
  command
      ->add_option("--random-from", *random_from,
                   "What random sets are drawn from: unlocated (default), or all: also what was "
                   "located for other facts.")
      ->type_name("all|unlocated")
      ->check(CLI::IsMember({"all", "unlocated"}));
  add_integer(*command, "--side-draws", how.side_draws, 0, 10'000,
              "The same on other facts' prompts and on text. Default: 1.");
  add_integer(*command, "--same-relation", how.same_relation, 0, 1'000'000,
              "Other facts of the relation on which a fact's side effects are measured. "
              "Default: 20.");
  add_integer(*command, "--other-relations", how.other_relations, 0, 1'000'000,
              "Facts of other relations, likewise. Default: 100.");
  add_integer(*command, "--sentences", how.sentences, 0, 1'000'000,
              "Sentences of ordinary text, likewise. Default: 20.");
  add_integer(*command, "--stability-facts", how.stability_facts, 0, 1'000'000,
              "Facts per relation to locate by the paper's rule too, at most. Default: 10.");
  add_integer(*command, "--update-facts", how.update_facts, 1, 1'000'000,
              "Facts per relation to update, at most. Default: 20.");
  add_integer(*command, "--size-facts", how.size_facts, 1, 1'000'000,
              "Facts per relation on which numbers of neurons are tried, at most. Default: 10.");
  add_integer(*command, "--memory-keys", how.memory_keys, 2, 1'000'000,
              "Keys to sample in every layer for memories. Default: 20.");
  add_integer(*command, "--text-positions", how.text_positions, 1, 1'000'000,
              "Positions of the corpus for pseudo-perplexity. Default: 2000.");
  auto* published = command->add_flag("--as-published", how.as_published,
                                      "Do as the paper's released code does, without controls.");
  command
      ->add_flag("--interpolate", how.locate.attribution.integration.interpolate,
                 "With --as-published: take the sums over the steps from few nodes, within the "
                 "tolerance of what a node at every step gives.")
      ->needs(published);
  command->add_flag("--keep-scores", how.keep_scores, "Store all scores, too (large).");
  add_common_options(*command, options->common);
  command->callback([options, only, shard, ray, preset, random_from, command] {
    if (!ray->empty()) reproduce_on_ray(*command, *ray);
    RunOptions& run = options->options;
    if (!shard->empty()) parse_shard(*shard, options->scope);
    options->scope.only = *only;
    run.random_from_all = *random_from == "all";
    if (run.as_published) take_published(*command, run);
    run.locate.selection = selection_preset(*preset, Score::kIntegratedGradients);
    run.baseline = selection_preset(*preset, Score::kActivation);
    run_reproduce(*options);
  });
}

}  // namespace engram::cli
