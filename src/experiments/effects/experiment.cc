#include "experiments/effects/experiment.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "engram/intervention/effects.h"
#include "engram/run/experiment.h"
#include "engram/sources.h"
#include "engram/text/corpus.h"
#include "experiments/effects/sums.h"
#include "intervention/effects_sums.h"
#include "run/parts.h"
#include "run/seeds.h"
#include "run/sets.h"

namespace engram::experiments::effects {
namespace {

// Facts that can show side effects, per part: each treated fact takes its own sample of them.
constexpr uint64_t kSamePool = 100;
constexpr uint64_t kOtherPool = 400;
constexpr int64_t kTextPool = 400;  // sentences of the corpus, likewise

/// Scopes that are not sums of others.
constexpr std::array<Scope, 7> kStored = {Scope::kOwn,
                                          Scope::kHeldOut,
                                          Scope::kSameRelationSameObject,
                                          Scope::kSameRelationOtherObject,
                                          Scope::kOtherRelationsSameObject,
                                          Scope::kOtherRelationsOtherObject,
                                          Scope::kText};

class EffectsExperiment : public FactExperiment {
 public:
  EffectsExperiment(std::string name, std::vector<Intervention> interventions)
      : name_(std::move(name)), interventions_(std::move(interventions)) {}
  [[nodiscard]] std::string_view name() const override { return name_; }
  [[nodiscard]] int version() const override { return 4; }
  [[nodiscard]] std::optional<std::string> skipped(const RunContext& run) const override {
    return not_all_located(run);
  }

  std::vector<TableRows> run(const RunContext& run, std::string_view relation,
                             int64_t part) override {
    std::vector<int64_t> treated;
    for (const int64_t id : part_of(run, relation, part)) {
      if (!run.facts.copies(id)) treated.push_back(id);
    }
    if (treated.empty()) return {};
    EffectOptions options;
    options.side_draws = run.options.side_draws;
    options.same_relation = run.options.same_relation;
    options.other_relations = run.options.other_relations;
    options.sentences = run.options.sentences;
    options.seed = run.options.seed;
    options.measure = run.measure;
    options.random_from_all = run.options.random_from_all;
    options.keep_details = true;
    const std::vector<int64_t> witnesses = witness_pool(run, relation, part, treated);
    std::vector<int64_t> ids = treated;  // of the facts as they are prepared
    ids.insert(ids.end(), witnesses.begin(), witnesses.end());
    EffectContext context;
    context.located = located_of_run(run);
    context.sets = relation_sets(run, sources::kIg, relation);
    context.text = corpus(run);
    const std::vector<EffectFact> located = prepare(run, treated, witnesses, sources::kIg);
    const std::vector<EffectFact> active = prepare(run, treated, witnesses, sources::kActivation);
    // The baseline is compared with the located neurons; random sets match those alone.
    std::vector<EffectTreatment> treatments;
    for (const Intervention& intervention : interventions_) {
      treatments.push_back({intervention, located, run.options.draws});
      treatments.push_back({intervention, active, 0});
    }
    const std::vector<EffectSums> sums =
        measure_effect_sums(run.model, treatments, options, context);

    std::vector<EffectSumsRow> effects;
    std::vector<EffectSetRow> sets;
    std::vector<EffectDrawRow> draws;
    std::vector<EffectPromptRow> prompts;
    for (size_t t = 0; t < treatments.size(); ++t) {
      const EffectTreatment& treatment = treatments[t];
      const bool of_located = treatment.facts.data() == located.data();
      const std::string name = intervention_name(treatment.intervention);
      const std::string_view source = of_located ? sources::kIg : sources::kActivation;
      for (size_t f = 0; f < treated.size(); ++f) {
        add_fact_rows(name, source, ids, f, treatment.facts[f], sums[t].facts[f], effects);
        if (of_located) add_set_rows(name, treated[f], sums[t].match[f], sets);
      }
      if (of_located) add_draw_rows(name, relation, part, sums[t], treatment.draws, draws);
      add_prompt_rows(name, source, ids, sums[t].report.prompts, prompts);
    }
    return {to_rows(std::move(effects)), to_rows(std::move(sets)), to_rows(std::move(draws)),
            to_rows(std::move(prompts))};
  }

