#include "cli/locate.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/attribute.h"
#include "cli/fact_options.h"
#include "cli/paths.h"
#include "cli/reproduce.h"
#include "cli/score_file.h"
#include "engram/base/file.h"
#include "engram/base/interrupt.h"
#include "engram/base/utf8.h"
#include "engram/neurons/located.h"
#include "engram/run/replay.h"
#include "engram/text/subject.h"

namespace engram::cli {
namespace {

constexpr const char* kLocateHelp =
    R"(Which neurons store facts: scores every neuron on every prompt of a fact set and
keeps those that the prompts of a fact agree on, its knowledge neurons.

Per prompt a neuron passes when its score reaches a share of the largest one
(--ratio). It belongs to the fact when it passes enough of the fact's prompts
(--share, --min-prompts). With --adapt the share moves per relation until the mean
number of neurons per fact fits (--fewest, --most).

Presets: dai2022 (0.2; 0.7 of the prompts and at least 3; adapts to 2..5), eleuther
(above 0.3; in more than half of the prompts; no adaptation), eleuther-pararel
(the same, more than 0.3 of the prompts). Facts with fewer than 3 prompts cannot
be refined: what their prompts give is listed apart.

--at subject scores the neurons at the last token of each prompt's subject, where
the ROME method edits, instead of those where the answer is asked.

A fact that cannot be used (an answer outside the vocabulary, a prompt without
mask or too long) is skipped, counted and listed; --strict stops instead. Only
"prompts" locate; "held_out" prompts are kept for `engram intervene`.

--json prints JSON Lines, the same as --out writes (docs/formats.md).

Examples:
  engram locate models/engram-base --facts models/engram-base/facts.jsonl --limit 200 \
                --out neurons.jsonl
  engram locate MODEL --facts pararel/ --preset eleuther --score activation
)";

using Json = nlohmann::ordered_json;

SelectionOptions selection_of(const LocateCommandOptions& options) {
  SelectionOptions s = selection_preset(options.preset, options.attribution.score);
  s.ratio = options.ratio.value_or(s.ratio);
  s.above_ratio = options.above_ratio.value_or(s.above_ratio);
  s.share = options.share.value_or(s.share);
  s.above_share = options.above_share.value_or(s.above_share);
  s.min_prompts = options.min_prompts.value_or(s.min_prompts);
  s.min_bag = options.min_bag.value_or(s.min_bag);
  s.adapt = options.adapt.value_or(s.adapt);
  s.step = options.step.value_or(s.step);
  s.fewest = options.fewest.value_or(s.fewest);
  s.most = options.most.value_or(s.most);
  s.passes = options.passes.value_or(s.passes);
  check_selection(s);
  return s;
}

std::string run_line(const LocateCommandOptions& options, const LocateOptions& how,
                     const ModelConfig& config, const FactSet& set) {
  const IntegrationOptions& integration = how.attribution.integration;
  Json line = {{"schema", "engram.locate/1"}, {"record", "run"}};
  line["version"] = ENGRAM_VERSION;
  line["model"] = options.model;
  line["layers"] = config.layers;
  line["d_ff"] = config.d_ff;
  line["facts"] = options.facts;
  add_choice(options.choice, line);
  line["seed"] = options.common.seed;
  line["held_out_share"] = options.held_out_share;
  line["unsplit_relations"] = set.unsplit_relations;
  if (config.causal()) {
    int64_t left_out = 0;
    for (const Fact& fact : set.facts) left_out += fact.left_out;
    line["left_out_prompts"] = left_out;
  }
  line["at"] = neuron_place_name(how.neurons_at);
  line["score"] = score_name(how.attribution.score);
  line["rule"] = rule_json(how.attribution);
  line["steps"] = integration.steps ? Json(*integration.steps) : Json(nullptr);
  if (integration.interpolate) line["interpolate"] = true;
  line["max_steps"] = integration.max_steps;
  line["tolerance"] = integration.tolerance;
  const SelectionOptions& s = how.selection;
  line["preset"] = options.preset;
  line["selection"] = {{"ratio", s.ratio},
                       {"above_ratio", s.above_ratio},
                       {"share", s.share},
                       {"above_share", s.above_share},
                       {"min_prompts", s.min_prompts},
                       {"min_bag", s.min_bag},
                       {"adapt", s.adapt},
                       {"step", s.step},
                       {"fewest", s.fewest},
                       {"most", s.most},
                       {"passes", s.passes}};
  return json_text(line);
}

/// The lines of the run, to the file and with --json to stdout.
class Lines {
 public:
  explicit Lines(const LocateCommandOptions& options) : json_(options.common.json) {
    if (!options.out.empty()) file_ = std::make_unique<AtomicFile>(options.out);
  }
  [[nodiscard]] bool wanted() const { return json_ || file_; }
  void write(const std::string& line) {
    if (file_) file_->write(line + "\n");
    if (json_) print(line + "\n");
  }
  void commit() {
    if (file_) file_->commit();
  }

