#include "engram/evaluation/effects.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "engram/base/interrupt.h"
#include "engram/error.h"
#include "evaluation/effects_plan.h"
#include "evaluation/effects_sums.h"

namespace engram {
namespace {

constexpr size_t kItemsPerCall = 512;  // bounds what is kept of trials

/// The answer after an intervention, or the one before where nothing but rounding moved it.
Answered settled(const Answered& before, const Answered& after) {
  const double slack = kRounding * std::max(1.0, std::abs(before.log_p));
  return std::abs(after.log_p - before.log_p) <= slack ? before : after;
}

class Evaluation {
 public:
  Evaluation(const Model& model, std::span<const EffectFact> facts, const EffectOptions& options,
             const EffectContext& context)
      : model_(model),
        facts_(facts),
        options_(options),
        context_(context),
        values_(model, facts, options, context.reference) {
    sums_.facts.resize(facts.size());
    for (const EffectFact& fact : facts) {
      ++report_.witnesses;
      if (!fact.evaluated) continue;
      ++report_.facts;
      if (fact.neurons.empty()) ++report_.empty;
      const auto [it, fresh] = relation_of_.try_emplace(fact.relation, report_.relations.size());
      if (fresh) report_.relations.push_back({fact.relation, 0, 0, {}, {}});
      RelationEffect& relation = report_.relations[it->second];
      ++relation.facts;
      if (fact.neurons.empty()) ++relation.empty;
    }
    report_.reference = values_.prompts();
    const auto draws = static_cast<size_t>(options.draws);
    for (auto& scope : sums_.draws) {
      for (auto& source : scope)
        source.assign(report_.relations.size(), std::vector<double>(draws));
    }
  }

  EffectSums run(const EffectProgress& progress) {
    random_ = plan_random_sets(model_, facts_, context_.located, options_, report_);
    const std::vector<EffectItem> items = plan_items(facts_, context_.text, options_);
    int64_t total = 0;
    for (const EffectItem& item : items) {
      for (const EffectItem::Job& job : item.jobs) total += trials_of(job);
    }
    for (size_t begin = 0; begin < items.size(); begin += kItemsPerCall) {
      Interrupt::check();
      run_items(std::span(items).subspan(begin, std::min(kItemsPerCall, items.size() - begin)));
      if (progress) progress(report_.trials, total);
    }
    return std::move(sums_);
  }

 private:
  [[nodiscard]] int64_t draws_for(const EffectItem::Job& job) const {
    const bool aside = job.scope != Scope::kOwn && job.scope != Scope::kHeldOut;
    return aside ? std::min(options_.side_draws, options_.draws) : options_.draws;
  }
  [[nodiscard]] int64_t trials_of(const EffectItem::Job& job) const {
    if (facts_[job.fact].neurons.empty()) return 0;
    return 1 + static_cast<int64_t>(kSources - 1) * draws_for(job);
  }

  void run_items(std::span<const EffectItem> items) {
    std::vector<Probe> probes;
    std::vector<std::vector<NeuronChange>> sets;
    std::vector<Trial> trials;
    std::map<std::array<uint32_t, 3>, uint32_t> set_index;  // (fact, source, draw)
    const auto add_trial = [&](uint32_t probe, uint32_t fact, uint32_t source, uint32_t draw) {
      const auto [it, fresh] =
          set_index.try_emplace({fact, source, draw}, static_cast<uint32_t>(sets.size()));
      if (fresh) {
        const std::vector<NeuronId>& neurons =
            source == 0 ? facts_[fact].neurons : random_[fact][source - 1][draw];
        sets.push_back(changes_of(options_.manipulation, neurons, values_.of(fact)));
      }
      trials.push_back({probe, it->second});
    };
    for (size_t i = 0; i < items.size(); ++i) {
      probes.push_back(*items[i].probe);
      for (const EffectItem::Job& job : items[i].jobs) {
        if (facts_[job.fact].neurons.empty()) continue;
        add_trial(static_cast<uint32_t>(i), job.fact, 0, 0);
        for (uint32_t s = 1; s < kSources; ++s) {
          for (uint32_t d = 0; d < static_cast<uint32_t>(draws_for(job)); ++d) {
            add_trial(static_cast<uint32_t>(i), job.fact, s, d);
          }
        }
      }
    }
    const Measured measured = measure(model_, probes, sets, trials, options_.measure);
    size_t next = 0;
    for (size_t i = 0; i < items.size(); ++i) {
      require_finite(measured.before[i], items[i], "");
      for (const EffectItem::Job& job : items[i].jobs) {
        const auto count = static_cast<size_t>(trials_of(job));
        const auto after = std::span(measured.after).subspan(next, count);
        for (const Answered& answer : after) {
          require_finite(answer, items[i], manipulation_name(options_.manipulation) + ": ");
        }
        record(job, measured.before[i], after);
        next += count;
      }
    }
    report_.trials += static_cast<int64_t>(trials.size());
  }

