#include "cli/edit_fact.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "engram/base/utf8.h"

namespace engram::cli {

namespace {

using Json = nlohmann::ordered_json;

const Fact& find_fact(const std::vector<Fact>& facts, const FactEditOptions& options) {
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

}  // namespace

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

void check_known(const FactEditOptions& options, const Fact& fact, const Answers& own,
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

PreparedFact prepare_target(const Fact& fact, const LoadedModel& loaded,
                            const std::string& target) {
  Fact changed = fact;
  changed.object = target;
  changed.origin = "--to";
  return prepare_fact(changed, loaded.tokenizer, prompt_form(loaded.model.config()));
}

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

std::vector<Asked> measure_update(const FactEditOptions& options, const LoadedModel& loaded,
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
  std::vector<std::string> unfit;
  for (const std::string& prompt : fact.neighbours) {
    try {
      neighbours.push_back(encode_cloze(loaded.tokenizer, prompt, fact.object,
                                        prompt_form(loaded.model.config()), fact.origin));
    } catch (const InputError& error) {
      unfit.emplace_back(error.what());
    }
  }
  if (!unfit.empty()) {
    note(common, format_count(unfit.size(), "neighbour") +
                     " of the fact left out, the first because: " + unfit.front());
  }
  add("neighbours", neighbours, {});
  add(kSameRelationScope, side_clozes(rest, loaded, options), {});
  add(kOtherRelationsScope, side_clozes(relation.others, loaded, options), {});
  return scopes;
}

void print_answers(const std::vector<PromptAnswers>& prompts) {
  Table table({{"", Table::Align::kLeft},
               {"before", Table::Align::kLeft},
               {"after", Table::Align::kLeft},
               {"prompt", Table::Align::kLeft}});
  for (const PromptAnswers& row : prompts) {
    table.add_row({row.scope, printable(row.before), printable(row.after), printable(row.prompt)});
  }
  print("\nTop answers\n" + table.str());
}

nlohmann::ordered_json fact_edit_json(const char* record, const FactEditOptions& options,
                                      const Delta& delta, const std::vector<Asked>& scopes,
                                      const std::vector<PromptAnswers>& prompts) {
  Json out = delta_json(record, options, delta);
  out["subject"] = delta.why.subject;
  out["object"] = delta.why.object;
  out["target"] = delta.why.target;
  out["scopes"] = asked_json(scopes);
  out["side_effects"] = side_effects_json(delta.why.side_effects);
  auto& list = out["prompts"] = Json::array();
  for (const PromptAnswers& row : prompts) {
    list.push_back({{"scope", row.scope},
                    {"prompt", row.prompt},
                    {"top_before", row.before},
                    {"top_after", row.after}});
  }
  return out;
}

void add_fact_edit_options(CLI::App& command, FactEditOptions& options) {
  add_model(command, options.model, "Folder of the model, or a working copy.")->required();
  command.add_option("--subject", options.subject, "Of the fact. Required.")
      ->type_name("S")
      ->required();
  command.add_option("--relation", options.relation, "Of the fact, like P36. Required.")
      ->type_name("R")
      ->required();
  command
      .add_option("--to", options.target,
                  "The new answer. Required, unless the fact set gives one.")
      ->type_name("O");
  command
      .add_option("--object", options.object,
                  "The old answer, where the subject has several in the relation.")
      ->type_name("O");
  command.add_flag("--force", options.force, "Also where the model does not answer rightly.");
}

Fact fact_to_edit(const std::vector<Fact>& facts, FactEditOptions& options) {
  Fact fact = find_fact(facts, options);
  if (options.target.empty()) options.target = fact.new_object;
  if (options.target.empty()) {
    throw UsageError("--to is required: the fact set does not say what the new answer is");
  }
  if (fact.object == options.target) {
    throw UsageError("--to: got \"" + options.target + "\", which is the fact's answer already");
  }
  return fact;
}

}  // namespace engram::cli