 private:
  bool json_;
  std::unique_ptr<AtomicFile> file_;
};

std::string names_of(const std::vector<CountedNeuron>& neurons, size_t most) {
  std::string text;
  for (size_t i = 0; i < neurons.size() && i < most; ++i) {
    text += (i > 0 ? " " : "") + neuron_name(neurons[i].id);
  }
  if (neurons.size() > most)
    text += " and " + format_count(static_cast<int64_t>(neurons.size() - most)) + " more";
  return text;
}

std::string relation_table(const std::vector<LocatedRelation>& relations, bool adapts) {
  Table table({{"relation", Table::Align::kLeft},
               {"facts"},
               {"prompts"},
               {"held out"},
               {"P"},
               {"share"},
               {"neurons per fact"},
               {"empty"},
               {"", Table::Align::kLeft}});
  for (const LocatedRelation& r : relations) {
    std::string remark;
    if (r.selection.too_few > 0) remark += format_count(r.selection.too_few) + " not refined  ";
    if (adapts && !r.selection.within) remark += "not within the wanted neurons per fact  ";
    if (r.negative > 0) remark += format_count(r.negative) + " prompts without a positive score  ";
    if (r.unconverged > 0) remark += format_count(r.unconverged) + " prompts missed the tolerance";
    table.add_row({printable(r.relation), format_count(r.facts), format_count(r.prompts),
                   format_count(r.held_out), format_number(r.p, 3),
                   format_number(r.selection.share, 3), format_number(r.selection.mean, 3),
                   format_count(r.empty), remark});
  }
  return table.str();
}

std::string fact_text(const std::vector<LocatedFact>& facts, bool with_prompts) {
  Table table({{"relation", Table::Align::kLeft},
               {"fact", Table::Align::kLeft},
               {"prompts"},
               {"held out"},
               {"P"},
               {"neurons", Table::Align::kLeft}});
  std::string prompts;
  for (const LocatedFact& fact : facts) {
    double p = 0;
    for (const LocatedPrompt& prompt : fact.prompts) p += prompt.p;
    const std::string name = shorten(printable(fact.subject + " → " + fact.object), 40);
    const std::string neurons = fact.refined
                                    ? (fact.neurons.empty() ? "none" : names_of(fact.neurons, 6))
                                    : "not refined: " + names_of(fact.unrefined, 4);
    table.add_row({printable(fact.relation), name, std::to_string(fact.prompts.size()),
                   std::to_string(fact.held_out.size()),
                   format_number(p / static_cast<double>(fact.prompts.size()), 3), neurons});
    if (!with_prompts) continue;
    prompts += "\n" + printable(fact.relation) + "  " + name + "\n";
    Table list({{"", Table::Align::kLeft}, {"P"}, {"neurons"}, {"prompt", Table::Align::kLeft}});
    for (const LocatedPrompt& one : fact.prompts) {
      list.add_row({"located on", format_number(one.p, 3), format_count(one.neurons),
                    printable(one.prompt)});
    }
    for (const std::string& one : fact.held_out) list.add_row({"held out", "", "", printable(one)});
    prompts += list.str();
  }
  return table.str() + prompts;
}

std::string statistics_text(const LocateSummary& summary) {
  const NeuronStatistics& s = summary.statistics;
  const auto number = [](double value) {
    return std::isnan(value) ? std::string("-") : format_number(value, 3);
  };
  std::string out =
      format_count(s.facts) + " facts, " + format_count(summary.prompts) +
      " prompts: " + number(s.per_fact) + " neurons per fact, " + format_count(s.empty) +
      " facts without; " + format_count(s.distinct) +
      " different neurons\nneurons that two facts share: " + number(s.intersection_within) +
      " within a relation, " + number(s.intersection_across) + " across\n";
  if (summary.several_tokens > 0) {
    out += format_count(summary.several_tokens) +
           " facts have answers of several tokens: there mean log P is attributed, not P\n";
  }
  const int64_t largest = s.layers.empty() ? 0 : *std::ranges::max_element(s.layers);
  const int64_t total = [&] {
    int64_t sum = 0;
    for (const int64_t count : s.layers) sum += count;
    return sum;
  }();
  if (total > 0) {
    out += "\nLayers of the neurons\n";
    Table table({{"layer"}, {"neurons"}, {"share"}, {"", Table::Align::kLeft}});
    for (size_t l = s.layers.size(); l-- > 0;) {
      const auto count = static_cast<double>(s.layers[l]);
      table.add_row({std::to_string(l), format_count(s.layers[l]),
                     format_percent(count / static_cast<double>(total)),
                     bar(count / static_cast<double>(largest), 32)});
    }
    out += table.str() + "\nHubs: the neurons in the most facts\n";
    Table hubs({{"neuron"}, {"facts"}, {"share"}, {"", Table::Align::kLeft}});
    for (const NeuronFacts& hub : s.hubs) {
      const double share = static_cast<double>(hub.facts) / static_cast<double>(s.facts);
      hubs.add_row(
          {neuron_name(hub.id), format_count(hub.facts), format_percent(share), bar(share, 32)});
    }
    out += hubs.str();
  }
  return out;
}

std::string unsplit_text(const std::vector<std::string>& relations) {
  if (relations.empty()) return "";
  std::string out = "\nno held-out prompts in " +
                    format_count(static_cast<int64_t>(relations.size())) + " relations:";
  for (const std::string& relation : relations) out += " " + printable(relation);
  return out + "\n";
}

/// How many of the facts asked for were skipped, and how many lines made no fact at all. With
/// --limit these need not be of the relations that were taken, so that they do not add up.
std::string skipped_text(size_t facts, size_t lines) {
  std::string text;
  if (facts > 0) text = format_count(static_cast<int64_t>(facts), "fact") + " skipped";
  if (lines > 0) {
    text += (text.empty() ? "" : ", ") + format_count(static_cast<int64_t>(lines), "line") +
            " of the fact set not usable";
  }
  return text;
}

/// "0.2", not "0.2000": a threshold as it was given.
std::string plain(double value) {
  char buffer[32];
  const auto result = std::to_chars(buffer, buffer + sizeof buffer, value);
  return {buffer, result.ptr};
}

std::string selection_text(const LocateCommandOptions& options, const LocateOptions& how) {
  const SelectionOptions& s = how.selection;
  std::string text = "scores: " + method_text(how.attribution.score, how.attribution.integration);
  text += "; " + options.preset + ": " + (s.above_ratio ? "above " : "at least ") + plain(s.ratio) +
          " of the largest, in " + (s.above_share ? "more than " : "at least ") + plain(s.share) +
          " of the prompts";
  if (s.min_prompts > 1) text += " and in " + std::to_string(s.min_prompts);
  if (s.adapt) {
    text += ", share moved by " + plain(s.step) + " until " + plain(s.fewest) + " to " +
            plain(s.most) + " neurons per fact";
  }
  return text + "\n";
}

/// What comes out of a run of locate, to the file, to stdout and to the tables.
class Output {
 public:
  Output(const LocateCommandOptions& options, const LocateOptions& how)
      : options_(options), how_(how), lines_(options) {}