  /// Throws InputError; `what` names the operation, empty: without one.
  void require_finite(const Answered& answer, const EffectItem& item,
                      const std::string& what) const {
    if (std::isfinite(answer.log_p)) return;
    const std::string where = item.fact == kNoFact ? "a sentence of the text"
                                                   : "a prompt of " + facts_[item.fact].relation +
                                                         " \"" + facts_[item.fact].subject + "\"";
    throw InputError(what + "the model's output is " + (what.empty() ? "not" : "no longer") +
                     " finite on " + where +
                     (what.empty() ? ", expected finite weights" : ", expected smaller values"));
  }

  void record(const EffectItem::Job& job, const Answered& before, std::span<const Answered> after) {
    Sums& sums = sums_.facts[job.fact][static_cast<size_t>(job.scope)];
    const bool known = before.p >= options_.known_p && before.rank <= options_.known_rank;
    sums.prompts += 1;
    sums.p += before.p;
    sums.log_p += before.log_p;
    sums.top += before.top() ? 1 : 0;
    sums.log_rank += std::log(static_cast<double>(before.rank));
    if (known) {
      sums.known += 1;
      sums.known_p += before.p;
    }
    const int64_t draws = draws_for(job);
    for (size_t s = 0; s < kSources; ++s) {
      const int64_t tries = s == 0 ? 1 : draws;
      if (tries == 0) continue;
      Sums::Change& to = sums.change[s];
      to.prompts += 1;
      Sums::Change draw;  // over the draws, then their mean
      for (int64_t d = 0; d < tries; ++d) {
        // Without neurons nothing changes: empty sets count.
        const size_t at =
            s == 0 ? 0 : 1 + (s - 1) * static_cast<size_t>(draws) + static_cast<size_t>(d);
        const Answered now = after.empty() ? before : settled(before, after[at]);
        draw.p += now.p - before.p;
        draw.log_p += now.log_p - before.log_p;
        draw.top += (now.top() ? 1 : 0) - (before.top() ? 1 : 0);
        draw.log_rank += std::log(static_cast<double>(now.rank) / static_cast<double>(before.rank));
        if (s > 0 && static_cast<size_t>(job.scope) < sums_.draws.size()) {
          sums_.draws[static_cast<size_t>(job.scope)][s - 1]
                     [relation_of_[facts_[job.fact].relation]][static_cast<size_t>(d)] +=
              now.p - before.p;
        }
      }
      const auto count = static_cast<double>(tries);
      to.p += draw.p / count;
      to.log_p += draw.log_p / count;
      to.top += draw.top / count;
      to.log_rank += draw.log_rank / count;
      if (known) to.known_p += draw.p / count;
    }
  }

