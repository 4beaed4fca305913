#include <cmath>
#include <map>
#include <tuple>

#include "engram/error.h"
#include "engram/run/replay.h"
#include "engram/sources.h"
#include "experiments/effects/sums.h"
#include "intervention/effects_sums.h"
#include "run/sets.h"

namespace engram {
namespace {

using experiments::effects::EffectDrawRow;
using experiments::effects::EffectPromptRow;
using experiments::effects::EffectSetRow;
using experiments::effects::EffectSumsRow;

/// Reads the sums of one intervention back. `draws` is as in the run's options.
class StoredSums {
 public:
  StoredSums(const RunContext& run, std::string_view operation)
      : run_(run), operation_(operation) {}

  void read(std::vector<EffectFact>& facts, EffectSums& sums) {
    std::map<int64_t, size_t> place;
    for (const int64_t id : replayed_facts(run_)) {
      place.emplace(id, facts.size());
      const Fact& fact = run_.facts.fact(id);
      facts.push_back({fact.relation,
                       fact.subject,
                       fact.object,
                       {},
                       {},
                       true,
                       stored_neurons(run_.store, sources::kIg, id)});
    }
    sums.facts.resize(facts.size());
    count_facts(facts, sums.report);
    for (size_t source = 0; source < kSources; ++source) read_source(source, place, sums);
    read_sets(place, sums);
    read_draws(sums);
  }

  /// Own and held-out prompts one by one, of facts in the order of replayed_facts().
  std::vector<PromptEffect> prompts() {
    std::map<int64_t, size_t> place;
    for (const int64_t id : replayed_facts(run_)) place.emplace(id, place.size());
    std::map<std::tuple<size_t, bool, size_t>, PromptEffect> found;
    for (size_t source = 0; source < kSources; ++source) {
      const Where where = {is(&EffectPromptRow::operation, operation_),
                           is(&EffectPromptRow::source, name_of(source))};
      read_rows<EffectPromptRow>(run_.store, where, [&](const EffectPromptRow& row) {
        PromptEffect prompt;
        prompt.fact = place.at(row.fact);
        prompt.held_out = row.held_out;
        prompt.prompt = static_cast<size_t>(row.prompt);
        prompt.before = {row.log_odds, row.p, row.top, std::exp(row.log_rank)};
        prompt.after.fill(not_tried());
        const auto key = std::tuple(prompt.fact, prompt.held_out, prompt.prompt);
        PromptEffect& to = found.try_emplace(key, prompt).first->second;
        to.after[source] = {to.before.log_odds + row.change_log_odds, to.before.p + row.change_p,
                            to.before.top + row.change_top,
                            std::exp(row.log_rank + row.change_log_rank)};
      });
    }
    std::vector<PromptEffect> all;
    for (auto& [key, prompt] : found) all.push_back(prompt);
    return all;
  }

 private:
  static void count_facts(const std::vector<EffectFact>& facts, EffectReport& report) {
    report.witnesses = report.facts = static_cast<int64_t>(facts.size());
    for (const EffectFact& fact : facts) {
      if (report.relations.empty() || report.relations.back().relation != fact.relation) {
        report.relations.push_back({fact.relation, 0, 0, {}, {}});
      }
      ++report.relations.back().facts;
      if (!fact.neurons.empty()) continue;
      ++report.empty;
      ++report.relations.back().empty;
    }
  }

  static std::string_view name_of(size_t source) {
    return source == 0 ? sources::kIg : source_name(source);
  }

  static size_t scope_of(const std::string& name) {
    for (size_t scope = 0; scope < kScopes; ++scope) {
      if (name == scope_name(static_cast<Scope>(scope))) return scope;
    }
    throw InternalError("a run has effects on \"" + name + "\"");
  }

  void read_source(size_t source, const std::map<int64_t, size_t>& place, EffectSums& sums) {
    const Where where = {is(&EffectSumsRow::operation, operation_),
                         is(&EffectSumsRow::source, name_of(source))};
    read_rows<EffectSumsRow>(run_.store, where, [&](const EffectSumsRow& row) {
      const auto fact = place.find(row.fact);
      if (fact == place.end()) throw InternalError("a run has effects of an unknown fact");
      read_sums_row(row, source, sums.facts[fact->second][scope_of(row.scope)]);
    });
  }

  void read_sets(const std::map<int64_t, size_t>& place, EffectSums& sums) {
    sums.match.resize(place.size());
    for (size_t c = 0; c < kControls; ++c) {
      const Where where = {is(&EffectSetRow::operation, operation_),
                           is(&EffectSetRow::source, source_name(c + 1))};
      read_rows<EffectSetRow>(run_.store, where, [&](const EffectSetRow& row) {
        sums.match.at(place.at(row.fact))[c] = match_of(row);
      });
    }
  }

  void read_draws(EffectSums& sums) {
    std::map<std::string, size_t> relation_of;
    for (const RelationEffect& relation : sums.report.relations) {
      relation_of.emplace(relation.relation, relation_of.size());
    }
    for (auto& scope : sums.draws) {
      for (auto& source : scope) {
        source.assign(relation_of.size(),
                      std::vector<double>(static_cast<size_t>(run_.options.draws)));
      }
    }
    for (size_t source = kRandomLayer; source <= kRandomGradient; ++source) {
      const Where where = {is(&EffectDrawRow::operation, operation_),
                           is(&EffectDrawRow::source, source_name(source))};
      read_rows<EffectDrawRow>(run_.store, where, [&](const EffectDrawRow& row) {
        const size_t relation = relation_of.at(row.relation);
        const auto draw = static_cast<size_t>(row.draw);
        sums.draws.at(scope_of(row.scope))[source - kRandomLayer][relation].at(draw) +=
            row.change_log_odds;
      });
    }
  }

  const RunContext& run_;
  std::string_view operation_;
};

}  // namespace

std::vector<int64_t> replayed_facts(const RunContext& run) {
  std::vector<int64_t> ids;
  for (const std::string& relation : run.facts.relations()) {
    for (const int64_t id : run.facts.of(relation)) {
      if (!run.facts.copies(id)) ids.push_back(id);
    }
  }
  return ids;
}

EffectReport replay_effects(const RunContext& run, std::string_view operation,
                            const EffectOptions& how) {
  std::vector<EffectFact> facts;
  EffectSums sums;
  StoredSums stored(run, operation);
  stored.read(facts, sums);
  if (how.keep_details) sums.report.prompts = stored.prompts();
  EffectOptions options = how;
  options.draws = run.options.draws;
  return summarise_effects(summarised(facts), std::move(sums),
                           summary_options(options, !run.options.corpus.empty()));
}

}  // namespace engram