  void begin(const ModelConfig& config, const FactSet& set) {
    if (lines_.wanted()) lines_.write(run_line(options_, how_, config, set));
  }
  void add(LocatedRelation&& relation, std::vector<LocatedFact>&& facts) {
    if (lines_.wanted()) {
      for (const LocatedFact& fact : facts) lines_.write(located_fact_line(fact));
      lines_.write(located_relation_line(relation));
    }
    for (LocatedFact& fact : facts) {
      if (static_cast<int64_t>(shown_.size()) < options_.show) shown_.push_back(std::move(fact));
    }
    relations_.push_back(std::move(relation));
  }
  /// `set` holds the lines that are no facts, and the relations without held-out prompts.
  void end(LocateSummary summary, const FactSet& set) {
    // Those of the facts asked for first: they are what the lists and their cut are about.
    const size_t skipped = summary.problems.size();
    summary.problems.insert(summary.problems.end(), set.problems.begin(), set.problems.end());
    if (lines_.wanted()) {
      for (const FactProblem& problem : summary.problems) {
        lines_.write(located_problem_line(problem));
      }
      lines_.write(located_summary_line(summary));
    }
    lines_.commit();
    if (options_.common.json) {
      if (!summary.problems.empty()) {
        note(options_.common, skipped_text(skipped, set.problems.size()));
      }
      return;
    }
    print(selection_text(options_, how_) + "\n" + relation_table(relations_, how_.selection.adapt) +
          "\n" + statistics_text(summary));
    if (!shown_.empty()) {
      print("\nFacts (" + format_count(static_cast<int64_t>(shown_.size())) + " of " +
            format_count(summary.facts) + ")\n" + fact_text(shown_, options_.prompts));
    }
    print(unsplit_text(set.unsplit_relations));
    print(
        problems_text(summary.problems, skipped_text(skipped, summary.problems.size() - skipped)));
  }

