#include "engram/error.h"
#include "engram/run/replay.h"
#include "engram/sources.h"
#include "experiments/locate/rows.h"
#include "neurons/locate_relation.h"
#include "run/sets.h"

namespace engram {
namespace {

using experiments::locate::AttributionRow;

LocatedFact located_fact(const RunContext& run, int64_t id, std::span<const PromptNeurons> passed,
                         int64_t& row) {
  const Fact& fact = run.facts.fact(id);
  LocatedFact located;
  located.relation = fact.relation;
  located.subject = fact.subject;
  located.object = fact.object;
  located.origin = fact.origin;
  located.uuid = fact.uuid;
  located.answer_tokens =
      static_cast<int64_t>(run.facts.prepared(id).prompts.front().answer.size());
  located.held_out = fact.held_out;
  const auto stored = read_all<AttributionRow>(
      run.store, {is(&AttributionRow::method, sources::kIg), is(&AttributionRow::fact, id)});
  if (stored.size() != fact.prompts.size()) {
    throw InternalError("a run without the scores of a fact was read as if it were done");
  }
  for (size_t i = 0; i < stored.size(); ++i) {
    located.prompts.push_back({fact.prompts[i], stored[i].p, passed[i].largest,
                               static_cast<int64_t>(passed[i].neurons.size()), stored[i].converged,
                               row++});
  }
  return located;
}

}  // namespace

LocateSummary replay_located(const RunContext& run, const LocateSink& sink) {
  LocateSummary summary;
  const std::span<const FactProblem> problems = run.facts.fact_problems();
  summary.problems.assign(problems.begin(), problems.end());
  std::vector<FactNeurons> sets;
  for (const std::string& relation : run.facts.relations()) {
    std::vector<LocatedFact> facts;
    std::vector<Bag> bags;
    for (const int64_t id : run.facts.of(relation)) {
      const std::vector<PromptNeurons> passed = stored_prompts(run.store, sources::kIg, id);
      facts.push_back(located_fact(run, id, passed, summary.prompts));
      if (facts.back().answer_tokens > 1) ++summary.several_tokens;
      bags.push_back(make_bag(passed));
    }
    summary.facts += static_cast<int64_t>(facts.size());
    LocatedRelation closed = close_relation(facts, bags, run.options.locate, sets);
    sink.on_relation(std::move(closed), std::move(facts));
  }
  summary.statistics = neuron_statistics(sets, run.model.config().layers);
  return summary;
}

}  // namespace engram
