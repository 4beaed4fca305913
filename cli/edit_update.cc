#include <c10/core/InferenceMode.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "cli/edit_make.h"
#include "cli/edit_neurons.h"
#include "cli/paths.h"
#include "engram/base/utf8.h"
#include "engram/edit/working_copy.h"
#include "engram/text/prepare.h"

namespace engram::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kUpdateHelp =
    R"(Makes the model answer O instead of the fact's object: the value vectors of the
fact's knowledge neurons move away from the old answer's embedding and towards the
new one's,

  value += -lambda1 |value|/|e(o)| e(o) + lambda2 |value|/|e(o')| e(o')

The neurons are located on the fact's own prompts. Those that are in more than 10 % of
the relation's other facts, and in at least 2 of them, are left alone: hence a sample of
these is located too (--filter-facts), unless --neurons or --run holds them already.
Values are rounded to the type in which the model is stored, and measured as rounded:
before and after, on the prompts that located and on held-out ones, and on one prompt
each of other facts. A warning says how many of these changed; the delta keeps the
numbers, and `engram edit list` shows them.

e(.) is the input embedding of a masked model and the output embedding of a causal one;
--embedding takes the other, where they are not tied. A fact set that says what the new
answer is (CounterFact, EasyEdit) makes --to needless; its neighbours, prompts about
other subjects with the same answer, are asked before and after, too.

The model must answer the fact rightly on most of its prompts; --force edits anyway.

Example:
  engram edit update models/engram-base --relation P36 --subject France --to Rome \
                     --out rome.safetensors
)";

struct UpdateOptions : MakeOptions {
  std::string subject;
  std::string object;  ///< which of the subject's; empty: the only one
  std::string target;
  double lambda1 = 1;
  double lambda2 = 8;
  std::optional<AnswerEmbedding> embedding;
  bool force = false;
  NeuronOptions from;
};

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
                     format_count(facts.size(), "fact"));
  }
  if (found.empty()) {
    throw InputError(what + ", subject \"" + options.subject + "\" has no object \"" +
                     options.object + "\", expected one of: " + objects);
  }
  throw InputError(what + ", subject \"" + options.subject + "\" has several objects (" + objects +
                   "): say with --object which one is to change");
}

