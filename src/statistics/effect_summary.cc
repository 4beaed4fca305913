// From sums over prompts to estimates with intervals, by group of facts and scope.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "statistics/effect_sums.h"

namespace engram {
namespace {

/// Random draws whose change of log-odds is as far as that of the located neurons.
void count_strong_draws(const EffectSums& sums, int64_t draws, EffectRow& row) {
  const double located = row.change[kLocated][static_cast<size_t>(Metric::kLogOdds)].value;
  // No change has no direction; without facts it is not a number.
  if (draws == 0 || !(std::abs(located) > kNoChange)) return;
  for (size_t s = 0; s < kRandomSources; ++s) {
    row.draws_as_strong[s] = 0;
    for (size_t d = 0; d < static_cast<size_t>(draws); ++d) {
      double sum = 0;
      for (const auto& relation : sums.draws[static_cast<size_t>(row.scope)][s]) sum += relation[d];
      const double change = sum / static_cast<double>(row.facts);
      const double along = located < 0 ? -change : change;
      if (along >= std::abs(located) - kNoChange) ++row.draws_as_strong[s];
    }
  }
}

bool in_group(FactGroup of_fact, FactGroup group) {
  return group == FactGroup::kAll || of_fact == group;
}

/// Estimates of all groups and scopes.
class Summary {
 public:
  Summary(std::span<const SummarisedFact> facts, EffectSums sums, const SummaryOptions& options)
      : facts_(facts), sums_(std::move(sums)), options_(options) {
    for (const RelationEffect& relation : sums_.report.relations) {
      relation_of_.emplace(relation.relation, relation_of_.size());
    }
    clustered_.relations.resize(relation_of_.size());
    totals_.assign(relation_of_.size(),
                   std::vector<double>(kFactGroups * kScopes * block_columns(), 0.0));
    for (size_t f = 0; f < facts_.size(); ++f) {
      groups_.push_back(group_of(sums_.facts[f][static_cast<size_t>(Scope::kOwn)]));
      objects_.push_back(object_of_.try_emplace(facts_[f].object, object_of_.size()).first->second);
      used_.push_back(facts_[f].evaluated &&
                      (!options_.known_only || groups_.back() == FactGroup::kKnown));
      if (used_.back()) add(f);
    }
  }

  EffectReport report() {
    EffectReport report = std::move(sums_.report);
    const std::vector<Interval> intervals = bootstrap(
        clustered_, kNearBlocks * kBlockEstimates,
        [](std::span<const std::vector<double>> relations, std::span<double> estimates) {
          for (size_t b = 0; b < kNearBlocks; ++b) {
            estimate_block(relations, b * block_columns(),
                           estimates.subspan(b * kBlockEstimates, kBlockEstimates));
          }
        },
        options_.bootstrap);
    for (size_t g = 0; g < kFactGroups; ++g) {
      for (size_t scope = 0; scope < kScopes; ++scope) {
        EffectRow row = make_row(totals_, block(g, scope) * block_columns());
        row.scope = static_cast<Scope>(scope);
        row.group = static_cast<FactGroup>(g);
        if (is_near(row.scope)) put_intervals(intervals, near_block(g, scope), row);
        if (is_near(row.scope) && g == 0 && !options_.known_only) {
          count_strong_draws(sums_, options_.draws, row);
        }
        rows_.push_back(row);
      }
    }
    for (size_t scope = kNearScopes; scope < kScopes; ++scope) add_pairs(scope);
    for (size_t g = 0; g < kFactGroups; ++g) adjust(g);
    for (const EffectRow& row : rows_) {
      if (row.scope != Scope::kText || options_.with_text) report.rows.push_back(row);
    }
    for (size_t r = 0; r < totals_.size(); ++r) {
      add_relation(totals_[r], Scope::kOwn, report.relations[r].own);
      add_relation(totals_[r], Scope::kHeldOut, report.relations[r].held_out);
    }
    add_matching(report);
    if (options_.keep_details) add_details(report);
    return report;
  }

