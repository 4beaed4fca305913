#include "experiments/screen/experiment.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "engram/error.h"
#include "engram/intervention/measure.h"
#include "engram/statistics/effect_report.h"
#include "experiments/screen/rows.h"
#include "run/parts.h"

namespace engram::experiments::screen {
namespace {

/// Facts that the audit can take.
bool fits(const RunContext& run, int64_t id) {
  const Fact& fact = run.facts.fact(id);
  return !run.facts.copies(id) && !fact.held_out.empty() &&
         static_cast<int64_t>(fact.prompts.size()) >= kLocatingPrompts;
}

class ScreenExperiment : public FactExperiment {
 public:
  [[nodiscard]] std::string_view name() const override { return "screen"; }
  [[nodiscard]] int version() const override { return 1; }
  [[nodiscard]] bool of_audit() const override { return true; }
  [[nodiscard]] std::vector<std::string_view> needs() const override { return {}; }

  std::vector<TableRows> run(const RunContext& run, std::string_view relation,
                             int64_t part) override {
    std::vector<Cloze> prompts;
    std::vector<ScreenRow> rows;
    for (const int64_t id : part_of(run, relation, part)) {
      if (!fits(run, id)) continue;
      PreparedFact fact = run.facts.prepared(id);
      ScreenRow& row = rows.emplace_back();
      row.fact = id;
      row.prompts = static_cast<int64_t>(fact.prompts.size() + fact.held_out.size());
      std::ranges::move(fact.prompts, std::back_inserter(prompts));
      std::ranges::move(fact.held_out, std::back_inserter(prompts));
    }
    const Measured measured = measure(run.model, prompts, {}, {}, run.measure);
    size_t at = 0;
    for (ScreenRow& row : rows) {
      for (int64_t i = 0; i < row.prompts; ++i, ++at) {
        row.top += measured.before[at].top() ? 1 : 0;
        row.log_odds += measured.before[at].log_odds / static_cast<double>(row.prompts);
      }
    }
    return {to_rows(std::move(rows))};
  }

 protected:
  [[nodiscard]] double cost(const RunContext& run, int64_t id) const override {
    const Fact& fact = run.facts.fact(id);
    return static_cast<double>(fact.prompts.size() + fact.held_out.size()) *
           run_flops(run, run.facts.size(id));
  }
};

}  // namespace

std::unique_ptr<Experiment> make_experiment() { return std::make_unique<ScreenExperiment>(); }

std::vector<int64_t> audit_sample(const RunContext& run) {
  const AuditSample& wanted = run.options.audit.value();
  std::map<std::tuple<std::string, std::string, std::string>, int64_t> ids;
  std::vector<Fact> known;
  std::vector<Fact> never;
  read_rows<ScreenRow>(run.store, {}, [&](const ScreenRow& row) {
    const Fact& fact = run.facts.fact(row.fact);
    ids[{fact.relation, fact.subject, fact.object}] = row.fact;
    if (group_of(row.prompts, row.top) == FactGroup::kKnown) known.push_back(fact);
    if (group_of(row.prompts, row.top) == FactGroup::kNever) never.push_back(fact);
  });
  std::vector<int64_t> sample;
  const auto take = [&](std::vector<Fact> facts, int64_t count) {
    if (count == 0) return;
    FactChoice choice;
    choice.limit = count;
    for (const Fact& fact : choose_facts(std::move(facts), choice, run.options.seed, "the run")) {
      sample.push_back(ids.at({fact.relation, fact.subject, fact.object}));
    }
  };
  take(std::move(known), wanted.known);
  take(std::move(never), wanted.never);
  if (sample.empty()) {
    throw InputError(
        "audit: none of the facts is known or never given, has at least 3 prompts that locate and "
        "a held-out one, and a subject without the object");
  }
  std::ranges::sort(sample);
  return sample;
}

}  // namespace engram::experiments::screen