 protected:
  /// All interventions of a fact: its own prompts with all sets, others with fewer draws.
  [[nodiscard]] double cost(const RunContext& run, int64_t id) const override {
    const RunOptions& options = run.options;
    const Fact& fact = run.facts.fact(id);
    // Before, which takes a whole run; and by each intervention: located and baseline, the random
    // sources, the others, of which one has several sets.
    const auto tries = [&](int64_t draws, int64_t other_facts) {
      const int64_t sets = 2 + static_cast<int64_t>(kRandomSources) * draws + 2 + other_facts;
      return static_cast<double>(2 + sets * static_cast<int64_t>(interventions_.size()));
    };
    const auto own = static_cast<double>(fact.prompts.size() + fact.held_out.size());
    const auto others = static_cast<double>(options.same_relation + options.other_relations);
    const auto text = static_cast<double>(options.corpus.empty() ? 0 : options.sentences);
    const int64_t side_draws = std::min(options.side_draws, options.draws);
    return own * tries(options.draws, EffectOptions().other_facts) *
               changed_run_flops(run, run.facts.size(id)) +
           others * tries(side_draws, side_draws) * changed_run_flops(run, run.facts.mean_size()) +
           text * tries(side_draws, side_draws) * changed_run_flops(run, text_size(run));
  }

 private:
  /// Ids of facts that only show side effects; none of `treated`.
  static std::vector<int64_t> witness_pool(const RunContext& run, std::string_view relation,
                                           int64_t part, const std::vector<int64_t>& treated) {
    std::vector<int64_t> same;
    std::vector<int64_t> other;
    for (const int64_t id : run.facts.usable()) {
      if (run.facts.copies(id) || std::ranges::binary_search(treated, id)) continue;
      (run.facts.fact(id).relation == relation ? same : other).push_back(id);
    }
    Random random(choice_seed(run.options.seed, "side effects", relation, std::to_string(part)));
    std::vector<int64_t> pool;
    for (const uint64_t i : random.sample(same.size(), kSamePool)) pool.push_back(same[i]);
    for (const uint64_t i : random.sample(other.size(), kOtherPool)) pool.push_back(other[i]);
    std::ranges::sort(pool);
    return pool;
  }

  /// The located sets of all facts of a relation, kept while its parts follow each other.
  const std::vector<LocatedNeurons>& relation_sets(const RunContext& run, std::string_view source,
                                                   std::string_view relation) {
    if (sets_of_ == relation) return sets_;
    sets_of_ = relation;
    std::vector<LocatedNeurons>& sets = sets_;
    sets.clear();
    for (const int64_t id : run.facts.of(relation)) {
      if (run.facts.copies(id)) continue;
      const Fact& fact = run.facts.fact(id);
      sets.push_back(
          {fact.relation, fact.subject, fact.object, stored_neurons(run.store, source, id)});
    }
    return sets;
  }

  /// The treated facts first, in their order.
  static std::vector<EffectFact> prepare(const RunContext& run, const std::vector<int64_t>& treated,
                                         const std::vector<int64_t>& witnesses,
                                         std::string_view source) {
    std::vector<EffectFact> facts;
    const auto add = [&](int64_t id, bool evaluated) {
      const Fact& fact = run.facts.fact(id);
      PreparedFact prepared = run.facts.prepared(id);
      facts.push_back({fact.relation,
                       fact.subject,
                       fact.object,
                       std::move(prepared.prompts),
                       std::move(prepared.held_out),
                       evaluated,
                       {}});
      if (evaluated) facts.back().neurons = stored_neurons(run.store, source, id);
    };
    for (const int64_t id : treated) add(id, true);
    for (const int64_t id : witnesses) add(id, false);
    return facts;
  }

  const std::vector<Cloze>& corpus(const RunContext& run) {
    if (!corpus_read_ && !run.options.corpus.empty()) {
      corpus_ = sample_corpus(run.options.corpus, run.tokenizer, prompt_form(run.model.config()),
                              kTextPool, run.options.seed)
                    .prompts;
    }
    corpus_read_ = true;
    return corpus_;
  }

