#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engram/statistics/bootstrap.h"

// What an effect is measured on, which neurons stand beside the located ones, what is estimated,
// and the results.
namespace engram {

/// The prompts on which an effect is measured, seen from the treated fact.
enum class Scope {
  kOwn,
  kHeldOut,
  kSameRelation,  ///< other facts of the relation
  kSameRelationSameObject,
  kSameRelationOtherObject,
  kOtherRelations,  ///< facts of other relations
  kOtherRelationsSameObject,
  kOtherRelationsOtherObject,
  kText,  ///< sentences of ordinary text
};
constexpr size_t kScopes = 9;
const char* scope_name(Scope scope);  ///< "own", "held-out", "same-relation", ...

/// Which neurons are changed.
enum Source : size_t {
  kLocated,
  kRandomLayer,  ///< random sets by MatchStrength
  kRandomActivation,
  kRandomGradient,
  kNext,             ///< the next by activation x gradient, per layer as many as are located there
  kOtherFact,        ///< located for other facts of the relation, with another object
  kActivationSameK,  ///< as many as located, the most active ones of all layers
};
constexpr size_t kSources = 7;
constexpr size_t kControls = kSources - 1;  ///< what located neurons are compared with
constexpr size_t kRandomSources = 3;        ///< those behind kLocated
const char* source_name(size_t source);     ///< "located", "random-layer", ...

/// Facts that are looked at together.
enum class FactGroup {
  kAll,
  kKnown,  ///< the answer is the top one on at least half of the fact's own prompts
  kNever,  ///< on none of them
};
constexpr size_t kFactGroups = 3;
/// The group of a fact whose answer is the top one on `top` of its `prompts` own prompts; kAll:
/// neither known nor never given, or without prompts.
FactGroup group_of(int64_t prompts, int64_t top);
const char* group_name(FactGroup group);  ///< "all", "known", "never"

/// What is estimated (METHOD section 4), each as a change from before to after.
enum class Metric {
  kLogOdds,       ///< change of the answer's log-odds, mean over a fact's prompts, then over facts:
                  ///< the primary measure
  kRatioOfMeans,  ///< sum of P after / before over a relation's prompts - 1, mean over relations
                  ///< without weights, empty sets included
  kMeanOfRatios,  ///< P after / before - 1 over a fact's known prompts, mean over facts with some
  kLogP,          ///< change of log P, mean over a fact's prompts, then over facts
  kAccuracy,      ///< change of the share of prompts whose answer is the top one, likewise
  kLogRank,       ///< change of the natural logarithm of the answer's rank, likewise
};
constexpr size_t kMetrics = 6;
const char* metric_name(Metric metric);

constexpr size_t kMatchedBy = 3;  ///< covariates: activation, value norm, activation x gradient

/// A change of log P, relative to its size or to 1, that float32 rounding can make: two runs in
/// batches of different shapes differ by as much. An answer that moves by no more has not moved.
constexpr double kRounding = 4e-6;
/// The same for a mean change of P: what is smaller is no more and no less than none.
constexpr double kNoChange = 1e-6;

/// One scope's effects. Values are means over facts (each the mean over its prompts).
struct EffectRow {
  Scope scope = Scope::kOwn;
  FactGroup group = FactGroup::kAll;
  int64_t facts = 0;      ///< treated facts with a prompt in the scope
  int64_t prompts = 0;    ///< pairs of a treated fact and a prompt
  int64_t known = 0;      ///< treated facts with a known prompt in the scope
  int64_t relations = 0;  ///< over which the ratio of means is averaged
  struct State {
    double log_odds = 0;
    double p = 0;
    double log_p = 0;
    double accuracy = 0;
    double rank = 0;  ///< geometric mean
  };
  State before;
  std::array<State, kSources> after;
  /// Intervals: on own and held-out prompts by relations and objects (bootstrap()), for all
  /// metrics; elsewhere by treated facts and witnesses, for kLogOdds and kAccuracy alone.
  std::array<std::array<Interval, kMetrics>, kSources> change;
  /// Located minus control, over the facts that have both: same draws of the bootstrap for both.
  std::array<std::array<Interval, kMetrics>, kControls> difference;
  /// p of difference[.][kLogOdds], adjusted by Holm within the group's own and held-out rows, or
  /// within its other rows. NaN where there is no interval.
  std::array<double, kControls> holm;
  /// Own and held-out prompts of all facts: random draws (of the whole set of facts) whose change
  /// of log-odds is at least as far in the same direction as that of the located neurons; -1
  /// elsewhere, and where the located neurons change nothing, which has no direction.
  std::array<int64_t, kRandomSources> draws_as_strong = {-1, -1, -1};
};

/// One relation's effects on own and held-out prompts; NaN where there is no prompt.
struct RelationEffect {
  std::string relation;
  int64_t facts = 0;
  int64_t empty = 0;
  struct Values {
    std::array<double, kSources> log_odds{};  ///< change, mean over facts
    std::array<double, kSources> ratio{};     ///< P after / before - 1
  };
  Values own, held_out;
};

/// The sets of one source beside the located ones of one fact; means over facts in a report.
struct SetMatch {
  double sets = 0;     ///< that were drawn
  double neurons = 0;  ///< in a set, mean
  double overlap = 0;  ///< of them located for the fact itself
  double missing = 0;  ///< located neurons without a counterpart; summed in a report
  /// By what neurons are matched, as MatchedSets::difference; NaN where neurons are not matched one
  /// by one.
  std::array<double, kMatchedBy> difference{};
};

/// An answer before or after, as shown.
struct ShownAnswer {
  double log_odds = 0, p = 0;
  double top = 0;   ///< mean over draws of 1 or 0
  double rank = 0;  ///< geometric mean over draws
};
/// One fact on one scope's prompts, means over them.
struct FactEffect {
  size_t fact = 0;                    ///< of the facts given
  FactGroup group = FactGroup::kAll;  ///< kKnown or kNever; kAll: neither
  Scope scope = Scope::kOwn;
  int64_t prompts = 0;
  ShownAnswer before;
  std::array<ShownAnswer, kSources> after;  ///< NaN where the source was not tried
};
/// One own or held-out prompt.
struct PromptEffect {
  size_t fact = 0;
  bool held_out = false;
  size_t prompt = 0;  ///< of the fact's list
  ShownAnswer before;
  std::array<ShownAnswer, kSources> after;
};

struct EffectReport {
  /// Group by group, for each one per Scope in its order; kText only where there is text.
  std::vector<EffectRow> rows;
  std::vector<RelationEffect> relations;       ///< by first appearance
  int64_t facts = 0;                           ///< treated
  int64_t empty = 0;                           ///< of them without neurons
  int64_t witnesses = 0;                       ///< facts that could show side effects
  int64_t reference = 0;                       ///< prompts behind mean and resample
  std::array<SetMatch, kControls> matching{};  ///< means over facts with neurons
  int64_t trials = 0;                          ///< changed forward passes
  std::vector<FactEffect> details;             ///< with keep_details
  std::vector<PromptEffect> prompts;           ///< with keep_details

  /// The row of a scope; nullptr for text where there is none.
  [[nodiscard]] const EffectRow* row(Scope scope, FactGroup group = FactGroup::kAll) const;
};

}  // namespace engram
