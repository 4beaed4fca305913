#include "engram/run/run.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <set>

#include "base/sha256.h"
#include "engram/attribution/attribution.h"
#include "engram/base/interrupt.h"
#include "engram/error.h"
#include "experiments/effects/experiment.h"
#include "experiments/screen/experiment.h"
#include "run/inputs.h"
#include "store/run_rows.h"

namespace engram {
namespace {

std::string number(double value) {
  std::array<char, 32> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return {buffer.data(), end.ptr};
}
std::string number(int64_t value) { return std::to_string(value); }

void add_selection(const std::string& prefix, const SelectionOptions& s, RunIdentity& identity) {
  identity[prefix + ".ratio"] = (s.above_ratio ? "> " : ">= ") + number(s.ratio);
  identity[prefix + ".share"] = (s.above_share ? "> " : ">= ") + number(s.share);
  identity[prefix + ".min_prompts"] = number(s.min_prompts);
  identity[prefix + ".min_bag"] = number(s.min_bag);
  identity[prefix + ".adapt"] = s.adapt ? number(s.fewest) + ".." + number(s.most) + " by " +
                                              number(s.step) + ", " + number(s.passes) + " passes"
                                        : "no";
}

/// An experiment is named by --only, or needed by one that is.
std::set<std::string_view> wanted(const std::vector<std::unique_ptr<Experiment>>& experiments,
                                  const std::vector<std::string>& only, bool audit) {
  std::set<std::string_view> names;
  for (const auto& experiment : experiments) {
    if ((only.empty() && experiment->of_audit() == audit) ||
        std::ranges::find(only, experiment->name()) != only.end()) {
      names.insert(experiment->name());
    }
  }
  for (const std::string& name : only) {
    if (names.contains(name)) continue;
    std::string known;
    for (const auto& experiment : experiments) {
      known += (known.empty() ? "" : ", ") + std::string(experiment->name());
    }
    throw UsageError("there is no experiment \"" + name + "\", expected one of " + known);
  }
  // What is needed stands before what needs it.
  for (auto it = experiments.rbegin(); it != experiments.rend(); ++it) {
    if (!names.contains((*it)->name())) continue;
    for (const std::string_view needed : (*it)->needs()) names.insert(needed);
  }
  return names;
}

class Runner {
 public:
  Runner(const RunContext& run, const RunScope& scope, const RunProgress& progress)
      : run_(run), progress_(progress), whole_(scope.shards == 1) {
    if (scope.shards < 1 || scope.shard < 1 || scope.shard > scope.shards) {
      throw UsageError("shard: got " + number(scope.shard) + "/" + number(scope.shards) +
                       ", expected I/N with I from 1 to N");
    }
    const std::vector<std::string>& all = run.facts.relations();
    for (size_t i = 0; i < all.size(); ++i) {
      if (static_cast<int64_t>(i) % scope.shards == scope.shard - 1) relations_.push_back(all[i]);
    }
  }

  RunSummary go(const RunScope& scope) {
    write_whole();
    std::vector<std::unique_ptr<Experiment>> experiments = make_experiments();
    std::vector<std::string> only = scope.only;
    if (scope.intervention) {
      experiments.push_back(experiments::effects::make_experiment(*scope.intervention));
      only.emplace_back(experiments.back()->name());
    }
    const std::set<std::string_view> names =
        wanted(experiments, only, run_.options.audit.has_value());
    for (const auto& experiment : experiments) {
      if (!names.contains(experiment->name())) continue;
      const std::optional<std::string> reason = reason_to_skip(*experiment);
      if (reason) {
        summary_.left_out.emplace_back(experiment->name(), *reason);
        run_.store.skip(std::string(experiment->name()), *reason);
      } else {
        run_experiment(*experiment);
      }
    }
    run_.store.flush();
    return std::move(summary_);
  }

 private:
  /// What belongs to the run as a whole: every shard holds the same.
  void write_whole() {
    const Unit unit{std::string(kWholeUnit), "", 0};
    if (run_.store.done(unit)) return;
    std::vector<ProblemRow> problems;
    for (const FactProblem& problem : run_.facts.problems()) {
      problems.push_back(
          {static_cast<int64_t>(problems.size()), problem.line,
           std::filesystem::path(problem.file).filename().string() + ": " + problem.message});
    }
    const ModelConfig& config = run_.model.config();
    const std::vector<ModelRow> model = {{"layers", config.layers},
                                         {"d_ff", config.d_ff},
                                         {"d_model", config.d_model},
                                         {"vocabulary", config.vocabulary}};
    run_.store.write(unit, {to_rows(std::move(problems)), to_rows(model)});
  }

  [[nodiscard]] std::optional<std::string> reason_to_skip(const Experiment& experiment) const {
    if (experiment.of_audit() && !run_.options.audit) return "part of `engram audit`";
    if (experiment.across() && !whole_) {
      return "needs all relations: run the same command without --shard on the merged file";
    }
    return experiment.skipped(run_);
  }

