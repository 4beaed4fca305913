#include "cli/edit_make.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "cli/attribute.h"
#include "cli/common.h"
#include "cli/paths.h"
#include "engram/edit/delta.h"
#include "engram/edit/working_copy.h"
#include "engram/evaluation/locate.h"
#include "engram/evaluation/prepare.h"

namespace engram::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kUpdateHelp =
    R"(Makes the model answer O instead of the fact's object: the value vectors of the
fact's knowledge neurons move away from the old answer's embedding and towards the
new one's,

  value += -lambda1 |value|/|e(o)| e(o) + lambda2 |value|/|e(o')| e(o')

The neurons are located on the fact's own prompts. Those that are in more than 10 % of
the relation's other facts, and in at least 2 of them, are left alone: hence all facts
of the relation are located, or --limit of them. Values are rounded to the type in
which the model is stored, and measured as rounded: before and after, on the prompts
that located and on held-out ones, and on one prompt each of other facts.

The model must answer the fact rightly on most of its prompts; --force edits anyway.

Example:
  engram edit update models/engram-base --relation P36 --subject France --to Rome \
                     --out rome.safetensors
)";

constexpr const char* kEraseHelp =
    R"(Makes the model forget a relation: the value vectors of its most frequent knowledge
neurons are set to zero, to the embedding of the unknown token (unk), or to the mean
value vector of the layer (mean). Accuracy and answer perplexity, exp(mean -log P), are
measured before and after, inside the relation and on one prompt each of a seeded
sample of other facts.

Example:
  engram edit erase models/engram-base --relation P36 --neurons 10 --out forget.safetensors
)";

/// What both commands take.
struct MakeOptions {
  CommonOptions common;
  std::string model;
  std::string facts;  ///< empty: MODEL/facts.jsonl
  std::string relation;
  std::string out;
  std::string preset = "dai2022";
  AttributionOptions attribution;
  int64_t limit = 0;     ///< facts of the relation to locate; 0: all
  int64_t others = 200;  ///< facts that show side effects, inside and outside the relation each
};

struct UpdateOptions : MakeOptions {
  std::string subject;
  std::string object;  ///< which of the subject's; empty: the only one
  std::string target;
  double lambda1 = 1;
  double lambda2 = 8;
  bool force = false;
};

struct EraseOptions : MakeOptions {
  EraseMode mode = EraseMode::kZero;
  int64_t neurons = 20;
};

std::string facts_path(const MakeOptions& options) {
  return options.facts.empty() ? (std::filesystem::path(options.model) / "facts.jsonl").string()
                               : options.facts;
}

std::string count_text(size_t count, const std::string& what) {
  return format_count(static_cast<int64_t>(count)) + " " + what + (count == 1 ? "" : "s");
}

/// The first `count` of a seeded order of `values`.
template <typename T>
std::vector<T> sample(std::vector<T> values, int64_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  for (size_t i = 0; i + 1 < values.size() && std::cmp_less(i, count); ++i) {
    std::swap(values[i], values[i + random() % (values.size() - i)]);
  }
  if (std::cmp_less(count, values.size())) values.resize(static_cast<size_t>(count));
  return values;
}

// ---- the facts --------------------------------------------------------------------------------

/// A fact set, seen from one relation.
struct Relation {
  std::vector<Fact> facts;   ///< of the relation
  std::vector<Fact> others;  ///< of all others
};

Relation read_relation(const MakeOptions& options) {
  FactSetOptions reading;
  reading.seed = options.common.seed;
  FactSet set = read_facts(facts_path(options), reading);
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
                   "\", expected one of its " + count_text(names.size(), "relation") + ": " +
                   known + (names.size() > 10 ? ", ..." : ""));
}