  static void add_fact_rows(const std::string& operation, std::string_view source,
                            const std::vector<int64_t>& ids, size_t place, const EffectFact& fact,
                            const std::array<Sums, kScopes>& sums,
                            std::vector<EffectSumsRow>& out) {
    for (const Scope scope : kStored) {
      const Sums& one = sums[static_cast<size_t>(scope)];
      if (one.prompts == 0) continue;
      const auto witness = [&](int32_t number) {
        return scope == Scope::kText ? number : ids[static_cast<size_t>(number)];
      };
      for (size_t s = 0; s < kSources; ++s) {
        if (one.change[s].prompts == 0) continue;
        EffectSumsRow& row = out.emplace_back(sums_row(one, s));
        row.operation = operation;
        row.source = s == 0 ? source : source_name(s);
        row.fact = ids[place];
        row.scope = scope_name(scope);
        row.neurons = static_cast<int64_t>(fact.neurons.size());
        if (!is_near(scope)) row.pairs = pair_bytes(one.pairs, s, witness);
      }
    }
  }

  static void add_prompt_rows(const std::string& operation, std::string_view source,
                              const std::vector<int64_t>& ids, std::vector<PromptEffect> found,
                              std::vector<EffectPromptRow>& out) {
    std::ranges::sort(found, {}, [](const PromptEffect& one) {
      return std::tuple(one.fact, one.held_out, one.prompt);
    });
    for (const PromptEffect& one : found) {
      for (size_t s = 0; s < kSources; ++s) {
        const ShownAnswer& after = one.after[s];
        if (std::isnan(after.log_odds)) continue;
        EffectPromptRow& row = out.emplace_back();
        row.operation = operation;
        row.source = s == 0 ? source : source_name(s);
        row.fact = ids[one.fact];
        row.held_out = one.held_out;
        row.prompt = static_cast<int64_t>(one.prompt);
        row.log_odds = one.before.log_odds;
        row.p = one.before.p;
        row.top = one.before.top;
        row.log_rank = std::log(one.before.rank);
        row.change_log_odds = after.log_odds - one.before.log_odds;
        row.change_p = after.p - one.before.p;
        row.change_top = after.top - one.before.top;
        row.change_log_rank = std::log(after.rank) - row.log_rank;
      }
    }
  }

  static void add_set_rows(const std::string& operation, int64_t fact,
                           const std::array<SetMatch, kControls>& match,
                           std::vector<EffectSetRow>& out) {
    for (size_t c = 0; c < kControls; ++c) {
      EffectSetRow& row = out.emplace_back(match_row(match[c]));
      row.operation = operation;
      row.source = source_name(c + 1);
      row.fact = fact;
    }
  }

  static void add_draw_rows(const std::string& operation, std::string_view relation, int64_t part,
                            const EffectSums& sums, int64_t draws,
                            std::vector<EffectDrawRow>& out) {
    for (size_t scope = 0; scope < sums.draws.size(); ++scope) {
      for (size_t s = 0; s < kRandomSources; ++s) {
        for (int64_t d = 0; d < draws; ++d) {
          out.push_back({operation, source_name(kRandomLayer + s), std::string(relation), part,
                         scope_name(static_cast<Scope>(scope)), d,
                         sums.draws[scope][s][0][static_cast<size_t>(d)]});
        }
      }
    }
  }

  std::string name_;
  std::vector<Intervention> interventions_;
  std::string sets_of_;
  std::vector<LocatedNeurons> sets_;
  std::vector<Cloze> corpus_;
  bool corpus_read_ = false;
};

}  // namespace

std::unique_ptr<Experiment> make_experiment() {
  return std::make_unique<EffectsExperiment>(
      "effects", std::vector<Intervention>{{InterventionKind::kZero}, {InterventionKind::kDouble}});
}

std::unique_ptr<Experiment> make_experiment(const Intervention& intervention) {
  return std::make_unique<EffectsExperiment>("effects " + intervention_name(intervention),
                                             std::vector<Intervention>{intervention});
}

}  // namespace engram::experiments::effects
