#include "engram/evaluation/effects.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <unordered_map>

#include "engram/base/interrupt.h"
#include "engram/error.h"
#include "evaluation/effects_plan.h"

namespace engram {
namespace {

constexpr size_t kItemsPerCall = 512;  // bounds what is kept of trials
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

/// Sums over the prompts of one (fact, scope).
struct Sums {
  struct After {
    double p = 0, log_p = 0, top = 0, log_rank = 0, known_p = 0;
    double prompts = 0;  ///< 0 where this source was not tried
  };
  double prompts = 0, p = 0, log_p = 0, top = 0, log_rank = 0;
  double known = 0, known_p = 0;
  std::array<After, kSources> after;

  void add(const Sums& other) {
    prompts += other.prompts;
    p += other.p;
    log_p += other.log_p;
    top += other.top;
    log_rank += other.log_rank;
    known += other.known;
    known_p += other.known_p;
    for (size_t s = 0; s < kSources; ++s) {
      After& a = after[s];
      const After& b = other.after[s];
      a.p += b.p;
      a.log_p += b.log_p;
      a.top += b.top;
      a.log_rank += b.log_rank;
      a.known_p += b.known_p;
      a.prompts += b.prompts;
    }
  }
};

/// Columns of the clustered sums, per scope.
enum Column : size_t { kPrompts, kFacts, kSumP, kP, kLogP, kTop, kLogRank, kKnown, kSourceColumns };
enum SourceColumn : size_t {
  kTried,
  kAfterSumP,
  kAfterP,
  kAfterLogP,
  kAfterTop,
  kAfterLogRank,
  kRatio,
  kTriedKnown,
  kSourceWidth
};
constexpr size_t kWidth = kSourceColumns + kSources * kSourceWidth;

double column(const std::vector<double>& sums, size_t scope, size_t index) {
  return sums[scope * kWidth + index];
}
constexpr size_t source_column(size_t source, size_t index) {
  return kSourceColumns + source * kSourceWidth + index;
}

void add_fact(std::vector<double>& cluster, size_t scope, const Sums& sums) {
  if (sums.prompts == 0) return;
  double* to = cluster.data() + scope * kWidth;
  to[kPrompts] += sums.prompts;
  to[kFacts] += 1;
  to[kSumP] += sums.p;
  to[kP] += sums.p / sums.prompts;
  to[kLogP] += sums.log_p / sums.prompts;
  to[kTop] += sums.top / sums.prompts;
  to[kLogRank] += sums.log_rank / sums.prompts;
  if (sums.known > 0) to[kKnown] += 1;
  for (size_t s = 0; s < kSources; ++s) {
    const Sums::After& after = sums.after[s];
    if (after.prompts == 0) continue;
    to[source_column(s, kTried)] += 1;
    to[source_column(s, kAfterSumP)] += after.p;
    to[source_column(s, kAfterP)] += after.p / sums.prompts;
    to[source_column(s, kAfterLogP)] += after.log_p / sums.prompts;
    to[source_column(s, kAfterTop)] += after.top / sums.prompts;
    to[source_column(s, kAfterLogRank)] += after.log_rank / sums.prompts;
    if (sums.known > 0) {
      to[source_column(s, kRatio)] += after.known_p / sums.known_p - 1;
      to[source_column(s, kTriedKnown)] += 1;
    }
  }
}

/// The metrics of one scope and source.
std::array<double, kMetrics> metrics(std::span<const std::vector<double>> relations, size_t scope,
                                     size_t source) {
  double ratios = 0, with_ratio = 0;
  std::array<double, kSourceColumns> before{};
  std::array<double, kSourceWidth> after{};
  for (const std::vector<double>& relation : relations) {
    for (size_t i = 0; i < kSourceColumns; ++i) before[i] += column(relation, scope, i);
    for (size_t i = 0; i < kSourceWidth; ++i) {
      after[i] += column(relation, scope, source_column(source, i));
    }
    if (column(relation, scope, source_column(source, kTried)) > 0 &&
        column(relation, scope, kSumP) > 0) {
      ratios += column(relation, scope, source_column(source, kAfterSumP)) /
                    column(relation, scope, kSumP) -
                1;
      with_ratio += 1;
    }
  }
  std::array<double, kMetrics> values;
  values.fill(kNone);
  const auto set = [&](Metric metric, double value) {
    values[static_cast<size_t>(metric)] = value;
  };
  if (with_ratio > 0) set(Metric::kRatioOfMeans, ratios / with_ratio);
  if (after[kTriedKnown] > 0) set(Metric::kMeanOfRatios, after[kRatio] / after[kTriedKnown]);
  if (after[kTried] > 0) {
    set(Metric::kLogP, (after[kAfterLogP] - before[kLogP]) / after[kTried]);
    set(Metric::kAccuracy, (after[kAfterTop] - before[kTop]) / after[kTried]);
    set(Metric::kLogRank, (after[kAfterLogRank] - before[kLogRank]) / after[kTried]);
  }
  return values;
}

/// Where an estimate stands: changes of all sources, then differences, metric by metric.
constexpr size_t kPerScope = (kSources + kSources - 1) * kMetrics;

void estimate(std::span<const std::vector<double>> relations, std::span<double> out) {
  for (size_t scope = 0; scope < kScopes; ++scope) {
    double* to = out.data() + scope * kPerScope;
    std::array<double, kMetrics> located{};
    for (size_t s = 0; s < kSources; ++s) {
      const std::array<double, kMetrics> values = metrics(relations, scope, s);
      if (s == 0) located = values;
      for (size_t m = 0; m < kMetrics; ++m) {
        to[s * kMetrics + m] = values[m];
        if (s > 0) to[(kSources + s - 1) * kMetrics + m] = located[m] - values[m];
      }
    }
  }
}

class Evaluation {
 public:
  Evaluation(const Model& model, std::span<const EffectFact> facts, const EffectOptions& options,
             const at::Tensor& reference)
      : model_(model),
        facts_(facts),
        options_(options),
        values_(model, facts, options, reference),
        sums_(facts.size()) {
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
    for (auto& scope : draw_sums_) {
      for (auto& source : scope)
        source.assign(report_.relations.size(), std::vector<double>(draws));
    }
  }