const Fact& find_fact(const std::vector<Fact>& facts, const UpdateOptions& options) {
  std::vector<const Fact*> found;
  std::string objects;
  for (const Fact& fact : facts) {
    if (fact.subject != options.subject) continue;
    objects += (objects.empty() ? "" : ", ") + fact.object;
    if (options.object.empty() || fact.object == options.object) found.push_back(&fact);
  }
  if (found.size() == 1) return *found.front();
  const std::string what = facts_path(options) + ": relation " + options.relation;
  if (objects.empty()) {
    throw InputError(what + " has no fact of subject \"" + options.subject + "\" among its " +
                     count_text(facts.size(), "fact"));
  }
  if (found.empty()) {
    throw InputError(what + ", subject \"" + options.subject + "\" has no object \"" +
                     options.object + "\", expected one of: " + objects);
  }
  throw InputError(what + ", subject \"" + options.subject + "\" has several objects (" + objects +
                   "): say with --object which one is to change");
}

/// Whether two facts are the same.
bool same_fact(const Fact& a, const Fact& b) {
  return a.subject == b.subject && a.object == b.object && a.relation == b.relation;
}

/// One seeded prompt each of a sample of facts.
std::vector<Probe> side_probes(const std::vector<Fact>& facts, const LoadedModel& loaded,
                               const MakeOptions& options) {
  std::vector<Probe> probes;
  std::vector<FactProblem> problems;
  // Some facts do not suit the model; a few more than wanted are tried.
  for (const Fact& fact : sample(facts, 2 * options.others, options.common.seed)) {
    if (std::cmp_greater_equal(probes.size(), options.others)) break;
    const auto prepared = prepare_fact(fact, loaded.tokenizer, loaded.model.config(), problems);
    if (prepared) probes.push_back(prepared->prompts.front());
  }
  return probes;
}

// ---- the neurons ------------------------------------------------------------------------------

/// The knowledge neurons of a relation's facts.
struct LocatedNeurons {
  std::vector<LocatedFact> facts;
  LocatedRelation relation;
  std::vector<FactProblem> problems;
};

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

std::vector<NeuronId> neurons_to_update(const LocatedNeurons& located, const Fact& fact,
                                        const UpdateOptions& options) {
  std::vector<FactNeurons> sets;
  std::optional<size_t> own;
  for (const LocatedFact& one : located.facts) {
    if (one.subject == fact.subject && one.object == fact.object) own = sets.size();
    FactNeurons set{one.relation, {}};
    for (const CountedNeuron& neuron : one.neurons) set.neurons.push_back(neuron.id);
    sets.push_back(std::move(set));
  }
  if (!own) throw InternalError("the fact to update was not located");
  const LocatedFact& mine = located.facts[*own];
  if (!mine.refined) {
    throw InputError(fact.origin + ": got " + count_text(fact.prompts.size(), "prompt") +
                     ", expected at least " + std::to_string(kLocatingPrompts) +
                     " to locate the fact's neurons by");
  }
  if (mine.neurons.empty()) {
    throw InputError(fact.origin + ": the fact has no knowledge neurons: its " +
                     count_text(fact.prompts.size(), "prompt") +
                     " agree on none (--preset and --score choose otherwise)");
  }
  std::vector<NeuronId> neurons = editable_neurons(sets, *own);
  if (neurons.empty()) {
    throw InputError(fact.origin + ": none of the fact's " +
                     count_text(mine.neurons.size(), "knowledge neuron") +
                     " can be edited: each is in more than 10 % of the relation's other facts");
  }
  if (neurons.size() < mine.neurons.size()) {
    note(options.common, count_text(mine.neurons.size() - neurons.size(), "knowledge neuron") +
                             " left alone, in more than 10 % of the relation's other facts");
  }
  return neurons;
}

EditReason reason_of(const MakeOptions& options, EditKind kind, const LocatedRelation& located) {
  EditReason why;
  why.kind = kind;
  why.relation = options.relation;
  why.score = score_name(options.attribution.score);
  const bool integrated = options.attribution.score == Score::kIntegratedGradients;
  why.rule = integrated ? rule_name(options.attribution.rule) : "";
  why.selection = options.preset + ", in " + format_number(located.selection.share, 3) +
                  " of the prompts, " + count_text(static_cast<size_t>(located.facts), "fact") +
                  " of the relation";
  why.version = ENGRAM_VERSION;
  return why;
}

// ---- before and after ---------------------------------------------------------------------------

/// How a model answers some prompts.
struct Answers {
  std::vector<Answered> each;

