#include "engram/intervention/effects.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <map>

#include "engram/base/interrupt.h"
#include "engram/error.h"
#include "intervention/effects_plan.h"
#include "intervention/effects_sums.h"

namespace engram {
namespace {

constexpr size_t kItemsPerCall = 512;  // bounds what is kept of trials

/// The answer after an intervention, or the one before where nothing but rounding moved it.
Answered settled(const Answered& before, const Answered& after) {
  const double slack =
      kRounding * std::max({1.0, std::abs(before.log_p), std::abs(before.log_odds)});
  return std::abs(after.log_odds - before.log_odds) <= slack ? before : after;
}

double log_rank_of(const Answered& answer) { return std::log(static_cast<double>(answer.rank)); }

ShownAnswer shown(const Answered& answer) {
  return {answer.log_odds, answer.p, answer.top() ? 1.0 : 0.0, static_cast<double>(answer.rank)};
}

/// The trials of some prompts, of all treatments.
struct TrialList {
  std::vector<Cloze> clozes;
  std::vector<std::vector<NeuronChange>> sets;
  std::vector<Trial> trials;
};

EffectOptions treated(EffectOptions options, const EffectTreatment& treatment) {
  options.intervention = treatment.intervention;
  options.draws = treatment.draws;
  return options;
}

/// One treatment. `planned` are the facts whose prompts the items name, `controls` its control
/// sets.
class Evaluation {
 public:
  Evaluation(const Model& model, const EffectTreatment& treatment,
             std::span<const EffectFact> planned, const EffectOptions& options,
             const EffectContext& context, const std::vector<ControlSets>& controls)
      : facts_(treatment.facts),
        planned_(planned),
        options_(treated(options, treatment)),
        context_(context),
        values_(model, facts_, options_, context.reference),
        controls_(controls) {
    sums_.facts.resize(facts_.size());
    for (const ControlSets& one : controls_) sums_.match.push_back(one.match);
    for (const EffectFact& fact : facts_) {
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
    const auto draws = static_cast<size_t>(options_.draws);
    for (auto& scope : sums_.draws) {
      for (auto& source : scope)
        source.assign(report_.relations.size(), std::vector<double>(draws));
    }
  }

  [[nodiscard]] int64_t trials_of(const EffectItem::Job& job) const {
    size_t all = 0;
    for (size_t s = 0; s < kSources; ++s) all += tries(job, s);
    return static_cast<int64_t>(all);
  }

  /// Adds the treatment's trials on the items, whose clozes are the list's in the same order.
  void collect(std::span<const EffectItem> items, TrialList& list) const {
    std::map<std::array<uint32_t, 3>, uint32_t> set_index;  // (fact, source, draw)
    const auto add_trial = [&](uint32_t cloze, uint32_t fact, uint32_t source, uint32_t draw) {
      const auto [it, fresh] =
          set_index.try_emplace({fact, source, draw}, static_cast<uint32_t>(list.sets.size()));
      if (fresh) {
        const std::vector<NeuronId>& neurons =
            source == kLocated ? facts_[fact].neurons : controls_[fact].sets[source - 1][draw];
        list.sets.push_back(changes_of(options_.intervention, neurons, values_.of(fact)));
      }
      list.trials.push_back({cloze, it->second});
    };
    for (size_t i = 0; i < items.size(); ++i) {
      for (const EffectItem::Job& job : items[i].jobs) {
        for (uint32_t s = 0; s < kSources; ++s) {
          for (uint32_t d = 0; d < static_cast<uint32_t>(tries(job, s)); ++d) {
            add_trial(static_cast<uint32_t>(i), job.fact, s, d);
          }
        }
      }
    }
  }

  /// Takes what collect() asked for.
  void record_all(std::span<const EffectItem> items, std::span<const Answered> before,
                  std::span<const Answered> after) {
    report_.trials += static_cast<int64_t>(after.size());
    for (size_t i = 0; i < items.size(); ++i) {
      require_finite(before[i], items[i], "");
      for (const EffectItem::Job& job : items[i].jobs) {
        const auto own = after.first(static_cast<size_t>(trials_of(job)));
        after = after.subspan(own.size());
        for (const Answered& answer : own) {
          require_finite(answer, items[i], intervention_name(options_.intervention) + ": ");
        }
        record(items[i], job, before[i], own);
      }
    }
  }

  EffectSums take() { return std::move(sums_); }

 private:
  /// Sets of the source that are tried: on side prompts at most side_draws of the same ones.
  [[nodiscard]] size_t tries(const EffectItem::Job& job, size_t source) const {
    if (facts_[job.fact].neurons.empty()) return 0;
    if (source == kLocated) return 1;
    const size_t sets = controls_[job.fact].sets[source - 1].size();
    return is_near(job.scope) ? sets : std::min(sets, static_cast<size_t>(options_.side_draws));
  }

  /// Throws InputError; `what` names the intervention, empty: without one.
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

  void record(const EffectItem& item, const EffectItem::Job& job, const Answered& before,
              std::span<const Answered> after) {
    Sums& sums = sums_.facts[job.fact][static_cast<size_t>(job.scope)];
    const bool known = before.p >= options_.known_p && before.rank <= options_.known_rank;
    sums.prompts += 1;
    sums.log_odds += before.log_odds;
    sums.p += before.p;
    sums.log_p += before.log_p;
    sums.top += before.top() ? 1 : 0;
    sums.log_rank += log_rank_of(before);
    if (known) {
      sums.known += 1;
      sums.known_p += before.p;
    }
    EffectPair pair;
    pair.witness = static_cast<int32_t>(item.fact == kNoFact ? item.cloze - context_.text.data()
                                                             : std::ptrdiff_t{item.fact});
    PromptEffect prompt{job.fact, job.scope == Scope::kHeldOut, 0, shown(before), {}};
    for (size_t s = 0; s < kSources; ++s) {
      pair.log_odds[s] = pair.top[s] = std::numeric_limits<float>::quiet_NaN();
      prompt.after[s] = not_tried();
      // Without neurons nothing changes: empty sets count, with every source.
      const bool empty = facts_[job.fact].neurons.empty();
      const std::span<const Answered> own = after.first(tries(job, s));
      after = after.subspan(own.size());
      if (own.empty() && !(empty && (s == kLocated || options_.draws > 0))) continue;
      Sums::Change draw;  // over the draws, then their mean
      prompt.after[s] = {};
      for (size_t d = 0; d < own.size(); ++d) {
        const Answered now = settled(before, own[d]);
        draw.log_odds += now.log_odds - before.log_odds;
        draw.p += now.p - before.p;
        draw.log_p += now.log_p - before.log_p;
        draw.top += (now.top() ? 1 : 0) - (before.top() ? 1 : 0);
        draw.log_rank += log_rank_of(now) - log_rank_of(before);
        if (s >= kRandomLayer && s <= kRandomGradient) {
          add_draw(job, s, d, now.log_odds - before.log_odds);
        }
      }
      const double scale = own.empty() ? 0.0 : 1 / static_cast<double>(own.size());
      Sums::Change& to = sums.change[s];
      to.prompts += 1;
      to.log_odds += draw.log_odds * scale;
      to.p += draw.p * scale;
      to.log_p += draw.log_p * scale;
      to.top += draw.top * scale;
      to.log_rank += draw.log_rank * scale;
      if (known) to.known_p += draw.p * scale;
      pair.log_odds[s] = static_cast<float>(draw.log_odds * scale);
      pair.top[s] = static_cast<float>(draw.top * scale);
      prompt.after[s] = {before.log_odds + draw.log_odds * scale, before.p + draw.p * scale,
                         (before.top() ? 1 : 0) + draw.top * scale,
                         std::exp(log_rank_of(before) + draw.log_rank * scale)};
    }
    if (!is_near(job.scope)) {
      sums.pairs.push_back(pair);
    } else if (options_.keep_details) {
      const std::vector<Cloze>& list =
          prompt.held_out ? planned_[job.fact].held_out : planned_[job.fact].prompts;
      prompt.prompt = static_cast<size_t>(item.cloze - list.data());
      report_.prompts.push_back(prompt);
    }
  }

  void add_draw(const EffectItem::Job& job, size_t source, size_t draw, double change) {
    if (!is_near(job.scope)) return;
    const EffectFact& fact = facts_[job.fact];
    const size_t prompts = job.scope == Scope::kOwn ? fact.prompts.size() : fact.held_out.size();
    sums_.draws[static_cast<size_t>(job.scope)][source - kRandomLayer]
               [relation_of_.at(fact.relation)][draw] += change / static_cast<double>(prompts);
  }

  std::span<const EffectFact> facts_;
  std::span<const EffectFact> planned_;
  EffectOptions options_;
  const EffectContext& context_;
  ReferenceValues values_;
  const std::vector<ControlSets>& controls_;
  std::map<std::string, size_t> relation_of_;
  EffectSums sums_;
  EffectReport& report_ = sums_.report;
};

}  // namespace

std::vector<EffectSums> measure_effect_sums(const Model& model,
                                            std::span<const EffectTreatment> treatments,
                                            const EffectOptions& options,
                                            const EffectContext& context,
                                            const EffectProgress& progress) {
  const std::span<const EffectFact> planned = treatments.front().facts;
  if (std::ranges::none_of(planned, &EffectFact::evaluated)) {
    throw InputError("there is no fact whose neurons could be changed");
  }
  for (const EffectFact& fact : planned) {
    if (fact.prompts.empty()) {
      throw InputError(fact.relation + " \"" + fact.subject + "\": has no prompt");
    }
  }
  const bool negative = std::ranges::any_of(
      treatments, [](const EffectTreatment& treatment) { return treatment.draws < 0; });
  if (negative || options.side_draws < 0 || options.same_relation < 0 ||
      options.other_relations < 0 || options.sentences < 0 || options.other_facts < 0 ||
      options.bootstrap.draws < 1 || options.reference < 2) {
    throw UsageError("numbers of draws and of facts must not be negative");
  }
  model.prepare_products();
  std::map<std::pair<const EffectFact*, int64_t>, std::vector<ControlSets>> controls;
  std::deque<Evaluation> evaluations;
  for (const EffectTreatment& treatment : treatments) {
    const auto [it, fresh] = controls.try_emplace({treatment.facts.data(), treatment.draws});
    if (fresh) {
      it->second = plan_controls(model, treatment.facts, context, treated(options, treatment));
    }
    evaluations.emplace_back(model, treatment, planned, options, context, it->second);
  }
  const std::vector<EffectItem> items = plan_items(planned, context.text, options);
  int64_t total = 0;
  int64_t done = 0;
  for (const EffectItem& item : items) {
    for (const EffectItem::Job& job : item.jobs) {
      for (const Evaluation& evaluation : evaluations) total += evaluation.trials_of(job);
    }
  }
  for (size_t begin = 0; begin < items.size(); begin += kItemsPerCall) {
    Interrupt::check();
    const auto part =
        std::span(items).subspan(begin, std::min(kItemsPerCall, items.size() - begin));
    TrialList list;
    for (const EffectItem& item : part) list.clozes.push_back(*item.cloze);
    std::vector<size_t> ends;
    for (const Evaluation& evaluation : evaluations) {
      evaluation.collect(part, list);
      ends.push_back(list.trials.size());
    }
    const Measured measured = measure(model, list.clozes, list.sets, list.trials, options.measure);
    size_t first = 0;
    for (size_t e = 0; e < evaluations.size(); ++e) {
      evaluations[e].record_all(part, measured.before,
                                std::span(measured.after).subspan(first, ends[e] - first));
      first = ends[e];
    }
    done += static_cast<int64_t>(list.trials.size());
    if (progress) progress(done, total);
  }
  std::vector<EffectSums> sums;
  for (Evaluation& evaluation : evaluations) sums.push_back(evaluation.take());
  return sums;
}

std::vector<SummarisedFact> summarised(std::span<const EffectFact> facts) {
  std::vector<SummarisedFact> all;
  for (const EffectFact& fact : facts) all.push_back({fact.relation, fact.object, fact.evaluated});
  return all;
}

SummaryOptions summary_options(const EffectOptions& options, bool with_text) {
  return {options.bootstrap, options.draws, options.known_only, options.keep_details, with_text};
}

EffectReport measure_effects(const Model& model, std::span<const EffectFact> facts,
                             const EffectOptions& options, const EffectContext& context,
                             const EffectProgress& progress) {
  const EffectTreatment treatment{options.intervention, facts, options.draws};
  std::vector<EffectSums> sums =
      measure_effect_sums(model, {&treatment, 1}, options, context, progress);
  return summarise_effects(summarised(facts), std::move(sums.front()),
                           summary_options(options, !context.text.empty()));
}

}  // namespace engram