  const Model& model_;
  std::span<const EffectFact> facts_;
  const EffectOptions& options_;
  const EffectContext& context_;
  ReferenceValues values_;
  std::vector<RandomSets> random_;
  std::map<std::string, size_t> relation_of_;
  EffectSums sums_;
  EffectReport& report_ = sums_.report;
};

/// Random draws whose ratio of means moves as far as that of the located neurons.
void count_strong_draws(const EffectSums& sums, const std::vector<std::vector<double>>& total,
                        int64_t draws, EffectRow& row) {
  const double located = row.change[0][0].value;
  // No change has no direction; without facts it is not a number.
  if (draws == 0 || !(std::abs(located) > kNoChange)) return;
  for (size_t s = 0; s + 1 < kSources; ++s) {
    row.draws_as_strong[s] = 0;
    for (size_t d = 0; d < static_cast<size_t>(draws); ++d) {
      double ratios = 0;
      for (size_t r = 0; r < total.size(); ++r) {
        const double before = prompts_p(total[r], row.scope);
        if (before > 0) ratios += sums.draws[static_cast<size_t>(row.scope)][s][r][d] / before;
      }
      const double change = ratios / static_cast<double>(row.relations);
      const double along = located < 0 ? -change : change;
      if (along >= std::abs(located) - kNoChange) ++row.draws_as_strong[s];
    }
  }
}

}  // namespace

const char* scope_name(Scope scope) {
  constexpr std::array<const char*, kScopes> kNames = {"own",
                                                       "held-out",
                                                       "same-relation",
                                                       "same-relation-same-object",
                                                       "same-relation-other-object",
                                                       "other-relations",
                                                       "other-relations-same-object",
                                                       "other-relations-other-object",
                                                       "text"};
  return kNames.at(static_cast<size_t>(scope));
}

const char* source_name(size_t source) {
  constexpr std::array<const char*, kSources> kNames = {"located", "random-layer",
                                                        "random-activation", "random-gradient"};
  return kNames.at(source);
}

const char* metric_name(Metric metric) {
  constexpr std::array<const char*, kMetrics> kNames = {"ratio_of_means", "mean_of_ratios", "log_p",
                                                        "accuracy", "log_rank"};
  return kNames.at(static_cast<size_t>(metric));
}

EffectSums measure_effect_sums(const Model& model, std::span<const EffectFact> facts,
                               const EffectOptions& options, const EffectContext& context,
                               const EffectProgress& progress) {
  if (std::ranges::none_of(facts, &EffectFact::evaluated)) {
    throw InputError("there is no fact whose neurons could be manipulated");
  }
  for (const EffectFact& fact : facts) {
    if (fact.prompts.empty()) {
      throw InputError(fact.relation + " \"" + fact.subject + "\": has no prompt");
    }
  }
  if (options.draws < 0 || options.side_draws < 0 || options.same_relation < 0 ||
      options.other_relations < 0 || options.sentences < 0 || options.bootstrap.draws < 1 ||
      options.reference < 2) {
    throw UsageError("numbers of draws and of facts must not be negative");
  }
  model.prepare_products();
  return Evaluation(model, facts, options, context).run(progress);
}

EffectReport summarise_effects(std::span<const EffectFact> facts, EffectSums sums,
                               const EffectOptions& options, bool with_text) {
  EffectReport report = std::move(sums.report);
  std::map<std::string_view, size_t> relation_of;
  for (const RelationEffect& relation : report.relations) {
    relation_of.emplace(relation.relation, relation_of.size());
  }
  ClusteredSums clustered;
  clustered.relations.resize(report.relations.size());
  std::vector<std::map<std::string_view, size_t>> cluster_of(report.relations.size());
  for (size_t f = 0; f < facts.size(); ++f) {
    if (!facts[f].evaluated) continue;
    const size_t r = relation_of.at(facts[f].relation);
    const auto [it, fresh] =
        cluster_of[r].try_emplace(facts[f].object, clustered.relations[r].size());
    if (fresh) clustered.relations[r].emplace_back(sum_columns(), 0.0);
    std::vector<double>& cluster = clustered.relations[r][it->second];
    std::array<Sums, kScopes>& of_fact = sums.facts[f];
    for (const auto& [whole, first, second] :
         {std::array{Scope::kSameRelation, Scope::kSameRelationSameObject,
                     Scope::kSameRelationOtherObject},
          std::array{Scope::kOtherRelations, Scope::kOtherRelationsSameObject,
                     Scope::kOtherRelationsOtherObject}}) {
      of_fact[static_cast<size_t>(whole)] = of_fact[static_cast<size_t>(first)];
      of_fact[static_cast<size_t>(whole)].add(of_fact[static_cast<size_t>(second)]);
    }
    for (size_t scope = 0; scope < kScopes; ++scope) add_fact(cluster, scope, of_fact[scope]);
  }
  const std::vector<Interval> intervals =
      bootstrap(clustered, estimate_count(), estimate_effects, options.bootstrap);
  std::vector<std::vector<double>> total;  // per relation
  for (size_t r = 0; r < report.relations.size(); ++r) {
    total.emplace_back(sum_columns(), 0.0);
    for (const std::vector<double>& cluster : clustered.relations[r]) {
      for (size_t i = 0; i < cluster.size(); ++i) total[r][i] += cluster[i];
    }
    for (size_t s = 0; s < kSources; ++s) {
      report.relations[r].own[s] = ratio_of_means(total[r], Scope::kOwn, s);
      report.relations[r].held_out[s] = ratio_of_means(total[r], Scope::kHeldOut, s);
    }
  }
  for (size_t scope = 0; scope < kScopes; ++scope) {
    if (static_cast<Scope>(scope) == Scope::kText && !with_text) continue;
    report.rows.push_back(make_row(clustered, static_cast<Scope>(scope), intervals));
    if (scope < sums.draws.size()) {
      count_strong_draws(sums, total, options.draws, report.rows.back());
    }
  }
  return report;
}

EffectReport measure_effects(const Model& model, std::span<const EffectFact> facts,
                             const EffectOptions& options, const EffectContext& context,
                             const EffectProgress& progress) {
  return summarise_effects(facts, measure_effect_sums(model, facts, options, context, progress),
                           options, !context.text.empty());
}

}  // namespace engram