  EffectReport run(const EffectProgress& progress) {
    random_ = plan_random_sets(model_, facts_, options_, report_);
    const std::vector<EffectItem> items = plan_items(facts_, options_);
    int64_t total = 0;
    for (const EffectItem& item : items) {
      for (const EffectItem::Job& job : item.jobs) total += trials_of(job);
    }
    for (size_t begin = 0; begin < items.size(); begin += kItemsPerCall) {
      Interrupt::check();
      run_items(std::span(items).subspan(begin, std::min(kItemsPerCall, items.size() - begin)));
      if (progress) progress(report_.trials, total);
    }
    summarise();
    return std::move(report_);
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
      for (const EffectItem::Job& job : items[i].jobs) {
        const auto count = static_cast<size_t>(trials_of(job));
        record(job, measured.before[i], std::span(measured.after).subspan(next, count));
        next += count;
      }
    }
    report_.trials += static_cast<int64_t>(trials.size());
  }

  void record(const EffectItem::Job& job, const Answered& before, std::span<const Answered> after) {
    Sums& sums = sums_[job.fact][static_cast<size_t>(job.scope)];
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
      Sums::After& to = sums.after[s];
      to.prompts += 1;
      for (int64_t d = 0; d < tries; ++d) {
        // Without neurons nothing changes: empty sets count.
        const size_t at =
            s == 0 ? 0 : 1 + (s - 1) * static_cast<size_t>(draws) + static_cast<size_t>(d);
        const Answered& now = after.empty() ? before : after[at];
        const double share = 1.0 / static_cast<double>(tries);
        to.p += share * now.p;
        to.log_p += share * now.log_p;
        to.top += share * (now.top() ? 1 : 0);
        to.log_rank += share * std::log(static_cast<double>(now.rank));
        if (known) to.known_p += share * now.p;
        if (s > 0 && static_cast<size_t>(job.scope) < draw_sums_.size()) {
          draw_sums_[static_cast<size_t>(job.scope)][s - 1][relation_of_[facts_[job.fact].relation]]
                    [static_cast<size_t>(d)] += now.p;
        }
      }
    }
  }

  /// Adds up facts to clusters, estimates, and fills the report.
  void summarise() {
    ClusteredSums clustered;
    clustered.relations.resize(report_.relations.size());
    std::vector<std::map<std::string_view, size_t>> cluster_of(report_.relations.size());
    for (size_t f = 0; f < facts_.size(); ++f) {
      if (!facts_[f].evaluated) continue;
      const size_t r = relation_of_[facts_[f].relation];
      const auto [it, fresh] =
          cluster_of[r].try_emplace(facts_[f].object, clustered.relations[r].size());
      if (fresh) clustered.relations[r].emplace_back(kScopes * kWidth, 0.0);
      std::vector<double>& cluster = clustered.relations[r][it->second];
      std::array<Sums, kScopes>& sums = sums_[f];
      for (const auto& [whole, first, second] :
           {std::array{Scope::kSameRelation, Scope::kSameRelationSameObject,
                       Scope::kSameRelationOtherObject},
            std::array{Scope::kOtherRelations, Scope::kOtherRelationsSameObject,
                       Scope::kOtherRelationsOtherObject}}) {
        sums[static_cast<size_t>(whole)] = sums[static_cast<size_t>(first)];
        sums[static_cast<size_t>(whole)].add(sums[static_cast<size_t>(second)]);
      }
      for (size_t scope = 0; scope < kScopes; ++scope) add_fact(cluster, scope, sums[scope]);
    }
    const std::vector<Interval> intervals =
        bootstrap(clustered, kScopes * kPerScope, estimate, options_.bootstrap);
    for (size_t scope = 0; scope < kScopes; ++scope) {
      report_.rows.push_back(make_row(clustered, scope, intervals));
    }
    for (size_t r = 0; r < report_.relations.size(); ++r) {
      std::vector<double> total(kScopes * kWidth, 0.0);
      for (const std::vector<double>& cluster : clustered.relations[r]) {
        for (size_t i = 0; i < total.size(); ++i) total[i] += cluster[i];
      }
      for (size_t s = 0; s < kSources; ++s) {
        const std::span<const std::vector<double>> one(&total, 1);
        report_.relations[r].own[s] = metrics(one, static_cast<size_t>(Scope::kOwn), s)[0];
        report_.relations[r].held_out[s] = metrics(one, static_cast<size_t>(Scope::kHeldOut), s)[0];
      }
    }
  }

