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
  std::vector<Probe> prompts;  ///< on which the neurons were located; at least one
  std::vector<Probe> held_out;
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

/// Which neurons are manipulated: the located ones, or random ones of a MatchStrength.
constexpr size_t kSources = 4;
const char* source_name(size_t source);  ///< "located", "random-layer", ...

/// What is estimated (METHOD section 4), each as a change from before to after.
enum class Metric {
  kRatioOfMeans,  ///< sum of P after / before over a relation's prompts - 1, mean over relations
                  ///< without weights, empty sets included
  kMeanOfRatios,  ///< P after / before - 1 over a fact's known prompts, mean over facts with some
  kLogP,          ///< change of log P, mean over a fact's prompts, then over facts
  kAccuracy,      ///< change of the share of prompts whose answer is the top one, likewise
  kLogRank,       ///< change of the natural logarithm of the answer's rank, likewise
};
constexpr size_t kMetrics = 5;
const char* metric_name(Metric metric);

struct EffectOptions {
  Manipulation manipulation;
  int64_t draws = 20;          ///< random sets per fact and strength, on own and held-out prompts
  int64_t side_draws = 1;      ///< the same on the prompts of other facts; at most `draws`
  int64_t same_relation = 20;  ///< other facts of the relation per fact
  int64_t other_relations = 100;  ///< facts of other relations per fact
  int64_t sentences = 20;         ///< of the text per fact
  double known_p = 0.1;           ///< a prompt is known before when its P is at least this
  int64_t known_rank = 1;         ///< and the answer's rank at most this
  int64_t reference = 256;        ///< prompts of the reference of mean and resample, at most
  BootstrapOptions bootstrap;
  uint64_t seed = 0;
  MeasureOptions measure;
};

/// What an evaluation needs beside its facts.
struct EffectContext {
  /// Neurons that were located for any fact, also for facts that are not here: no random set holds
  /// one of them. Those of the facts themselves need not be named.
  std::unordered_set<NeuronId> located;
  std::vector<Probe> text;  ///< sentences of ordinary text with a masked word; empty: no kText
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
  int64_t facts = 0;      ///< manipulated facts with a prompt in the scope
  int64_t prompts = 0;    ///< pairs of a manipulated fact and a prompt
  int64_t known = 0;      ///< manipulated facts with a known prompt in the scope
  int64_t relations = 0;  ///< over which the ratio of means is averaged
  struct State {
    double p = 0;
    double log_p = 0;
    double accuracy = 0;
    double rank = 0;  ///< geometric mean
  };
  State before;
  std::array<State, kSources> after;
  std::array<std::array<Interval, kMetrics>, kSources> change;
  /// Located minus random, by strength: same draws of the bootstrap for both.
  std::array<std::array<Interval, kMetrics>, kSources - 1> difference;
  /// Own and held-out prompts: random draws (of the whole set of facts) whose ratio of means moves
  /// at least as far in the same direction as that of the located neurons; -1 elsewhere, and where
  /// the located neurons change nothing, which has no direction.
  std::array<int64_t, kSources - 1> draws_as_strong = {-1, -1, -1};
};

/// One relation's ratios of means, for the scopes own and held-out.
struct RelationEffect {
  std::string relation;
  int64_t facts = 0;
  int64_t empty = 0;
  std::array<double, kSources> own{};  ///< P after / before - 1; NaN where there is no prompt
  std::array<double, kSources> held_out{};
};

struct EffectReport {
  std::vector<EffectRow> rows;  ///< one per Scope, in its order; kText only where there is text
  std::vector<RelationEffect> relations;         ///< by first appearance
  int64_t facts = 0;                             ///< manipulated
  int64_t empty = 0;                             ///< of them without neurons
  int64_t witnesses = 0;                         ///< facts that could show side effects
  int64_t reference = 0;                         ///< prompts behind mean and resample
  std::array<int64_t, kSources - 1> weakened{};  ///< located neurons matched more weakly
  std::array<int64_t, kSources - 1> missing{};   ///< located neurons without any match
  int64_t trials = 0;                            ///< changed forward passes
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
