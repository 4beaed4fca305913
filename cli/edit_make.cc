#include "cli/edit_make.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <random>
#include <utility>

#include "cli/attribute.h"
#include "cli/fact_options.h"
#include "cli/paths.h"
#include "engram/text/prepare.h"

namespace engram::cli {
namespace {

using Json = nlohmann::ordered_json;

Json answers_json(const Answers& answers) {
  if (answers.each.empty()) return nullptr;
  return {{"prompts", answers.each.size()},
          {"top", answers.top()},
          {"p", answers.mean_p()},
          {"perplexity", answers.perplexity()},
          {"rank", answers.rank()}};
}

std::string share_text(const Answers& answers) {
  return format_percent(static_cast<double>(answers.top()) /
                        static_cast<double>(answers.each.size()));
}

}  // namespace

std::string facts_path(const MakeOptions& options) {
  return options.facts.empty() ? (std::filesystem::path(options.model) / "facts.jsonl").string()
                               : options.facts;
}

std::vector<Fact> sample(std::vector<Fact> facts, int64_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  for (size_t i = 0; i + 1 < facts.size() && std::cmp_less(i, count); ++i) {
    std::swap(facts[i], facts[i + random() % (facts.size() - i)]);
  }
  if (std::cmp_less(count, facts.size())) facts.resize(static_cast<size_t>(count));
  return facts;
}

Relation read_relation(const MakeOptions& options) {
  FactSetOptions reading;
  reading.seed = options.common.seed;
  FactSet set = facts_for_model(options.model, facts_path(options), reading, options.common);
  Relation relation;
  std::vector<std::string> names;
  for (Fact& fact : set.facts) {
    if (names.empty() || names.back() != fact.relation) names.push_back(fact.relation);
    (fact.relation == options.relation ? relation.facts : relation.others)
        .push_back(std::move(fact));
  }
  if (!relation.facts.empty()) return relation;
  std::string known;
  for (size_t i = 0; i < names.size() && i < 10; ++i) known += (i > 0 ? ", " : "") + names[i];
  throw InputError(facts_path(options) + ": has no facts of relation \"" + options.relation +
                   "\", expected one of its " +
                   format_count(static_cast<int64_t>(names.size()), "relation") + ": " + known +
                   (names.size() > 10 ? ", ..." : ""));
}

std::vector<Cloze> side_clozes(const std::vector<Fact>& facts, const LoadedModel& loaded,
                               const MakeOptions& options) {
  std::vector<Cloze> clozes;
  std::vector<FactProblem> problems;
  // Some facts do not suit the model; a few more than wanted are tried.
  for (const Fact& fact : sample(facts, 2 * options.others, options.common.seed)) {
    if (std::cmp_greater_equal(clozes.size(), options.others)) break;
    const auto prepared =
        prepare_fact(fact, loaded.tokenizer, prompt_form(loaded.model.config()), problems);
    if (prepared) clozes.push_back(prepared->prompts.front());
  }
  return clozes;
}

LocatedNeurons locate_relation(const std::vector<Fact>& facts, const LoadedModel& loaded,
                               const MakeOptions& options, int64_t relation_neurons) {
  LocateOptions how;
  how.attribution = options.attribution;
  how.attribution.threads = options.common.threads;
  how.attribution.memory_bytes = options.common.memory_bytes;
  how.selection = selection_preset(options.preset, how.attribution.score);
  how.relation_neurons = relation_neurons;
  int64_t prompts = 0;
  for (const Fact& fact : facts) prompts += static_cast<int64_t>(fact.prompts.size());
  Progress progress(options.common.quiet, "locating", prompts, "prompts");
  LocatedNeurons located;
  LocateSink sink;
  sink.on_progress = [&](int64_t by) { progress.advance(by); };
  sink.on_relation = [&](LocatedRelation&& relation, std::vector<LocatedFact>&& done) {
    located.relation = std::move(relation);
    located.facts = std::move(done);
  };
  located.problems = locate(loaded.model, loaded.tokenizer, facts, how, sink).problems;
  return located;
}

EditReason reason_of(const MakeOptions& options, EditKind kind, const LocatedRelation& located) {
  EditReason why;
  why.kind = kind;
  why.relation = options.relation;
  why.score = score_name(options.attribution.score);
  const bool integrates = score_method(options.attribution.score).integrates;
  why.rule = integrates ? rule_name(options.attribution.integration.rule) : "";
  why.selection = options.preset + ", in " + format_number(located.selection.share, 3) +
                  " of the prompts, " + format_count(located.facts, "fact") + " of the relation";
  why.version = ENGRAM_VERSION;
  return why;
}

Answers ask(const Model& model, const std::vector<Cloze>& clozes, const CommonOptions& common) {
  if (clozes.empty()) return {};
  MeasureOptions how;
  how.threads = common.threads;
  how.memory_bytes = common.memory_bytes;
  return {measure(model, clozes, {}, {}, how).before};
}

Asked ask_both(const std::string& scope, const LoadedModel& loaded, const Model& edited,
               const std::vector<Cloze>& clozes, const CommonOptions& common) {
  return {scope, ask(loaded.model, clozes, common), ask(edited, clozes, common), {}, {}};
}

std::vector<SideEffect> side_effects(const std::vector<Asked>& scopes) {
  std::vector<SideEffect> found;
  for (const Asked& scope : scopes) {
    if (scope.scope != kSameRelationScope && scope.scope != kOtherRelationsScope) continue;
    SideEffect& one = found.emplace_back();
    one.scope = scope.scope;
    one.facts = static_cast<int64_t>(scope.before.each.size());
    one.right_before = scope.before.top();
    one.right_after = scope.after.top();
    for (size_t i = 0; i < scope.before.each.size(); ++i) {
      if (scope.before.each[i].top() && !scope.after.each[i].top()) ++one.lost;
    }
  }
  return found;
}

std::string side_effect_text(const SideEffect& one) {
  const auto share = [&](int64_t right) {
    return format_percent(static_cast<double>(right) / static_cast<double>(one.facts), 0);
  };
  return format_count(one.facts, "fact") +
         (one.scope == kSameRelationScope ? " of the relation: " : " of other relations: ") +
         share(one.right_before) + " right before, " + share(one.right_after) + " after (" +
         format_count(one.lost) + " no longer)";
}

void warn_of_side_effects(const std::vector<SideEffect>& found) {
  std::string text;
  for (const SideEffect& one : found) {
    if (one.lost > 0) text += (text.empty() ? "" : "; ") + side_effect_text(one);
  }
  if (!text.empty()) warn("other facts change: " + text);
}

nlohmann::ordered_json side_effects_json(const std::vector<SideEffect>& found) {
  Json out = Json::array();
  for (const SideEffect& one : found) {
    out.push_back({{"scope", one.scope},
                   {"facts", one.facts},
                   {"right_before", one.right_before},
                   {"right_after", one.right_after},
                   {"lost", one.lost}});
  }
  return out;
}

nlohmann::ordered_json asked_json(const std::vector<Asked>& scopes) {
  Json out = Json::array();
  for (const Asked& scope : scopes) {
    Json one = {{"scope", scope.scope},
                {"before", answers_json(scope.before)},
                {"after", answers_json(scope.after)}};
    if (!scope.target_before.each.empty()) {
      one["target_before"] = answers_json(scope.target_before);
      one["target_after"] = answers_json(scope.target_after);
    }
    out.push_back(one);
  }
  return out;
}

std::string asked_table(const std::vector<Asked>& scopes) {
  Table table({{"prompts of", Table::Align::kLeft},
               {"answer", Table::Align::kLeft},
               {"prompts"},
               {"top before"},
               {"after"},
               {"P before"},
               {"after"},
               {"rank before"},
               {"after"},
               {"perplexity before"},
               {"after"}});
  const auto add = [&](const std::string& scope, const std::string& answer, const Answers& before,
                       const Answers& after) {
    if (before.each.empty()) return;
    table.add_row({scope, answer, format_count(static_cast<int64_t>(before.each.size())),
                   share_text(before), share_text(after), format_number(before.mean_p(), 3),
                   format_number(after.mean_p(), 3), format_number(before.rank(), 3),
                   format_number(after.rank(), 3), format_number(before.perplexity(), 3),
                   format_number(after.perplexity(), 3)});
  };
  for (const Asked& scope : scopes) {
    const bool both = !scope.target_before.each.empty();
    add(scope.scope, both ? "old" : "its own", scope.before, scope.after);
    add(scope.scope, "new", scope.target_before, scope.target_after);
  }
  return table.str();
}

std::string neuron_list(const Delta& delta) {
  constexpr size_t kMost = 50;
  const std::vector<NeuronId> neurons = delta.neurons();
  std::string text;
  for (size_t i = 0; i < neurons.size() && i < kMost; ++i) text += " " + neuron_name(neurons[i]);
  if (neurons.size() > kMost) text += " and " + format_count(neurons.size() - kMost) + " more";
  return text;
}

nlohmann::ordered_json delta_json(const char* record, const MakeOptions& options,
                                  const Delta& delta) {
  Json out = {{"schema", "engram.edit/1"},
              {"record", record},
              {"version", ENGRAM_VERSION},
              {"model", options.model},
              {"base", delta.base},
              {"facts", facts_path(options)},
              {"relation", options.relation},
              {"seed", options.common.seed},
              {"score", delta.why.score},
              {"rule", delta.why.rule},
              {"selection", delta.why.selection},
              {"out", options.out}};
  auto& neurons = out["neurons"] = Json::array();
  for (const NeuronId id : delta.neurons()) neurons.push_back({id.layer, id.neuron});
  return out;
}

void check_paths(const MakeOptions& options, const std::vector<NamedPath>& more) {
  std::error_code failed;
  if (options.facts.empty() && !std::filesystem::exists(facts_path(options), failed)) {
    throw UsageError("--facts is required: " + options.model +
                     " has no facts.jsonl of its own; say with --facts which fact set the edit is"
                     " from");
  }
  std::vector<NamedPath> inputs = fact_inputs(facts_path(options));
  inputs.push_back({"MODEL", options.model});
  std::ranges::copy_if(more, std::back_inserter(inputs),
                       [](const NamedPath& one) { return !one.path.empty(); });
  check_outputs({{"--out", options.out}}, inputs);
}

void add_make_options(CLI::App& command, MakeOptions& options) {
  add_path(command, "--facts", options.facts,
           "Fact set, as for `engram locate`. Default: MODEL/facts.jsonl.")
      ->type_name("FILE|DIR");
  add_path(command, "--out", options.out, "The delta to write. Required.")
      ->type_name("DELTA")
      ->required();
  add_integer(command, "--others", options.others, 0, 1'000'000,
              "Facts on which side effects are measured. Default: 200.");
}

void add_locating_options(CLI::App& command, MakeOptions& options) {
  command
      .add_option("--preset", options.preset,
                  "Rules of selection: dai2022 (default), eleuther, eleuther-pararel.")
      ->type_name("NAME");
  add_attribution_options(command, options.attribution);
}

}  // namespace engram::cli
