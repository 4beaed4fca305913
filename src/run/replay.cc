#include "engram/run/replay.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "engram/error.h"
#include "evaluation/effects_sums.h"
#include "evaluation/locate_relation.h"
#include "run/sets.h"
#include "run/values.h"

namespace engram {
namespace {

constexpr std::string_view kMethod = "ig";

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
  const Table& table = run_table("attribution");
  const size_t p = table.column("p");
  const size_t converged = table.column("converged");
  const std::vector<Row> stored =
      run.store.read("attribution", {{"method", std::string(kMethod)}, {"fact", id}});
  if (stored.size() != fact.prompts.size()) {
    throw InternalError("a run without the scores of a fact was read as if it were done");
  }
  for (size_t i = 0; i < stored.size(); ++i) {
    located.prompts.push_back({fact.prompts[i], real_of(stored[i][p]), passed[i].largest,
                               static_cast<int64_t>(passed[i].neurons.size()),
                               integer_of(stored[i][converged]) != 0, row++});
  }
  return located;
}

/// Reads the sums of one operation back. `draws` is as in the run's options.
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
                       stored_neurons(run_.store, kMethod, id)});
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
    const Table& t = run_table("effect_prompt");
    for (size_t source = 0; source < kSources; ++source) {
      const Where where = {{"operation", std::string(operation_)}, {"source", name_of(source)}};
      run_.store.read_each("effect_prompt", where, [&](const Row& row) {
        const auto real = [&](const char* name) { return real_of(row[t.column(name)]); };
        PromptEffect prompt;
        prompt.fact = place.at(integer_of(row[t.column("fact")]));
        prompt.held_out = integer_of(row[t.column("held_out")]) != 0;
        prompt.prompt = static_cast<size_t>(integer_of(row[t.column("prompt")]));
        prompt.before = {real("log_odds"), real("p"), real("top"), std::exp(real("log_rank"))};
        prompt.after.fill(not_tried());
        const auto key = std::tuple(prompt.fact, prompt.held_out, prompt.prompt);
        PromptEffect& to = found.try_emplace(key, prompt).first->second;
        to.after[source] = {to.before.log_odds + real("change_log_odds"),
                            to.before.p + real("change_p"), to.before.top + real("change_top"),
                            std::exp(real("log_rank") + real("change_log_rank"))};
        return true;
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

  static std::string name_of(size_t source) {
    return std::string(source == 0 ? kMethod : std::string_view(source_name(source)));
  }

  static size_t scope_of(const std::string& name) {
    for (size_t scope = 0; scope < kScopes; ++scope) {
      if (name == scope_name(static_cast<Scope>(scope))) return scope;
    }
    throw InternalError("a run has effects on \"" + name + "\"");
  }

  void read_source(size_t source, const std::map<int64_t, size_t>& place, EffectSums& sums) {
    const Table& t = run_table("effect");
    const auto column = [&](const Row& row, const char* name) {
      return real_of(row[t.column(name)]);
    };
    run_.store.read_each(
        "effect", {{"operation", std::string(operation_)}, {"source", name_of(source)}},
        [&](const Row& row) {
          const auto fact = place.find(integer_of(row[t.column("fact")]));
          if (fact == place.end()) throw InternalError("a run has effects of an unknown fact");
          Sums& to = sums.facts[fact->second][scope_of(text_of(row[t.column("scope")]))];
          to.prompts = static_cast<double>(integer_of(row[t.column("prompts")]));
          to.log_odds = column(row, "log_odds");
          to.p = column(row, "p");
          to.log_p = column(row, "log_p");
          to.top = column(row, "top");
          to.log_rank = column(row, "log_rank");
          to.known = static_cast<double>(integer_of(row[t.column("known")]));
          to.known_p = column(row, "known_p");
          to.change[source] = {column(row, "change_log_odds"),
                               column(row, "change_p"),
                               column(row, "change_log_p"),
                               column(row, "change_top"),
                               column(row, "change_log_rank"),
                               column(row, "change_known_p"),
                               to.prompts};
          if (const auto* pairs = std::get_if<std::vector<std::byte>>(&row[t.column("pairs")])) {
            read_pair_bytes(*pairs, source, to.pairs);
          }
          return true;
        });
  }

  void read_sets(const std::map<int64_t, size_t>& place, EffectSums& sums) {
    sums.match.resize(place.size());
    const Table& t = run_table("effect_set");
    for (size_t c = 0; c < kControls; ++c) {
      const Where where = {{"operation", std::string(operation_)},
                           {"source", std::string(source_name(c + 1))}};
      run_.store.read_each("effect_set", where, [&](const Row& row) {
        const auto integer = [&](const char* name) {
          return static_cast<double>(integer_of(row[t.column(name)]));
        };
        const auto real = [&](const char* name) { return real_of(row[t.column(name)]); };
        sums.match.at(place.at(integer_of(row[t.column("fact")])))[c] = {
            integer("sets"),
            real("neurons"),
            real("overlap"),
            integer("missing"),
            {real("difference_activation"), real("difference_value"), real("difference_product")}};
        return true;
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
    const Table& t = run_table("effect_draw");
    for (size_t source = kRandomLayer; source <= kRandomGradient; ++source) {
      const Where where = {{"operation", std::string(operation_)},
                           {"source", std::string(source_name(source))}};
      run_.store.read_each("effect_draw", where, [&](const Row& row) {
        const size_t relation = relation_of.at(text_of(row[t.column("relation")]));
        const auto draw = static_cast<size_t>(integer_of(row[t.column("draw")]));
        sums.draws.at(scope_of(text_of(row[t.column("scope")])))[source - kRandomLayer][relation]
            .at(draw) += real_of(row[t.column("change_log_odds")]);
        return true;
      });
    }
  }

  const RunContext& run_;
  std::string_view operation_;
};

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
      const std::vector<PromptNeurons> passed = stored_prompts(run.store, kMethod, id);
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
