#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "engram/evaluation/bootstrap.h"
#include "engram/intervention/measure.h"
#include "engram/intervention/operation.h"
#include "engram/model/model.h"
#include "engram/neurons/matched.h"

namespace engram {

/// A fact whose neurons are manipulated, or that only shows side effects.
struct EffectFact {
  std::string relation, subject, object;
  std::vector<Cloze> prompts;  ///< on which the neurons were located; at least one
  std::vector<Cloze> held_out;
  bool evaluated = true;          ///< false: only a witness of other facts' side effects
  std::vector<NeuronId> neurons;  ///< each once; may be empty
};

/// The prompts on which an effect is measured, seen from the manipulated fact.
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

/// Which neurons are manipulated.
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
constexpr size_t kRandomSources = kMatchStrengths.size();
const char* source_name(size_t source);  ///< "located", "random-layer", ...

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

struct EffectOptions {
  Manipulation manipulation;
  int64_t draws = 20;          ///< random sets per fact and strength, on own and held-out prompts;
                               ///< 0: no control at all
  int64_t side_draws = 1;      ///< the same on the prompts of other facts; at most `draws`
  int64_t same_relation = 20;  ///< other facts of the relation per fact
  int64_t other_relations = 100;  ///< facts of other relations per fact
  int64_t sentences = 20;         ///< of the text per fact
  double known_p = 0.1;           ///< a prompt is known before when its P is at least this
  int64_t known_rank = 1;         ///< and the answer's rank at most this
  int64_t reference = 256;        ///< prompts of the reference of mean and resample, at most
  int64_t other_facts = 5;        ///< sets of other facts that are tried, at most
  bool random_from_all = false;   ///< random sets may hold what was located for other facts
  bool known_only = false;        ///< estimates over facts of FactGroup::kKnown alone
  bool keep_details = false;      ///< fill EffectReport::details and prompts
  BootstrapOptions bootstrap;
  uint64_t seed = 0;
  MeasureOptions measure;
};

/// The set that was located for some fact.
struct LocatedNeurons {
  std::string relation, subject, object;
  std::vector<NeuronId> neurons;
};

/// What an evaluation needs beside its facts.
struct EffectContext {
  /// Neurons that were located for any fact, also for facts that are not here: no random set holds
  /// one of them. Those of the facts themselves need not be named.
  std::unordered_set<NeuronId> located;
  /// Sets of all facts of the relations, for kOtherFact; without any it is not tried.
  std::vector<LocatedNeurons> sets;
  std::vector<Cloze> text;  ///< sentences of ordinary text with a masked word; empty: no kText
  /// [prompts, layers, d_ff] (mask_activations of a corpus) for mean and resample; undefined:
  /// activations on prompts of other facts, never the fact's own.
  at::Tensor reference;
};

/// A change of log P, relative to its size or to 1, that float32 rounding can make: two runs in
/// batches of different shapes differ by as much. An answer that moves by no more has not moved.
constexpr double kRounding = 4e-6;
/// The same for a mean change of P: what is smaller is no more and no less than none.
constexpr double kNoChange = 1e-6;

/// One scope's effects. Values are means over facts (each the mean over its prompts).
struct EffectRow {
  Scope scope = Scope::kOwn;
  FactGroup group = FactGroup::kAll;
  int64_t facts = 0;      ///< manipulated facts with a prompt in the scope
  int64_t prompts = 0;    ///< pairs of a manipulated fact and a prompt
  int64_t known = 0;      ///< manipulated facts with a known prompt in the scope
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
  /// metrics; elsewhere by manipulated facts and witnesses, for kLogOdds and kAccuracy alone.
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
  /// As MatchedSets::difference; NaN where neurons are not matched one by one.
  std::array<double, kCovariates> difference{};
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
  int64_t facts = 0;                           ///< manipulated
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

/// Called with the number of trials done and of all trials.
using EffectProgress = std::function<void(int64_t done, int64_t total)>;

/// Manipulates every evaluated fact's neurons, and matched random ones, and measures the effect on
/// its own prompts, its held-out prompts, one prompt each of a seeded sample of other facts, and a
/// seeded sample of the text.
/// Facts whose subject holds the object must be left out by the caller. Throws InputError (nothing
/// to evaluate, a neuron that does not exist, no other fact for a reference, an output that is not
/// finite), UsageError, Interrupted.
EffectReport measure_effects(const Model& model, std::span<const EffectFact> facts,
                             const EffectOptions& options, const EffectContext& context = {},
                             const EffectProgress& progress = {});

}  // namespace engram