  EffectRow make_row(const ClusteredSums& clustered, size_t scope,
                     const std::vector<Interval>& intervals) const {
    EffectRow row;
    row.scope = static_cast<Scope>(scope);
    std::array<double, kWidth> total{};
    std::vector<double> sum_p(clustered.relations.size(), 0.0);
    for (size_t r = 0; r < clustered.relations.size(); ++r) {
      for (const std::vector<double>& cluster : clustered.relations[r]) {
        for (size_t i = 0; i < kWidth; ++i) total[i] += column(cluster, scope, i);
        sum_p[r] += column(cluster, scope, kSumP);
      }
    }
    row.facts = static_cast<int64_t>(total[kFacts]);
    row.prompts = static_cast<int64_t>(total[kPrompts]);
    row.known = static_cast<int64_t>(total[kKnown]);
    const auto mean = [](double sum, double count) { return count > 0 ? sum / count : kNone; };
    const double n = total[kFacts];
    row.before = {mean(total[kP], n), mean(total[kLogP], n), mean(total[kTop], n),
                  std::exp(mean(total[kLogRank], n))};
    const auto at = [&](size_t block, size_t m) {
      return intervals[scope * kPerScope + block * kMetrics + m];
    };
    for (size_t s = 0; s < kSources; ++s) {
      const double tried = total[source_column(s, kTried)];
      row.after[s] = {mean(total[source_column(s, kAfterP)], tried),
                      mean(total[source_column(s, kAfterLogP)], tried),
                      mean(total[source_column(s, kAfterTop)], tried),
                      std::exp(mean(total[source_column(s, kAfterLogRank)], tried))};
      for (size_t m = 0; m < kMetrics; ++m) {
        row.change[s][m] = at(s, m);
        if (s > 0) row.difference[s - 1][m] = at(kSources + s - 1, m);
      }
    }
    if (scope < draw_sums_.size() && row.facts > 0 && options_.draws > 0) {
      const double located = row.change[0][0].value;
      for (size_t s = 0; s + 1 < kSources; ++s) {
        row.draws_as_strong[s] = 0;
        for (size_t d = 0; d < static_cast<size_t>(options_.draws); ++d) {
          double ratios = 0, relations = 0;
          for (size_t r = 0; r < sum_p.size(); ++r) {
            if (sum_p[r] <= 0) continue;
            ratios += draw_sums_[scope][s][r][d] / sum_p[r] - 1;
            relations += 1;
          }
          const double change = ratios / relations;
          if (located < 0 ? change <= located : change >= located) ++row.draws_as_strong[s];
        }
      }
    }
    return row;
  }

  const Model& model_;
  std::span<const EffectFact> facts_;
  const EffectOptions& options_;
  ReferenceValues values_;
  std::vector<RandomSets> random_;
  std::vector<std::array<Sums, kScopes>> sums_;  ///< per fact
  std::map<std::string, size_t> relation_of_;
  /// P after, summed over prompts: [own, held-out][strength][relation][draw].
  std::array<std::array<std::vector<std::vector<double>>, kSources - 1>, 2> draw_sums_;
  EffectReport report_;
};

}  // namespace

const char* scope_name(Scope scope) {
  constexpr std::array<const char*, kScopes> kNames = {"own",
                                                       "held-out",
                                                       "same-relation",
                                                       "same-relation-same-object",
                                                       "same-relation-other-object",
                                                       "other-relations",
                                                       "other-relations-same-object",
                                                       "other-relations-other-object"};
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

EffectReport measure_effects(const Model& model, std::span<const EffectFact> facts,
                             const EffectOptions& options, const at::Tensor& reference,
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
      options.other_relations < 0 || options.bootstrap.draws < 1 || options.reference < 2) {
    throw UsageError("numbers of draws and of facts must not be negative");
  }
  return Evaluation(model, facts, options, reference).run(progress);
}

}  // namespace engram
