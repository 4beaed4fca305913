#pragma once

// What an evaluation adds up over prompts, facts and clusters, and what is estimated from the sums.

#include <array>
#include <cstddef>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "engram/statistics/effect_report.h"

namespace engram {

/// What one treated fact does to one prompt of another, or of the text.
struct EffectPair {
  int32_t witness = 0;  ///< the same number for the same fact, or sentence
  /// Changes, mean over draws; NaN where the source was not tried.
  std::array<float, kSources> log_odds{};
  std::array<float, kSources> top{};
};

/// Sums over the prompts of one (fact, scope). What an intervention does is summed as a change, not
/// as a value after it: where nothing changes, the sum is exactly zero.
struct Sums {
  struct Change {
    double log_odds = 0, p = 0, log_p = 0, top = 0, log_rank = 0, known_p = 0;
    double prompts = 0;  ///< 0 where this source was not tried
  };
  double prompts = 0, log_odds = 0, p = 0, log_p = 0, top = 0, log_rank = 0;
  double known = 0, known_p = 0;
  std::array<Change, kSources> change;
  std::vector<EffectPair> pairs;  ///< of scopes but own and held-out

  void add(const Sums& other);
};

/// Own and held-out prompts: a fact's are its own, and are not shared with other facts.
constexpr size_t kNearScopes = 2;
inline bool is_near(Scope scope) { return static_cast<size_t>(scope) < kNearScopes; }

/// A source that was not tried.
inline ShownAnswer not_tried() {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  return {kNan, kNan, kNan, kNan};
}

/// What changing a set of facts has given, before anything is estimated.
struct EffectSums {
  std::vector<std::array<Sums, kScopes>> facts;        ///< per fact; zero where it is not evaluated
  std::vector<std::array<SetMatch, kControls>> match;  ///< per fact; sets 0 where it has none
  /// Change of log-odds, mean over a fact's prompts, summed over facts:
  /// [own, held-out][strength][relation][draw], relations as in `report`.
  std::array<std::array<std::vector<std::vector<double>>, kRandomSources>, kNearScopes> draws;
  EffectReport report;  ///< counts and prompts; the rest is not filled yet
};

/// A fact of the sums.
struct SummarisedFact {
  std::string relation, object;
  bool evaluated = true;
};

struct SummaryOptions {
  BootstrapOptions bootstrap;
  int64_t draws = 0;          ///< random sets per fact and strength
  bool known_only = false;    ///< estimates over facts of FactGroup::kKnown alone
  bool keep_details = false;  ///< fill EffectReport::details
  bool with_text = false;     ///< there is ordinary text
};

/// The second half of measuring effects: adds up facts to clusters, estimates, and fills the
/// report.
EffectReport summarise_effects(std::span<const SummarisedFact> facts, EffectSums sums,
                               const SummaryOptions& options);

/// kKnown, kNever or kAll (neither), by the fact's own prompts.
FactGroup group_of(const Sums& own);

/// Columns of the sums of one scope of one group of facts: a block.
size_t block_columns();
/// Adds a fact to a block. Every fact of a scope counts the same.
void add_fact(std::span<double> block, const Sums& sums);

/// Estimates of a block: changes of all sources, then differences, metric by metric.
constexpr size_t kBlockEstimates = (kSources + kControls) * kMetrics;
constexpr size_t change_place(size_t source, size_t metric) { return source * kMetrics + metric; }
constexpr size_t difference_place(size_t control, size_t metric) {
  return (kSources + control) * kMetrics + metric;
}

/// All estimates of the block that begins at column `begin` of every relation's sums.
void estimate_block(std::span<const std::vector<double>> relations, size_t begin,
                    std::span<double> estimates);

/// Facts of a block's sum that this source was tried on; all facts that have a known prompt.
double tried_facts(std::span<const double> block, size_t source);
double known_facts(std::span<const double> block);

/// One relation's change of log-odds (mean over facts) and ratio of means; NaN: no prompt.
double log_odds_change(std::span<const double> block, size_t source);
double ratio_of_means(std::span<const double> block, size_t source);

/// One scope's row without intervals, from the relations' sums.
EffectRow make_row(std::span<const std::vector<double>> relations, size_t begin);

/// One source's changes of `pairs` as the table `effect` keeps them: 12 bytes a pair, int32
/// witness, float32 change of the log-odds, float32 change of top, little-endian. `name` of a
/// witness.
std::vector<std::byte> pair_bytes(std::span<const EffectPair> pairs, size_t source,
                                  const std::function<int64_t(int32_t)>& name);
/// Reads them back, into pairs that other sources may have begun. Throws InputError where they do
/// not fit together.
void read_pair_bytes(std::span<const std::byte> bytes, size_t source,
                     std::vector<EffectPair>& pairs);

/// Two-way intervals of one scope's pairs: treated facts (those with one object together) and
/// witnesses are resampled independently, a pair counts by the product. A row for every group;
/// fills kLogOdds and kAccuracy of `rows` where there are options.min_objects objects and as many
/// witnesses.
struct PairedFact {
  size_t object = 0;
  FactGroup group = FactGroup::kAll;
  const std::vector<EffectPair>* pairs = nullptr;
};
void add_pair_intervals(std::span<const PairedFact> facts, const BootstrapOptions& options,
                        std::span<EffectRow* const> rows);

}  // namespace engram
