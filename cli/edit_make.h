#pragma once

// What the commands that make a delta share: facts, located neurons, answers before and after.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "cli/common.h"
#include "cli/paths.h"
#include "engram/edit/delta.h"
#include "engram/intervention/measure.h"
#include "engram/neurons/locate.h"

namespace engram::cli {

// The commands that make a delta; `edit` is the command they belong to.
void add_edit_update_command(CLI::App& edit);
void add_edit_erase_command(CLI::App& edit);
void add_edit_rome_command(CLI::App& edit);

/// What these commands take.
struct MakeOptions {
  CommonOptions common;
  std::string model;
  std::string facts;  ///< empty: MODEL/facts.jsonl
  std::string relation;
  std::string out;
  std::string preset = "dai2022";  ///< these two: of edits of located neurons
  AttributionOptions attribution;
  int64_t others = 200;  ///< facts that show side effects, inside and outside the relation each
};

void add_make_options(CLI::App& command, MakeOptions& options);
/// How neurons are located and selected.
void add_locating_options(CLI::App& command, MakeOptions& options);
std::string facts_path(const MakeOptions& options);
/// Refuses an --out that would overwrite what is read (`more` too), and a model without a fact set
/// of its own where none is given.
void check_paths(const MakeOptions& options, const std::vector<NamedPath>& more = {});

/// A fact set, seen from one relation.
struct Relation {
  std::vector<Fact> facts;   ///< of the relation
  std::vector<Fact> others;  ///< of all others
};

/// Throws InputError where the relation has no facts.
Relation read_relation(const MakeOptions& options);
/// The first `count` of a seeded order of `facts`.
std::vector<Fact> sample(std::vector<Fact> facts, int64_t count, uint64_t seed);
/// One prompt each of a seeded sample of facts.
std::vector<Cloze> side_clozes(const std::vector<Fact>& facts, const LoadedModel& loaded,
                               const MakeOptions& options);

/// The knowledge neurons of a relation's facts.
struct LocatedNeurons {
  std::vector<LocatedFact> facts;
  LocatedRelation relation;
  std::vector<FactProblem> problems;
};

LocatedNeurons locate_relation(const std::vector<Fact>& facts, const LoadedModel& loaded,
                               const MakeOptions& options, int64_t relation_neurons);
/// Why the delta of located neurons was made, but for what only one of the commands knows.
EditReason reason_of(const MakeOptions& options, EditKind kind, const LocatedRelation& located);

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

Answers ask(const Model& model, const std::vector<Cloze>& clozes, const CommonOptions& common);

// Scopes of an edit that show what it does to other facts.
constexpr const char* kSameRelationScope = "same relation";
constexpr const char* kOtherRelationsScope = "other relations";

/// Prompts of one kind, asked before and after.
struct Asked {
  std::string scope;
  Answers before, after;                ///< of the right answer
  Answers target_before, target_after;  ///< of o'; empty where it is not asked
};

Asked ask_both(const std::string& scope, const LoadedModel& loaded, const Model& edited,
               const std::vector<Cloze>& clozes, const CommonOptions& common);

/// What the edit does to other facts, out of what was asked.
std::vector<SideEffect> side_effects(const std::vector<Asked>& scopes);
/// "200 facts of the relation: 59 % right before, 31 % after (60 no longer)"
std::string side_effect_text(const SideEffect& one);
nlohmann::ordered_json side_effects_json(const std::vector<SideEffect>& found);
/// Warns when an answer that was right is so no more.
void warn_of_side_effects(const std::vector<SideEffect>& found);

nlohmann::ordered_json asked_json(const std::vector<Asked>& scopes);
std::string asked_table(const std::vector<Asked>& scopes);
/// " 0:12 3:4", the first 50.
std::string neuron_list(const Delta& delta);
/// The record's fields that all have.
nlohmann::ordered_json delta_json(const char* record, const MakeOptions& options,
                                  const Delta& delta);

}  // namespace engram::cli
