#pragma once

// What `edit update` and `edit rome` share: one fact, which gets another answer.

#include <CLI/CLI.hpp>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "cli/edit_make.h"
#include "engram/text/prepare.h"

namespace engram::cli {

struct FactEditOptions : MakeOptions {
  std::string subject;
  std::string object;  ///< which of the subject's; empty: the only one
  std::string target;  ///< empty: what the fact set says
  bool force = false;
};

void add_fact_edit_options(CLI::App& command, FactEditOptions& options);

/// The fact that is meant; sets options.target where the fact set gives it. Throws InputError: no
/// such fact, or several; UsageError without a new answer, or with the old one.
Fact fact_to_edit(const std::vector<Fact>& facts, FactEditOptions& options);
/// The top answer to a prompt: the largest logit at each place that is asked.
std::string top_answer(const LoadedModel& loaded, const Model& model, const Cloze& cloze);
/// Throws InputError where the model does not answer most of the fact's prompts, `own`, rightly;
/// with --force a remark. `top`: its answer to the first.
void check_known(const FactEditOptions& options, const Fact& fact, const Answers& own,
                 const std::string& top);
/// The fact with the other object, so that its prompts have the masks of the new answer.
PreparedFact prepare_target(const Fact& fact, const LoadedModel& loaded, const std::string& target);

/// Top answers to one of the fact's prompts.
struct PromptAnswers {
  std::string scope, prompt, before, after;
};
std::vector<PromptAnswers> prompt_answers(const LoadedModel& loaded, const Model& edited,
                                          const Fact& fact, const PreparedFact& prepared);

/// The fact's own prompts, held-out ones, its neighbours and samples of other facts, asked before
/// and after.
std::vector<Asked> measure_update(const FactEditOptions& options, const LoadedModel& loaded,
                                  const Model& edited, const Relation& relation, const Fact& fact,
                                  const PreparedFact& old, const PreparedFact& target);

void print_answers(const std::vector<PromptAnswers>& prompts);
/// The record's fields that both commands have.
nlohmann::ordered_json fact_edit_json(const char* record, const FactEditOptions& options,
                                      const Delta& delta, const std::vector<Asked>& scopes,
                                      const std::vector<PromptAnswers>& prompts);

}  // namespace engram::cli