 private:
  static constexpr size_t kNearBlocks = kFactGroups * kNearScopes;
  static size_t block(size_t group, size_t scope) { return group * kScopes + scope; }
  static size_t near_block(size_t group, size_t scope) { return group * kNearScopes + scope; }

  void add(size_t f) {
    std::array<Sums, kScopes>& of_fact = sums_.facts[f];
    for (const auto& [whole, first, second] :
         {std::array{Scope::kSameRelation, Scope::kSameRelationSameObject,
                     Scope::kSameRelationOtherObject},
          std::array{Scope::kOtherRelations, Scope::kOtherRelationsSameObject,
                     Scope::kOtherRelationsOtherObject}}) {
      of_fact[static_cast<size_t>(whole)] = of_fact[static_cast<size_t>(first)];
      of_fact[static_cast<size_t>(whole)].add(of_fact[static_cast<size_t>(second)]);
    }
    const size_t r = relation_of_.at(facts_[f].relation);
    const auto [it, fresh] =
        cluster_of_.try_emplace({r, objects_[f]}, clustered_.relations[r].size());
    if (fresh) {
      clustered_.relations[r].push_back(
          {objects_[f], std::vector<double>(kNearBlocks * block_columns(), 0.0)});
    }
    std::vector<double>& cluster = clustered_.relations[r][it->second].sums;
    for (size_t g = 0; g < kFactGroups; ++g) {
      if (!in_group(groups_[f], static_cast<FactGroup>(g))) continue;
      for (size_t scope = 0; scope < kScopes; ++scope) {
        add_fact(std::span(totals_[r]).subspan(block(g, scope) * block_columns(), block_columns()),
                 of_fact[scope]);
        if (scope >= kNearScopes) continue;
        add_fact(
            std::span(cluster).subspan(near_block(g, scope) * block_columns(), block_columns()),
            of_fact[scope]);
      }
    }
  }

  /// The intervals of a block; none where too few objects have a fact that it is estimated from.
  void put_intervals(std::span<const Interval> intervals, size_t block, EffectRow& row) const {
    std::array<std::set<size_t>, kSources> objects;
    std::set<size_t> known;
    for (const auto& relation : clustered_.relations) {
      for (const Cluster& cluster : relation) {
        const std::span<const double> of =
            std::span(cluster.sums).subspan(block * block_columns(), block_columns());
        for (size_t s = 0; s < kSources; ++s) {
          if (tried_facts(of, s) > 0) objects[s].insert(cluster.object);
        }
        if (known_facts(of) > 0) known.insert(cluster.object);
      }
    }
    const auto fewest = static_cast<size_t>(std::max<int64_t>(options_.bootstrap.min_objects, 2));
    const auto put = [&](size_t source, size_t metric, size_t place, Interval& to) {
      const bool of_known = static_cast<Metric>(metric) == Metric::kMeanOfRatios;
      if (objects[source].size() < fewest || (of_known && known.size() < fewest)) return;
      to = intervals[block * kBlockEstimates + place];
    };
    for (size_t s = 0; s < kSources; ++s) {
      for (size_t m = 0; m < kMetrics; ++m) {
        put(s, m, change_place(s, m), row.change[s][m]);
        if (s > 0) put(s, m, difference_place(s - 1, m), row.difference[s - 1][m]);
      }
    }
  }

  void add_pairs(size_t scope) {
    std::vector<PairedFact> facts;
    for (size_t f = 0; f < facts_.size(); ++f) {
      if (used_[f]) facts.push_back({objects_[f], groups_[f], &sums_.facts[f][scope].pairs});
    }
    std::array<EffectRow*, kFactGroups> rows{};
    for (size_t g = 0; g < kFactGroups; ++g) rows[g] = &rows_[block(g, scope)];
    add_pair_intervals(facts, options_.bootstrap, rows);
  }