 private:
  const LocateCommandOptions& options_;
  const LocateOptions& how_;
  Lines lines_;
  std::vector<LocatedRelation> relations_;
  std::vector<LocatedFact> shown_;
};

/// With --run: what is not in the run's file yet is done and kept there; then it is read from it.
void locate_in_run(const LocateCommandOptions& options, const LocateOptions& how) {
  if (options.at != NeuronPlace::kAnswer) {
    throw UsageError(
        "--run cannot be combined with --at subject: a run's neurons are those where "
        "the answer is asked");
  }
  if (options.strict || !options.scores.empty() ||
      how.attribution.score != Score::kIntegratedGradients) {
    throw UsageError(
        "--run cannot be combined with --score, --scores or --strict: a run keeps the scores of "
        "--score ig and of the baseline, skips what cannot be used, and stores scores with `engram "
        "reproduce --keep-scores`");
  }
  RunCommandOptions run;
  run.common = options.common;
  run.model = options.model;
  run.facts = options.facts;
  run.run = options.run;
  run.options.choice = options.choice;
  run.options.held_out_share = options.held_out_share;
  run.options.locate = how;
  run.options.baseline = selection_preset(options.preset, Score::kActivation);
  run.scope.only = {"locate"};
  run.outputs = {{"--out", options.out}};
  perform_run(run, [&](const RunContext& context, const RunSummary&, const FactSet& set) {
    Output output(options, how);
    output.begin(context.model.config(), set);
    LocateSink sink;
    sink.on_relation = [&](LocatedRelation&& relation, std::vector<LocatedFact>&& facts) {
      output.add(std::move(relation), std::move(facts));
    };
    output.end(replay_located(context, sink), set);
  });
}

void locate_at_once(const LocateCommandOptions& options, const LocateOptions& how) {
  std::vector<NamedPath> inputs = fact_inputs(options.facts);
  inputs.push_back({"MODEL", options.model});
  check_outputs({{"--out", options.out}, {"--scores", options.scores}}, inputs);
  FactSetOptions reading;
  reading.strict = options.strict;
  reading.choice = options.choice;
  reading.seed = options.common.seed;
  reading.held_out_share = options.held_out_share;
  const FactSet set = facts_for_model(options.model, options.facts, reading, options.common);
  int64_t total = 0;
  for (const Fact& fact : set.facts) total += static_cast<int64_t>(fact.prompts.size());

  const auto start = std::chrono::steady_clock::now();
  try {
    const LoadedModel loaded = load_model(options.model, options.common);
    const ModelConfig& config = loaded.model.config();
    Output output(options, how);
    std::unique_ptr<ScoreFile> scores;
    if (!options.scores.empty()) {
      scores = std::make_unique<ScoreFile>(options.scores, config.layers, config.d_ff);
    }
    output.begin(config, set);
    LocateSummary summary;
    {
      Progress progress(options.common.quiet, "locating", total, "prompts");
      LocateSink sink;
      sink.on_progress = [&](int64_t by) { progress.advance(by); };
      if (scores) {
        sink.on_scores = [&](int64_t row, const at::Tensor& values) {
          scores->write_row(row, values);
        };
      }
      sink.on_relation = [&](LocatedRelation&& relation, std::vector<LocatedFact>&& facts) {
        output.add(std::move(relation), std::move(facts));
      };
      summary = locate(loaded.model, loaded.tokenizer, set.facts, how, sink);
    }
    const int64_t prompts = summary.prompts;
    output.end(std::move(summary), set);
    if (scores) scores->commit(prompts);
    flush_output();
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    note(options.common, format_count(prompts) + " prompts in " + format_duration(time.count()) +
                             (options.out.empty() ? "" : "; wrote " + options.out) +
                             (options.scores.empty() ? "" : "; wrote " + options.scores));
  } catch (const Interrupted&) {
    throw Interrupted("no file was written");
  }
}

void run_locate(const LocateCommandOptions& options) {
  LocateOptions how;
  how.attribution = options.attribution;
  how.neurons_at = options.at;
  how.attribution.threads = options.common.threads;
  how.attribution.memory_bytes = options.common.memory_bytes;
  how.selection = selection_of(options);
  how.strict = options.strict;
  if (options.run.empty()) {
    locate_at_once(options, how);
  } else {
    locate_in_run(options, how);
  }
}

}  // namespace