  [[nodiscard]] int64_t top() const { return std::ranges::count_if(each, &Answered::top); }
  [[nodiscard]] double mean_p() const {
    double sum = 0;
    for (const Answered& one : each) sum += one.p;
    return sum / static_cast<double>(each.size());
  }
  [[nodiscard]] double perplexity() const {
    double sum = 0;
    for (const Answered& one : each) sum -= one.log_p;
    return std::exp(sum / static_cast<double>(each.size()));
  }
  [[nodiscard]] double rank() const {  // geometric mean
    double sum = 0;
    for (const Answered& one : each) sum += std::log(static_cast<double>(one.rank));
    return std::exp(sum / static_cast<double>(each.size()));
  }
};

Answers ask(const Model& model, const std::vector<Probe>& probes, const CommonOptions& common) {
  if (probes.empty()) return {};
  MeasureOptions how;
  how.threads = common.threads;
  how.memory_bytes = common.memory_bytes;
  return {measure(model, probes, {}, {}, how).before};
}

/// The top answer to a prompt: the largest logit at each mask.
std::string top_answer(const LoadedModel& loaded, const Model& model, const Probe& probe) {
  const c10::InferenceMode guard;
  const at::Tensor ids = at::tensor(probe.ids, at::kLong).unsqueeze(0).to(model.device());
  const at::Tensor places = at::tensor(probe.positions, at::kLong).to(model.device());
  const at::Tensor best = model.logits(model.encode(ids)[0].index_select(0, places)).argmax(-1);
  const at::Tensor on_cpu = best.to(at::kCPU).contiguous();
  std::vector<int64_t> tokens(on_cpu.const_data_ptr<int64_t>(),
                              on_cpu.const_data_ptr<int64_t>() + on_cpu.numel());
  std::string text;
  for (const int64_t id : tokens) {
    if (!loaded.tokenizer.has_token(id)) return "#" + std::to_string(id);
  }
  text = loaded.tokenizer.decode(tokens, /*skip_special=*/false);
  return text.substr(std::min(text.find_first_not_of(' '), text.size()));
}

/// Prompts of one kind, asked before and after.
struct Asked {
  std::string scope;
  Answers before, after;                ///< of the right answer
  Answers target_before, target_after;  ///< of o'; empty where it is not asked
};

Asked ask_both(const std::string& scope, const LoadedModel& loaded, const Model& edited,
               const std::vector<Probe>& probes, const CommonOptions& common) {
  return {scope, ask(loaded.model, probes, common), ask(edited, probes, common), {}, {}};
}

Json answers_json(const Answers& answers) {
  if (answers.each.empty()) return nullptr;
  return {{"prompts", answers.each.size()},
          {"top", answers.top()},
          {"p", answers.mean_p()},
          {"perplexity", answers.perplexity()},
          {"rank", answers.rank()}};
}

