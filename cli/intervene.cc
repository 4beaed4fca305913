#include "cli/intervene.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "cli/paths.h"
#include "engram/base/file.h"
#include "engram/evaluation/located.h"
#include "engram/evaluation/prepare.h"
#include "engram/text/facts.h"

namespace engram::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kHelp =
    R"(What happens when knowledge neurons are switched off, doubled or replaced: the effect
on the answers to a fact's own prompts, to its held-out prompts, to other facts of
its relation and to facts of other relations, beside the same for random neurons
that match the located ones, with bootstrap intervals.

--do: zero (suppress), double (amplify), scale:X, mean (the neuron's mean over
--corpus, or over prompts of other facts), resample (its value on another prompt:
a line of --corpus, or a prompt of another fact). It acts at the mask, or at all
masks of an answer of several tokens.

Random neurons match one by one, in three nested strengths: same layer; and same
decile of |activation| and of the value's norm; and same decile of |gradient|. No
located neuron is ever drawn. They are tried --draws times on own and held-out
prompts and --side-draws times on other facts.

Facts whose subject holds the object are left out: the model can copy the answer.

Examples:
  engram intervene MODEL --facts facts.jsonl --neurons neurons.jsonl --do zero
  engram intervene MODEL --facts facts.jsonl --neurons 3:17,5:201 --do scale:0.5 --limit 50
)";

using FactKey = std::tuple<std::string, std::string, std::string>;

/// Which neurons belong to which fact.
struct NeuronSource {
  std::vector<NeuronId> everywhere;                  ///< of a list given by hand
  std::map<FactKey, std::vector<NeuronId>> by_fact;  ///< of a file
  bool list = false;
};

/// A list given by hand rather than a file: what is written like one, or could only be meant as
/// one.
bool is_list(const std::string& text) {
  if (text.find_first_not_of("0123456789:, ") == std::string::npos) return true;
  std::error_code failed;
  return text.find_first_of(":,") != std::string::npos && text.find('/') == std::string::npos &&
         !text.ends_with(".jsonl") && !std::filesystem::exists(text, failed);
}

std::vector<NeuronId> read_list(const std::string& given) {
  std::string text;  // spaces are fine after a comma and around the whole
  for (const char c : given.substr(0, given.find_last_not_of(' ') + 1)) {
    if (c != ' ' || !(text.empty() || text.back() == ',')) text += c;
  }
  try {
    return parse_neurons(text);
  } catch (const UsageError& error) {
    throw UsageError("--neurons: " + std::string(error.what()));
  }
}

NeuronSource read_neurons(const InterveneCommandOptions& options) {
  NeuronSource source;
  source.list = is_list(options.neurons);
  if (source.list) {
    source.everywhere = read_list(options.neurons);
    return source;
  }
  for (LocatedSet& set : read_located(options.neurons).facts) {
    source.by_fact[{set.relation, set.subject, set.object}] = std::move(set.neurons);
  }
  return source;
}

void check_neurons(const NeuronSource& source, const ModelConfig& config) {
  const auto check = [&](const std::vector<NeuronId>& neurons) {
    for (const NeuronId id : neurons) {
      if (id.layer < config.layers && id.neuron < config.d_ff) continue;
      throw InputError("--neurons: " + std::to_string(id.layer) + ":" + std::to_string(id.neuron) +
                       " does not exist, the model has layers 0.." +
                       std::to_string(config.layers - 1) + " of neurons 0.." +
                       std::to_string(config.d_ff - 1));
    }
  };
  check(source.everywhere);
  for (const auto& [fact, neurons] : source.by_fact) check(neurons);
}

FactKey key_of(const Fact& fact) { return {fact.relation, fact.subject, fact.object}; }

/// The facts as they go into the evaluation, and what was left out.
struct Selection {
  std::vector<EffectFact> facts;
  std::vector<FactProblem> problems;
  int64_t copies = 0;   ///< subject holds object
  int64_t without = 0;  ///< no line in the neurons file; witnesses only
};