  void run_experiment(Experiment& experiment) {
    const std::vector<std::string> all =
        experiment.across() ? std::vector<std::string>{""} : relations_;
    std::vector<Unit> todo;
    int64_t facts = 0;
    int64_t facts_done = 0;
    for (const std::string& relation : all) {
      const int64_t parts = experiment.parts(run_, relation);
      for (int64_t part = 0; part < parts; ++part) {
        Unit unit{std::string(experiment.name()), relation, part};
        const int64_t of_part = experiment.facts(run_, relation, part);
        facts += of_part;
        if (run_.store.done(unit)) {
          facts_done += of_part;
          ++summary_.skipped;
        } else {
          todo.push_back(std::move(unit));
        }
      }
    }
    if (todo.empty()) return;
    if (progress_.on_stage) progress_.on_stage(experiment.name(), facts, facts_done);
    run_.store.progress(experiment.name(), facts_done, facts);
    for (const Unit& unit : todo) {
      Interrupt::check();
      const int64_t of_part = experiment.facts(run_, unit.relation, unit.part);
      run_.store.write(unit, experiment.run(run_, unit.relation, unit.part));
      ++summary_.done;
      facts_done += of_part;
      run_.store.progress(experiment.name(), facts_done, facts);
      if (progress_.on_facts) progress_.on_facts(of_part);
    }
  }

  const RunContext& run_;
  const RunProgress& progress_;
  bool whole_;
  std::vector<std::string> relations_;
  RunSummary summary_;
};

}  // namespace

RunIdentity run_identity(const RunOptions& options, const std::string& fingerprint,
                         const std::vector<Fact>& facts) {
  RunIdentity identity;
  Sha256 hash;
  for (const Fact& fact : facts) hash.update(fact_to_json(fact) + "\n");
  const IntegrationOptions& a = options.locate.attribution.integration;
  for (const auto& experiment : make_experiments()) {
    identity[std::string(kAlgorithmPrefix) + std::string(experiment->name())] =
        number(static_cast<int64_t>(experiment->version()));
    const std::string details = experiment->details(options);
    if (!details.empty()) {
      identity[std::string(kAlgorithmPrefix) + std::string(experiment->name())] += ", " + details;
    }
  }
  if (options.audit) {
    identity["audit"] =
        number(options.audit->known) + " known, " + number(options.audit->never) + " never given";
  }
  identity["model"] = fingerprint;
  identity["facts"] = "sha256:" + hash.hex();
  identity["seed"] = std::to_string(options.seed);
  identity["limit"] = number(options.choice.limit);
  identity["held_out_share"] = number(options.held_out_share);
  identity["rule"] = rule_name(a.rule);
  identity["steps"] = a.steps ? number(*a.steps) : "adaptive";
  if (a.interpolate) identity["interpolate"] = "yes";
  identity["max_steps"] = number(a.max_steps);
  identity["tolerance"] = number(a.tolerance);
  add_selection("selection", options.locate.selection, identity);
  add_selection("baseline", options.baseline, identity);
  identity["relation_neurons"] = number(options.locate.relation_neurons);
  identity["draws"] = number(options.draws) + ", on other prompts " + number(options.side_draws);
  identity["random_from"] = options.random_from_all ? "all" : "unlocated";
  identity["side_effects"] = number(options.same_relation) + " of the relation, " +
                             number(options.other_relations) + " of others, " +
                             number(options.sentences) + " of text";
  identity["stability_facts"] = number(options.stability_facts);
  identity["update_facts"] = number(options.update_facts);
  identity["text_positions"] = number(options.text_positions);
  identity["keep_scores"] = options.keep_scores ? "yes" : "no";
  identity["texts"] = options.texts.empty() ? "none" : hash_of_input(options.texts);
  identity["corpus"] = options.corpus.empty() ? "none" : hash_of_input(options.corpus);
  identity["device"] = options.device;
  if (options.as_published) identity["as_published"] = "yes";
  if (options.norm_epsilon) identity["norm_epsilon"] = number(*options.norm_epsilon);
  return identity;
}

RunSummary execute_run(const RunContext& run, const RunScope& scope, const RunProgress& progress) {
  // Before anything: whether a product has a copy of its factor can change its last bit.
  run.model.prepare_products();
  return Runner(run, scope, progress).go(scope);
}

RunSummary execute_audit(const RunContext& run, RunFacts& facts, const RunScope& scope,
                         const RunProgress& progress) {
  if (!run.options.audit || &facts != &run.facts) {
    throw InternalError("execute_audit: the context is not that of an audit");
  }
  if (scope.shards != 1) throw UsageError("shard: an audit takes all relations");
  RunScope first = scope;
  first.only = {"screen"};
  const RunSummary screened = execute_run(run, first, progress);
  facts.keep(experiments::screen::audit_sample(run));
  RunSummary summary = execute_run(run, scope, progress);
  summary.done += screened.done;
  summary.skipped = std::max(summary.skipped, screened.skipped);
  return summary;
}

}  // namespace engram