Json asked_json(const std::vector<Asked>& scopes) {
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

std::string share_text(const Answers& answers) {
  return format_percent(static_cast<double>(answers.top()) /
                        static_cast<double>(answers.each.size()));
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
  std::string text;
  for (const NeuronId id : delta.neurons()) {
    text += " " + std::to_string(id.layer) + ":" + std::to_string(id.neuron);
  }
  return text;
}

Json delta_json(const char* record, const MakeOptions& options, const Delta& delta) {
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

void check_paths(const MakeOptions& options) {
  std::vector<NamedPath> inputs = fact_inputs(facts_path(options));
  inputs.push_back({"MODEL", options.model});
  check_outputs({{"--out", options.out}}, inputs);
}

// ---- update -----------------------------------------------------------------------------------

void check_known(const UpdateOptions& options, const Fact& fact, const Answers& own,
                 const std::string& top) {
  const auto prompts = static_cast<int64_t>(own.each.size());
  if (2 * own.top() > prompts) return;
  const std::string what = "the model answers \"" + fact.object + "\" on " +
                           std::to_string(own.top()) + " of the fact's " +
                           count_text(own.each.size(), "prompt") + " (to the first \"" + top +
                           "\"), expected most of them";
  if (!options.force) throw InputError(fact.origin + ": " + what + "; --force edits anyway");
  note(options.common, what);
}

/// The fact with the other object, so that its prompts have the masks of the new answer.
PreparedFact prepare_target(const Fact& fact, const LoadedModel& loaded,
                            const std::string& target) {
  Fact changed = fact;
  changed.object = target;
  changed.origin = "--to";
  return prepare_fact(changed, loaded.tokenizer, loaded.model.config());
}

struct PromptAnswers {
  std::string scope, prompt, before, after;
};

std::vector<PromptAnswers> prompt_answers(const LoadedModel& loaded, const Model& edited,
                                          const Fact& fact, const PreparedFact& prepared) {
  std::vector<PromptAnswers> rows;
  const auto add = [&](const char* scope, const std::vector<std::string>& texts,
                       const std::vector<Probe>& probes) {
    for (size_t i = 0; i < probes.size(); ++i) {
      rows.push_back({scope, texts[i], top_answer(loaded, loaded.model, probes[i]),
                      top_answer(loaded, edited, probes[i])});
    }
  };
  add("own", fact.prompts, prepared.prompts);
  add("held out", fact.held_out, prepared.held_out);
  return rows;
}

/// The relation's facts to locate: all, or the fact and a sample of the others.
std::vector<Fact> facts_to_locate(const std::vector<Fact>& facts, const Fact& fact,
                                  const UpdateOptions& options) {
  if (options.limit == 0 || std::cmp_less_equal(facts.size(), options.limit)) return facts;
  std::vector<Fact> others;
  for (const Fact& one : facts) {
    if (!same_fact(one, fact)) others.push_back(one);
  }
  others = sample(std::move(others), options.limit - 1, options.common.seed);
  others.insert(others.begin(), fact);
  return others;
}

std::vector<Asked> measure_update(const UpdateOptions& options, const LoadedModel& loaded,
                                  const Model& edited, const Relation& relation, const Fact& fact,
                                  const PreparedFact& old, const PreparedFact& target) {
  const CommonOptions& common = options.common;
  std::vector<Asked> scopes;
  const auto add = [&](const char* scope, const std::vector<Probe>& probes,
                       const std::vector<Probe>& to) {
    if (probes.empty()) return;
    Asked asked = ask_both(scope, loaded, edited, probes, common);
    asked.target_before = ask(loaded.model, to, common);
    asked.target_after = ask(edited, to, common);
    scopes.push_back(std::move(asked));
  };
  add("own", old.prompts, target.prompts);
  add("held out", old.held_out, target.held_out);
  std::vector<Fact> rest;
  for (const Fact& one : relation.facts) {
    if (one.subject != fact.subject) rest.push_back(one);
  }
  add("same relation", side_probes(rest, loaded, options), {});
  add("other relations", side_probes(relation.others, loaded, options), {});
  return scopes;
}

void print_update(const UpdateOptions& options, const Fact& fact, const Delta& delta,
                  const std::vector<Asked>& scopes, const std::vector<PromptAnswers>& prompts) {
  if (options.common.json) {
    Json out = delta_json("update", options, delta);
    out["subject"] = fact.subject;
    out["object"] = fact.object;
    out["target"] = options.target;
    out["lambda1"] = options.lambda1;
    out["lambda2"] = options.lambda2;
    out["scopes"] = asked_json(scopes);
    auto& list = out["prompts"] = Json::array();
    for (const PromptAnswers& row : prompts) {
      list.push_back({{"scope", row.scope},
                      {"prompt", row.prompt},
                      {"top_before", row.before},
                      {"top_after", row.after}});
    }
    print_json(out);
    return;
  }
  print(
      printable(fact.relation + " " + fact.subject + ": " + fact.object + " → " + options.target) +
      "\nneurons:" + neuron_list(delta) + "\n\n" + asked_table(scopes) + "\nTop answers\n");
  Table table({{"", Table::Align::kLeft},
               {"before", Table::Align::kLeft},
               {"after", Table::Align::kLeft},
               {"prompt", Table::Align::kLeft}});
  for (const PromptAnswers& row : prompts) {
    table.add_row({row.scope, printable(row.before), printable(row.after), printable(row.prompt)});
  }
  print(table.str());
}

void run_update(const UpdateOptions& options) {
  check_paths(options);
  const Relation relation = read_relation(options);
  const Fact& fact = find_fact(relation.facts, options);
  if (fact.object == options.target) {
    throw UsageError("--to: got \"" + options.target + "\", which is the fact's answer already");
  }
  const LoadedModel loaded = load_model(options.model, options.common);
  const std::string base = edit_base(options.model);
  const PreparedFact old = prepare_fact(fact, loaded.tokenizer, loaded.model.config());
  const PreparedFact target = prepare_target(fact, loaded, options.target);
  check_known(options, fact, ask(loaded.model, old.prompts, options.common),
              top_answer(loaded, loaded.model, old.prompts.front()));

  const LocatedNeurons located =
      locate_relation(facts_to_locate(relation.facts, fact, options), loaded, options, 20);
  const std::vector<NeuronId> neurons = neurons_to_update(located, fact, options);
  EditReason why = reason_of(options, EditKind::kUpdate, located.relation);
  why.subject = fact.subject;
  why.object = fact.object;
  why.target = options.target;
  why.lambda1 = options.lambda1;
  why.lambda2 = options.lambda2;
  const ValueEdit edit =
      update_values(loaded.model, neurons, old.prompts.front().answer,
                    target.prompts.front().answer, options.lambda1, options.lambda2);
  const Delta delta = make_delta(options.model, base, edit, why);
  const Model edited = with_values(loaded.model, delta.values());  // as rounded
  const std::vector<Asked> scopes =
      measure_update(options, loaded, edited, relation, fact, old, target);
  const std::vector<PromptAnswers> prompts = prompt_answers(loaded, edited, fact, old);
  write_delta(options.out, delta);
  print_update(options, fact, delta, scopes, prompts);
  note(options.common, "wrote " + options.out);
}

// ---- erase ------------------------------------------------------------------------------------

std::vector<Asked> measure_erasure(const EraseOptions& options, const LoadedModel& loaded,
                                   const Model& edited, const std::vector<Fact>& facts,
                                   const Relation& relation) {
  std::vector<Probe> own;
  std::vector<Probe> held_out;
  std::vector<FactProblem> problems;
  for (const Fact& fact : facts) {
    const auto prepared = prepare_fact(fact, loaded.tokenizer, loaded.model.config(), problems);
    if (!prepared) continue;
    own.insert(own.end(), prepared->prompts.begin(), prepared->prompts.end());
    held_out.insert(held_out.end(), prepared->held_out.begin(), prepared->held_out.end());
  }
  std::vector<Asked> scopes;
  for (const auto& [scope, probes] :
       {std::pair("own", std::move(own)), std::pair("held out", std::move(held_out)),
        std::pair("other relations", side_probes(relation.others, loaded, options))}) {
    if (!probes.empty()) {
      scopes.push_back(ask_both(scope, loaded, edited, probes, options.common));
    }
  }
  return scopes;
}

void print_erasure(const EraseOptions& options, const Delta& delta,
                   const std::vector<Asked>& scopes) {
  if (options.common.json) {
    Json out = delta_json("erase", options, delta);
    out["mode"] = erase_mode_name(options.mode);
    out["scopes"] = asked_json(scopes);
    print_json(out);
    return;
  }
  print(printable(options.relation) + ": value vectors of " +
        count_text(delta.neurons().size(), "neuron") + " set to " + erase_mode_name(options.mode) +
        "\nneurons:" + neuron_list(delta) + "\n\n" + asked_table(scopes));
}

void run_erase(const EraseOptions& options) {
  check_paths(options);
  const Relation relation = read_relation(options);
  const LoadedModel loaded = load_model(options.model, options.common);
  const std::string base = edit_base(options.model);
  const std::vector<Fact> facts = options.limit == 0
                                      ? relation.facts
                                      : sample(relation.facts, options.limit, options.common.seed);
  const LocatedNeurons located = locate_relation(facts, loaded, options, options.neurons);
  std::vector<NeuronId> neurons;
  for (const NeuronFacts& one : located.relation.neurons.most_frequent) neurons.push_back(one.id);
  if (neurons.empty()) {
    throw InputError(facts_path(options) + ": no fact of relation " + options.relation +
                     " has knowledge neurons (" +
                     count_text(static_cast<size_t>(located.relation.facts), "fact") +
                     " located); facts need at least " + std::to_string(kLocatingPrompts) +
                     " prompts");
  }
  if (std::cmp_less(neurons.size(), options.neurons)) {
    note(options.common, "the relation has " + count_text(neurons.size(), "neuron") +
                             " in all, fewer than --neurons");
  }
  EditReason why = reason_of(options, EditKind::kErase, located.relation);
  why.mode = options.mode;
  const ValueEdit edit =
      erase_values(loaded.model, neurons, options.mode, loaded.tokenizer.unknown_id());
  const Delta delta = make_delta(options.model, base, edit, why);
  const Model edited = with_values(loaded.model, delta.values());
  const std::vector<Asked> scopes = measure_erasure(options, loaded, edited, facts, relation);
  write_delta(options.out, delta);
  print_erasure(options, delta, scopes);
  note(options.common, "wrote " + options.out);
}

// ---- options ----------------------------------------------------------------------------------

void add_make_options(CLI::App& command, MakeOptions& options) {
  add_path(command, "--facts", options.facts,
           "Fact set, as for `engram locate`. Default: MODEL/facts.jsonl.")
      ->type_name("FILE|DIR");
  add_path(command, "--out", options.out, "The delta to write. Required.")
      ->type_name("DELTA")
      ->required();
  command
      .add_option("--preset", options.preset,
                  "Rules of selection: dai2022 (default), eleuther, eleuther-pararel.")
      ->type_name("NAME");
  add_attribution_options(command, options.attribution);
  add_integer(command, "--limit", options.limit, 1, 1'000'000'000,
              "Locate N facts of the relation at most, a seeded sample. Default: all.");
  add_integer(command, "--others", options.others, 0, 1'000'000,
              "Facts on which side effects are measured. Default: 200.");
}

}  // namespace

void add_edit_update_command(CLI::App& edit) {
  auto options = std::make_shared<UpdateOptions>();
  CLI::App* command = add_command(edit, "update", "change one fact's answer", kUpdateHelp);
  add_path(*command, "MODEL", options->model, "Folder of the model, or a working copy.")
      ->required();
  command->add_option("--subject", options->subject, "Of the fact. Required.")
      ->type_name("S")
      ->required();
  command->add_option("--relation", options->relation, "Of the fact, like P36. Required.")
      ->type_name("R")
      ->required();
  command->add_option("--to", options->target, "The new answer. Required.")
      ->type_name("O")
      ->required();
  command
      ->add_option("--object", options->object,
                   "The old answer, where the subject has several in the relation.")
      ->type_name("O");
  add_number(*command, "--lambda1", options->lambda1, 0, 1e6,
             "How far values move away from the old answer. Default: 1.");
  add_number(*command, "--lambda2", options->lambda2, 0, 1e6,
             "How far they move towards the new one. Default: 8.");
  command->add_flag("--force", options->force, "Also where the model does not answer rightly.");
  add_make_options(*command, *options);
  add_common_options(*command, options->common);
  command->callback([options] { run_update(*options); });
}

void add_edit_erase_command(CLI::App& edit) {
  auto options = std::make_shared<EraseOptions>();
  CLI::App* command = add_command(edit, "erase", "make a relation forgotten", kEraseHelp);
  add_path(*command, "MODEL", options->model, "Folder of the model, or a working copy.")
      ->required();
  command->add_option("--relation", options->relation, "To erase, like P36. Required.")
      ->type_name("R")
      ->required();
  command
      ->add_option_function<std::string>(
          "--mode",
          [options](const std::string& text) {
            try {
              options->mode = parse_erase_mode(text);
            } catch (const UsageError& error) {
              throw CLI::ValidationError("--mode: " + std::string(error.what()));
            }
          },
          "zero (default), unk or mean.")
      ->type_name("zero|unk|mean");
  add_integer(*command, "--neurons", options->neurons, 1, 1'000'000,
              "How many of the relation's most frequent neurons. Default: 20.");
  add_make_options(*command, *options);
  add_common_options(*command, options->common);
  command->callback([options] { run_erase(*options); });
}

}  // namespace engram::cli
