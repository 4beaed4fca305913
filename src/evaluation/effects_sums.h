#pragma once

// What an evaluation adds up over prompts, facts and clusters, and what is estimated from the sums.

#include <array>
#include <span>
#include <vector>

#include "engram/evaluation/bootstrap.h"
#include "engram/evaluation/effects.h"

namespace engram {

/// Sums over the prompts of one (fact, scope). What an intervention does is summed as a change, not
/// as a value after it: where nothing changes, the sum is exactly zero.
struct Sums {
  struct Change {
    double p = 0, log_p = 0, top = 0, log_rank = 0, known_p = 0;
    double prompts = 0;  ///< 0 where this source was not tried
  };
  double prompts = 0, p = 0, log_p = 0, top = 0, log_rank = 0;
  double known = 0, known_p = 0;
  std::array<Change, kSources> change;

  void add(const Sums& other);
};

/// What manipulating a set of facts has given, before anything is estimated.
struct EffectSums {
  std::vector<std::array<Sums, kScopes>> facts;  ///< per fact; zero where it is not evaluated
  /// Change of P, summed over prompts: [own, held-out][strength][relation][draw], relations as in
  /// `report`.
  std::array<std::array<std::vector<std::vector<double>>, kSources - 1>, 2> draws;
  EffectReport report;  ///< counts; rows and ratios are not filled yet
};

/// The first half of measure_effects(): everything but the estimates.
EffectSums measure_effect_sums(const Model& model, std::span<const EffectFact> facts,
                               const EffectOptions& options, const EffectContext& context,
                               const EffectProgress& progress = {});

/// The second half: adds up facts to clusters, estimates, and fills the report. Prompts of `facts`
/// are not looked at. `with_text`: there is ordinary text.
EffectReport summarise_effects(std::span<const EffectFact> facts, EffectSums sums,
                               const EffectOptions& options, bool with_text);

/// Columns of the clustered sums, and estimates of bootstrap().
size_t sum_columns();
size_t estimate_count();

/// Adds a fact to its cluster's columns. Every fact of a scope counts the same.
void add_fact(std::vector<double>& cluster, size_t scope, const Sums& sums);

/// All estimates: a Statistic.
void estimate_effects(std::span<const std::vector<double>> relations, std::span<double> estimates);

/// The ratio of means of one relation's sums; NaN where there is no prompt.
double ratio_of_means(const std::vector<double>& relation, Scope scope, size_t source);

/// P before, summed over one relation's prompts.
double prompts_p(const std::vector<double>& relation, Scope scope);

/// One scope's row, but for the draws that are as strong. Where fewer than two clusters have a fact
/// in the scope there is no interval.
EffectRow make_row(const ClusteredSums& clustered, Scope scope,
                   std::span<const Interval> intervals);

}  // namespace engram
