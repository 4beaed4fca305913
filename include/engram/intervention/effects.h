#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "engram/intervention/intervention.h"
#include "engram/intervention/measure.h"
#include "engram/model/model.h"
#include "engram/neurons/matched.h"
#include "engram/statistics/effect_report.h"

namespace engram {

/// A fact whose neurons are changed, or that only shows side effects.
struct EffectFact {
  std::string relation, subject, object;
  std::vector<Cloze> prompts;  ///< on which the neurons were located; at least one
  std::vector<Cloze> held_out;
  bool evaluated = true;          ///< false: only a witness of other facts' side effects
  std::vector<NeuronId> neurons;  ///< each once; may be empty
};

static_assert(kRandomSources == kMatchStrengths.size() && kMatchedBy == kCovariates);

struct EffectOptions {
  Intervention intervention;
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

/// Called with the number of trials done and of all trials.
using EffectProgress = std::function<void(int64_t done, int64_t total)>;

/// Changes every evaluated fact's neurons, and matched random ones, and measures the effect on
/// its own prompts, its held-out prompts, one prompt each of a seeded sample of other facts, and a
/// seeded sample of the text.
/// Facts whose subject holds the object must be left out by the caller. Throws InputError (nothing
/// to evaluate, a neuron that does not exist, no other fact for a reference, an output that is not
/// finite), UsageError, Interrupted.
EffectReport measure_effects(const Model& model, std::span<const EffectFact> facts,
                             const EffectOptions& options, const EffectContext& context = {},
                             const EffectProgress& progress = {});

}  // namespace engram
