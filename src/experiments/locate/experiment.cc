#include <iterator>

#include "engram/run/experiment.h"
#include "engram/sources.h"
#include "run/prompt_scores.h"
#include "run/sets.h"
#include "store/run_rows.h"

namespace engram::experiments::locate {
namespace {

/// Part 0: the facts of a relation with their prompts; then both scores of all prompts, part by
/// part; the last one is the selection, which needs all of them.
class LocateExperiment : public Experiment {
 public:
  [[nodiscard]] std::string_view name() const override { return "locate"; }
  [[nodiscard]] int version() const override { return 3; }
  [[nodiscard]] int64_t parts(const RunContext& run, std::string_view relation) const override {
    return prompts(run, relation).parts() + 2;
  }
  [[nodiscard]] int64_t facts(const RunContext& run, std::string_view relation,
                              int64_t part) const override {
    const PromptParts parts = prompts(run, relation);
    return part == 0 || part > parts.parts() ? 0 : parts.facts(part - 1);
  }
  std::vector<TableRows> run(const RunContext& run, std::string_view relation,
                             int64_t part) override {
    if (part == 0) return fact_rows(run, relation);
    const PromptParts parts = prompts(run, relation);
    if (part > parts.parts()) return select(run, relation);
    return score_rows(run, sources::kIg, /*baseline=*/true, parts.of(part - 1),
                      run.options.locate.attribution);
  }

 private:
  static PromptParts prompts(const RunContext& run, std::string_view relation) {
    return {run, run.facts.of(relation), run.options.locate.attribution};
  }

  static std::vector<TableRows> fact_rows(const RunContext& run, std::string_view relation) {
    std::vector<FactRow> facts;
    std::vector<PromptRow> prompts;
    RelationRow of_relation;
    for (const int64_t id : run.facts.of(relation)) {
      const Fact& fact = run.facts.fact(id);
      const auto tokens =
          static_cast<int64_t>(run.facts.prepared(id).prompts.front().answer.size());
      facts.push_back({id, fact.relation, fact.subject, fact.object, tokens, run.facts.copies(id)});
      const auto add = [&](const std::vector<std::string>& texts, bool held) {
        for (size_t i = 0; i < texts.size(); ++i) {
          prompts.push_back({id, held, static_cast<int64_t>(i), texts[i]});
        }
      };
      add(fact.prompts, false);
      add(fact.held_out, true);
      of_relation.prompts += static_cast<int64_t>(fact.prompts.size());
      of_relation.held_out += static_cast<int64_t>(fact.held_out.size());
    }
    of_relation.relation = relation;
    of_relation.facts = static_cast<int64_t>(facts.size());
    return {to_rows<RelationRow>({std::move(of_relation)}), to_rows(std::move(facts)),
            to_rows(std::move(prompts))};
  }

  static std::vector<TableRows> select(const RunContext& run, std::string_view relation) {
    std::vector<TableRows> out;
    const std::vector<int64_t>& facts = run.facts.of(relation);
    for (const std::string_view method : {sources::kIg, sources::kActivation}) {
      const StoredBags stored = stored_bags(run, method, facts);
      const RelationSelection selection =
          select_neurons(stored.bags, selection_for(run.options, method));
      for (TableRows& rows :
           selection_rows(run, method, relation, facts, selection, stored.negative)) {
        out.push_back(std::move(rows));
      }
    }
    return out;
  }
};

}  // namespace

std::unique_ptr<Experiment> make_experiment() { return std::make_unique<LocateExperiment>(); }

}  // namespace engram::experiments::locate