/// The top answer to a prompt: the largest logit at each mask.
std::string top_answer(const LoadedModel& loaded, const Model& model, const Cloze& cloze) {
  const c10::InferenceMode guard;
  const at::Tensor ids = at::tensor(cloze.ids, at::kLong).unsqueeze(0).to(model.device());
  const at::Tensor places = at::tensor(cloze.positions, at::kLong).to(model.device());
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

void check_known(const UpdateOptions& options, const Fact& fact, const Answers& own,
                 const std::string& top) {
  const auto prompts = static_cast<int64_t>(own.each.size());
  if (2 * own.top() > prompts) return;
  const std::string what = "the model answers \"" + fact.object + "\" on " +
                           std::to_string(own.top()) + " of the fact's " +
                           format_count(own.each.size(), "prompt") + " (to the first \"" + top +
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
  return prepare_fact(changed, loaded.tokenizer, prompt_form(loaded.model.config()));
}

struct PromptAnswers {
  std::string scope, prompt, before, after;
};

std::vector<PromptAnswers> prompt_answers(const LoadedModel& loaded, const Model& edited,
                                          const Fact& fact, const PreparedFact& prepared) {
  std::vector<PromptAnswers> rows;
  const auto add = [&](const char* scope, const std::vector<std::string>& texts,
                       const std::vector<Cloze>& clozes) {
    for (size_t i = 0; i < clozes.size(); ++i) {
      rows.push_back({scope, texts[i], top_answer(loaded, loaded.model, clozes[i]),
                      top_answer(loaded, edited, clozes[i])});
    }
  };
  add("own", fact.prompts, prepared.prompts);
  add("held out", fact.held_out, prepared.held_out);
  return rows;
}

std::vector<Asked> measure_update(const UpdateOptions& options, const LoadedModel& loaded,
                                  const Model& edited, const Relation& relation, const Fact& fact,
                                  const PreparedFact& old, const PreparedFact& target) {
  const CommonOptions& common = options.common;
  std::vector<Asked> scopes;
  const auto add = [&](const char* scope, const std::vector<Cloze>& clozes,
                       const std::vector<Cloze>& to) {
    if (clozes.empty()) return;
    Asked asked = ask_both(scope, loaded, edited, clozes, common);
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
  std::vector<Cloze> neighbours;
  for (const std::string& prompt : fact.neighbours) {
    neighbours.push_back(encode_cloze(loaded.tokenizer, prompt, fact.object,
                                      prompt_form(loaded.model.config()), fact.origin));
  }
  add("neighbours", neighbours, {});
  add(kSameRelationScope, side_clozes(rest, loaded, options), {});
  add(kOtherRelationsScope, side_clozes(relation.others, loaded, options), {});
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
    out["embedding"] = answer_embedding_name(options.embedding.value());
    out["scopes"] = asked_json(scopes);
    out["side_effects"] = side_effects_json(delta.why.side_effects);
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
      "\nneurons:" + neuron_list(delta) + "\nfrom: " + printable(delta.why.selection) + "\n\n" +
      asked_table(scopes) + "\nTop answers\n");
  Table table({{"", Table::Align::kLeft},
               {"before", Table::Align::kLeft},
               {"after", Table::Align::kLeft},
               {"prompt", Table::Align::kLeft}});
  for (const PromptAnswers& row : prompts) {
    table.add_row({row.scope, printable(row.before), printable(row.after), printable(row.prompt)});
  }
  print(table.str());
}

void run_update(UpdateOptions options) {
  check_paths(options, {{"--neurons", options.from.neurons}, {"--run", options.from.run}});
  const Relation relation = read_relation(options);
  Fact fact = find_fact(relation.facts, options);
  if (options.target.empty()) options.target = fact.new_object;
  if (options.target.empty()) {
    throw UsageError("--to is required: the fact set does not say what the new answer is");
  }
  if (fact.object == options.target) {
    throw UsageError("--to: got \"" + options.target + "\", which is the fact's answer already");
  }
  const LoadedModel loaded = load_model(options.model, options.common);
  if (!options.embedding) options.embedding = usual_embedding(loaded.model.config());
  const std::string base = edit_base(options.model);
  std::optional<RelationSets> found = stored_sets(options.from, fact, loaded, base);
  if (found && !found->prompts.empty()) {
    // Another split of the same prompts would test on what has located.
    fact.prompts = found->prompts;
    fact.held_out = found->held_out;
  }
  const PreparedFact old = prepare_fact(fact, loaded.tokenizer, prompt_form(loaded.model.config()));
  const PreparedFact target = prepare_target(fact, loaded, options.target);
  check_known(options, fact, ask(loaded.model, old.prompts, options.common),
              top_answer(loaded, loaded.model, old.prompts.front()));

  if (!found) found = located_sets(options.from, options, relation.facts, fact, loaded);
  const std::vector<NeuronId> neurons = neurons_to_update(*found, fact, options);
  EditReason why = found->why;
  why.kind = EditKind::kUpdate;
  why.relation = options.relation;
  why.version = ENGRAM_VERSION;
  why.subject = fact.subject;
  why.object = fact.object;
  why.target = options.target;
  why.lambda1 = options.lambda1;
  why.lambda2 = options.lambda2;
  const ValueEdit edit = update_values(loaded.model, neurons, old.prompts.front().answer,
                                       target.prompts.front().answer, options.lambda1,
                                       options.lambda2, options.embedding);
  Delta delta = make_delta(options.model, base, edit, why);
  const Model edited = with_values(loaded.model, delta.values());  // as rounded
  const std::vector<Asked> scopes =
      measure_update(options, loaded, edited, relation, fact, old, target);
  delta.why.side_effects = side_effects(scopes);
  const std::vector<PromptAnswers> prompts = prompt_answers(loaded, edited, fact, old);
  write_delta(options.out, delta);
  print_update(options, fact, delta, scopes, prompts);
  note(options.common, "wrote " + options.out);
  warn_of_side_effects(delta.why.side_effects);
}

}  // namespace

void add_edit_update_command(CLI::App& edit) {
  auto options = std::make_shared<UpdateOptions>();
  CLI::App* command = add_command(edit, "update", "change one fact's answer", kUpdateHelp);
  add_model(*command, options->model, "Folder of the model, or a working copy.")->required();
  command->add_option("--subject", options->subject, "Of the fact. Required.")
      ->type_name("S")
      ->required();
  command->add_option("--relation", options->relation, "Of the fact, like P36. Required.")
      ->type_name("R")
      ->required();
  command
      ->add_option("--to", options->target,
                   "The new answer. Required, unless the fact set gives one.")
      ->type_name("O");
  command
      ->add_option("--object", options->object,
                   "The old answer, where the subject has several in the relation.")
      ->type_name("O");
  add_number(*command, "--lambda1", options->lambda1, 0, 1e6,
             "How far values move away from the old answer. Default: 1.");
  add_number(*command, "--lambda2", options->lambda2, 0, 1e6,
             "How far they move towards the new one. Default: 8.");
  command
      ->add_option_function<std::string>(
          "--embedding",
          [options](const std::string& name) { options->embedding = parse_answer_embedding(name); },
          "e(.): input or output embedding. Default: input of masked models, output of causal "
          "ones.")
      ->type_name("NAME");
  command->add_flag("--force", options->force, "Also where the model does not answer rightly.");
  add_integer(*command, "--filter-facts", options->from.filter_facts, 0, 1'000'000'000,
              "Other facts of the relation to locate, a seeded sample; 0: no filter. Default: 20.");
  CLI::Option* neurons =
      add_path(*command, "--neurons", options->from.neurons,
               "Located neurons of the relation, as `engram locate --out` writes them.")
          ->type_name("FILE");
  add_path(*command, "--run", options->from.run,
           "The same out of a run of `engram reproduce` or `engram locate --run`.")
      ->type_name("RUN")
      ->excludes(neurons);
  add_make_options(*command, *options);
  add_common_options(*command, options->common);
  command->callback([options] { run_update(*options); });
}

}  // namespace engram::cli