  void adjust(size_t g) {
    for (const auto& [first, last] :
         {std::pair{size_t{0}, kNearScopes}, std::pair{kNearScopes, kScopes}}) {
      std::vector<double> p;
      for (size_t scope = first; scope < last; ++scope) {
        for (const auto& difference : rows_[block(g, scope)].difference) {
          p.push_back(difference[static_cast<size_t>(Metric::kLogOdds)].p);
        }
      }
      const std::vector<double> adjusted = holm(p);
      for (size_t i = 0; i < adjusted.size(); ++i) {
        rows_[block(g, first + i / kControls)].holm[i % kControls] = adjusted[i];
      }
    }
  }

  static void add_relation(const std::vector<double>& total, Scope scope,
                           RelationEffect::Values& values) {
    const std::span<const double> of = std::span(total).subspan(
        block(0, static_cast<size_t>(scope)) * block_columns(), block_columns());
    for (size_t s = 0; s < kSources; ++s) {
      values.log_odds[s] = log_odds_change(of, s);
      values.ratio[s] = ratio_of_means(of, s);
    }
  }

  void add_matching(EffectReport& report) const {
    for (size_t c = 0; c < kControls; ++c) {
      SetMatch& mean = report.matching[c];
      double facts = 0;
      std::array<double, kMatchedBy> matched{};
      for (size_t f = 0; f < sums_.match.size(); ++f) {
        const SetMatch& one = sums_.match[f][c];
        if (!used_[f] || one.sets == 0) continue;
        facts += 1;
        mean.sets += one.sets;
        mean.neurons += one.neurons;
        mean.overlap += one.overlap;
        mean.missing += one.missing;
        for (size_t v = 0; v < kMatchedBy; ++v) {
          if (std::isnan(one.difference[v])) continue;
          matched[v] += 1;
          mean.difference[v] += one.difference[v];
        }
      }
      for (double* value : {&mean.sets, &mean.neurons, &mean.overlap}) *value /= facts;
      for (size_t v = 0; v < kMatchedBy; ++v) mean.difference[v] /= matched[v];
    }
  }

  void add_details(EffectReport& report) const {
    for (size_t f = 0; f < facts_.size(); ++f) {
      if (!used_[f]) continue;
      for (size_t scope = 0; scope < kScopes; ++scope) {
        const Sums& sums = sums_.facts[f][scope];
        if (sums.prompts == 0) continue;
        const auto answer = [&](double log_odds, double p, double top, double log_rank) {
          return ShownAnswer{log_odds / sums.prompts, p / sums.prompts, top / sums.prompts,
                             std::exp(log_rank / sums.prompts)};
        };
        FactEffect one{f,
                       groups_[f],
                       static_cast<Scope>(scope),
                       static_cast<int64_t>(sums.prompts),
                       answer(sums.log_odds, sums.p, sums.top, sums.log_rank),
                       {}};
        for (size_t s = 0; s < kSources; ++s) {
          const Sums::Change& c = sums.change[s];
          one.after[s] = c.prompts == 0 ? not_tried()
                                        : answer(sums.log_odds + c.log_odds, sums.p + c.p,
                                                 sums.top + c.top, sums.log_rank + c.log_rank);
        }
        report.details.push_back(one);
      }
    }
  }

  std::span<const SummarisedFact> facts_;
  EffectSums sums_;
  const SummaryOptions& options_;
  std::map<std::string_view, size_t> relation_of_;
  std::map<std::string_view, size_t> object_of_;
  std::map<std::pair<size_t, size_t>, size_t> cluster_of_;  ///< (relation, object)
  std::vector<size_t> objects_;                             ///< per fact
  std::vector<FactGroup> groups_;
  std::vector<bool> used_;
  ClusteredSums clustered_;                  ///< blocks of own and held-out prompts
  std::vector<std::vector<double>> totals_;  ///< per relation: all blocks
  std::vector<EffectRow> rows_;
};

}  // namespace

EffectReport summarise_effects(std::span<const SummarisedFact> facts, EffectSums sums,
                               const SummaryOptions& options) {
  return Summary(facts, std::move(sums), options).report();
}

}  // namespace engram