Selection select_facts(const std::vector<Fact>& all, const NeuronSource& source,
                       const LoadedModel& loaded, const InterveneCommandOptions& options) {
  Selection selection;
  std::vector<Fact> usable;
  std::vector<Fact> candidates;
  for (const Fact& fact : all) {
    if (subject_holds_object(fact)) {
      ++selection.copies;
      continue;
    }
    usable.push_back(fact);
    if (source.list || source.by_fact.contains(key_of(fact))) {
      candidates.push_back(fact);
    } else {
      ++selection.without;
    }
  }
  if (candidates.empty()) {
    throw InputError("--neurons: none of the " + format_count(static_cast<int64_t>(usable.size())) +
                     " usable facts of " + options.facts + " is in " + options.neurons);
  }
  std::set<FactKey> chosen;
  for (const Fact& fact : limit_facts(std::move(candidates), options.limit, options.common.seed)) {
    chosen.insert(key_of(fact));
  }
  std::set<FactKey> seen;
  for (const Fact& fact : usable) {
    const FactKey key = key_of(fact);
    if (!seen.insert(key).second) continue;  // a repeated line is one fact
    const ModelConfig& config = loaded.model.config();
    std::optional<PreparedFact> prepared;
    if (options.strict) {
      prepared = prepare_fact(fact, loaded.tokenizer, config);
    } else {
      prepared = prepare_fact(fact, loaded.tokenizer, config, selection.problems);
    }
    if (!prepared) continue;
    EffectFact effect{fact.relation,
                      fact.subject,
                      fact.object,
                      std::move(prepared->prompts),
                      std::move(prepared->held_out),
                      chosen.contains(key),
                      {}};
    if (effect.evaluated) {
      effect.neurons = source.list ? source.everywhere : source.by_fact.at(key);
    }
    selection.facts.push_back(std::move(effect));
  }
  if (std::ranges::none_of(selection.facts, &EffectFact::evaluated)) {
    std::string message = "no fact can be used";
    if (!selection.problems.empty()) {
      const FactProblem& first = selection.problems.front();
      message += ", the first problem is " + first.file + ":" + std::to_string(first.line) + ": " +
                 first.message;
    }
    throw InputError(message);
  }
  return selection;
}

std::string reference_text(const InterveneCommandOptions& options, const EffectReport& report) {
  if (!needs_reference(options.effects.manipulation)) return "";
  return options.corpus.empty() ? format_count(report.reference) + " prompts of other facts"
                                : format_count(report.reference) + " sentences of " +
                                      options.corpus + ", one random word masked in each";
}

Json report_json(const InterveneCommandOptions& options, const Selection& selection,
                 const EffectReport& report) {
  const EffectOptions& e = options.effects;
  Json out;
  out["schema"] = "engram.intervene/1";
  out["version"] = ENGRAM_VERSION;
  out["model"] = options.model;
  out["fact_set"] = options.facts;
  out["neurons"] = options.neurons;
  out["do"] = manipulation_name(e.manipulation);
  const std::string reference = reference_text(options, report);
  out["reference"] = reference.empty() ? Json(nullptr) : Json(reference);
  out["options"] = {{"limit", options.limit},
                    {"seed", options.common.seed},
                    {"draws", e.draws},
                    {"side_draws", std::min(e.side_draws, e.draws)},
                    {"same_relation", e.same_relation},
                    {"other_relations", e.other_relations},
                    {"known_p", e.known_p},
                    {"known_rank", e.known_rank},
                    {"bootstrap_draws", e.bootstrap.draws},
                    {"level", e.bootstrap.level}};
  out["left_out"] = {{"subject_holds_object", selection.copies},
                     {"not_in_neurons", selection.without},
                     {"problems", selection.problems.size()}};
  out.update(effect_json(report, e));
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
  std::string out = manipulation_name(e.manipulation) + " on " + format_count(report.facts) +
                    " facts (" + format_count(report.empty) + " without neurons), " +
                    format_count(report.witnesses) + " facts for side effects\n";
  const std::string reference = reference_text(options, report);
  if (!reference.empty()) out += "values: " + reference + "\n";
  if (e.draws > 0) {
    out += "random neurons: " + format_count(e.draws) + " draws (" +
           format_count(std::min(e.side_draws, e.draws)) + " on other facts)";
    for (size_t s = 0; s + 1 < kSources; ++s) {
      if (report.weakened[s] + report.missing[s] == 0) continue;
      out += "; " + std::string(source_name(s + 1)) + ": " + format_count(report.weakened[s]) +
             " matched more weakly, " + format_count(report.missing[s]) + " not at all";
    }
    out += "\n";
  }
  out += "intervals: " + format_percent(e.bootstrap.level, 0) + ", " +
         format_count(e.bootstrap.draws) + " draws of relations, then of objects\n";
  if (selection.copies > 0) {
    out +=
        "left out: " + format_count(selection.copies) + " facts whose subject holds the object\n";
  }
  if (selection.without > 0) {
    out +=
        "not in --neurons, for side effects only: " + format_count(selection.without) + " facts\n";
  }
  return out + "\n";
}

std::string problems_text(const std::vector<FactProblem>& problems) {
  constexpr size_t kMost = 20;
  if (problems.empty()) return "";
  std::string out = "\n" + format_count(static_cast<int64_t>(problems.size())) + " skipped:\n";
  for (size_t i = 0; i < std::min(problems.size(), kMost); ++i) {
    out += "  " + printable(problems[i].file) + ":" + std::to_string(problems[i].line) + ": " +
           printable(problems[i].message) + "\n";
  }
  if (problems.size() > kMost) {
    out += "  and " + format_count(static_cast<int64_t>(problems.size() - kMost)) + " more\n";
  }
  return out;
}