void add_locate_command(CLI::App& app) {
  auto options = std::make_shared<LocateCommandOptions>();
  CLI::App* command = add_command(app, "locate", "facts in, knowledge neurons out", kLocateHelp);
  add_model(*command, options->model, "Folder of the model.")->required();
  add_facts_option(*command, options->facts);
  command
      ->add_option("--preset", options->preset,
                   "Rules of selection: dai2022 (default), eleuther, eleuther-pararel.")
      ->type_name("NAME");
  add_neuron_place(*command, options->at);
  add_attribution_options(*command, options->attribution);
  add_number(*command, "--ratio", options->ratio, above_zero(1),
             "Share of a prompt's largest score that passes.");
  add_number(*command, "--share", options->share, 0, 1,
             "Share of a fact's prompts that a neuron has to pass.");
  add_integer(*command, "--min-prompts", options->min_prompts, 1, 1'000'000,
              "Prompts that it has to pass at least.");
  add_integer(*command, "--min-bag", options->min_bag, 1, 1'000'000,
              "Facts with fewer prompts are not refined. Default: 3.");
  const auto choice = [&](const std::string& yes, const std::string& no, std::optional<bool>& value,
                          const std::string& text) {
    CLI::Option* set = command->add_flag_function(yes, [&value](int64_t) { value = true; }, text);
    command->add_flag_function(
               no, [&value](int64_t) { value = false; }, "The opposite.")
        ->excludes(set);
  };
  choice("--above-ratio", "--at-ratio", options->above_ratio,
         "Scores pass strictly above the ratio only.");
  choice("--above-share", "--at-share", options->above_share,
         "Neurons belong when in strictly more than the share of the prompts.");
  choice("--adapt", "--no-adapt", options->adapt,
         "Move the share per relation until the mean number of neurons fits.");
  add_number(*command, "--step", options->step, above_zero(1),
             "By which the share moves. Default: 0.05.");
  add_number(*command, "--fewest", options->fewest, 0, 1e6,
             "Wanted mean number of neurons, from. Default: 2.");
  add_number(*command, "--most", options->most, 0, 1e6,
             "Wanted mean number of neurons, to. Default: 5.");
  add_integer(*command, "--passes", options->passes, 1, 1000,
              "Selections per relation, at most; the last one's sets stand. Default: 6.");
  add_choice_options(*command, options->choice, "Take");
  add_number(*command, "--held-out-share", options->held_out_share, 0, 1,
             "ParaRel: share of a relation's patterns held out, in whole groups; 0: none. "
             "Default: 0.3.");
  command->add_flag("--strict", options->strict,
                    "Stop at the first line or fact that cannot be used.");
  add_path(
      *command, "--run", options->run,
      "Keep the results in this file as `engram reproduce` does, and go on from what it holds.")
      ->type_name("RUN.db");
  add_path(*command, "--out", options->out, "Write JSON Lines to this file.")->type_name("FILE");
  add_path(*command, "--scores", options->scores,
           "Write all scores to this NumPy file, float32 [prompts, layers, neurons].")
      ->type_name("FILE");
  add_integer(*command, "--show", options->show, 0, 1'000'000'000,
              "Facts to print in the table. Default: 10.");
  command->add_flag("--prompts", options->prompts, "Print these facts' prompts, too.");
  add_common_options(*command, options->common);
  command->callback([options] { run_locate(*options); });
}

}  // namespace engram::cli