/// Activations on the corpus, if there is one and it is needed. Checks the reference's inputs.
at::Tensor corpus_reference(const InterveneCommandOptions& options, const LoadedModel& loaded) {
  if (options.corpus.empty()) return {};
  CorpusPrompts corpus = read_corpus(options.corpus, loaded.tokenizer, loaded.model.config(),
                                     options.corpus_lines, options.common.seed);
  if (corpus.skipped > 0) {
    note(options.common, format_count(corpus.skipped) + " of " + format_count(corpus.lines) +
                             " lines of " + options.corpus +
                             " were not used: blank, too long, or without a word to mask");
  }
  return mask_activations(loaded.model, corpus.prompts, options.effects.measure);
}

void run_intervene(const InterveneCommandOptions& given) {
  InterveneCommandOptions options = given;
  options.effects.manipulation = parse_manipulation(options.operation);
  options.effects.seed = options.common.seed;
  options.effects.bootstrap.seed = options.common.seed;
  options.effects.measure = {options.common.threads, options.common.memory_bytes};
  if (!options.corpus.empty() && !needs_reference(options.effects.manipulation)) {
    throw UsageError("--corpus: serves --do mean and resample only, got --do " + options.operation);
  }
  std::vector<NamedPath> inputs = fact_inputs(options.facts);
  inputs.push_back({"MODEL", options.model});
  inputs.push_back({"--corpus", options.corpus});
  if (!is_list(options.neurons)) inputs.push_back({"--neurons", options.neurons});
  check_outputs({{"--out", options.out}}, inputs);
  if (!options.corpus.empty()) check_readable(options.corpus);
  const NeuronSource source = read_neurons(options);
  FactSetOptions reading;
  reading.strict = options.strict;
  reading.seed = options.common.seed;
  FactSet set = read_facts(options.facts, reading);
  try {
    const auto start = std::chrono::steady_clock::now();
    const LoadedModel loaded = load_model(options.model, options.common);
    check_neurons(source, loaded.model.config());
    Selection selection = select_facts(set.facts, source, loaded, options);
    selection.problems.insert(selection.problems.begin(), set.problems.begin(), set.problems.end());
    if (options.effects.draws > 0 && options.effects.draws < 20) {
      note(options.common, "fewer than 20 random draws tell little about what random neurons do");
    }
    const at::Tensor reference = corpus_reference(options, loaded);
    std::unique_ptr<Progress> progress;
    int64_t shown = 0;
    const EffectReport report =
        measure_effects(loaded.model, selection.facts, options.effects, reference,
                        [&](int64_t done, int64_t total) {
                          if (!progress) {
                            progress = std::make_unique<Progress>(options.common.quiet,
                                                                  "intervening", total, "runs");
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
      print(heading(options, selection, report) + effect_tables(report, options.effects) +
            problems_text(selection.problems));
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
  CLI::App* command =
      add_command(app, "intervene", "what changes when neurons are switched off or doubled", kHelp);
  add_path(*command, "MODEL", options->model, "Folder of the model.")->required();
  add_path(*command, "--facts", options->facts,
           "Fact set: a JSON Lines file, or a ParaRel folder with facts/ and patterns/. Required.")
      ->type_name("FILE|DIR")
      ->required();
  add_path(*command, "--neurons", options->neurons,
           "What `engram locate --out` wrote, or LAYER:NEURON,... for every fact. Required.")
      ->type_name("FILE|LIST")
      ->required();
  command
      ->add_option("--do", options->operation, "zero, mean, resample, double or scale:X. Required.")
      ->type_name("WHAT")
      ->required();
  add_path(*command, "--corpus", options->corpus,
           "Plain text, one sentence per line, for mean and resample. Default: prompts of other "
           "facts.")
      ->type_name("FILE");
  add_integer(*command, "--corpus-lines", options->corpus_lines, 1, 1'000'000,
              "Lines of --corpus to read at most. Default: 1000.");
  EffectOptions& e = options->effects;
  add_integer(*command, "--draws", e.draws, 0, 10'000,
              "Random sets per fact and strength, on own and held-out prompts; 0: none. "
              "Default: 20.");
  add_integer(*command, "--side-draws", e.side_draws, 0, 10'000,
              "The same on other facts' prompts. Default: 1.");
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
  add_integer(*command, "--limit", options->limit, 1, 1'000'000'000,
              "Manipulate N facts, seeded, by whole relations; all show side effects.");
  command->add_flag("--strict", options->strict,
                    "Stop at the first line or fact that cannot be used.");
  add_path(*command, "--out", options->out, "Write the JSON report to this file.")
      ->type_name("FILE");
  add_common_options(*command, options->common);
  command->callback([options] { run_intervene(*options); });
}

}  // namespace engram::cli
