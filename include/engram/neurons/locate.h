#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engram/attribution/attribution.h"
#include "engram/model/model.h"
#include "engram/neurons/selection.h"
#include "engram/statistics/neuron_sets.h"
#include "engram/text/facts.h"
#include "engram/text/prompt.h"
#include "engram/text/tokenizer.h"

namespace engram {

/// One of the prompts on which a fact's neurons were located.
struct LocatedPrompt {
  std::string prompt;
  double p = 0;           ///< of the answer (exp of the mean log P for several tokens)
  float largest = 0;      ///< the largest score
  int64_t neurons = 0;    ///< that passed; 0 too when the largest score is not positive
  bool converged = true;  ///< all layers met the tolerance
  int64_t row = 0;        ///< of the prompt among all prompts of the run
};

/// A fact with its knowledge neurons.
struct LocatedFact {
  std::string relation, subject, object, origin;
  int64_t answer_tokens = 1;
  std::vector<LocatedPrompt> prompts;
  std::vector<std::string> held_out;     ///< prompts that were not looked at
  std::vector<CountedNeuron> neurons;    ///< by id
  bool refined = true;                   ///< false: fewer prompts than min_bag, `neurons` is empty
  std::vector<CountedNeuron> unrefined;  ///< then: every neuron that passed a prompt
  std::vector<NeuronId> near = {};       ///< in the set or not by a hair (RelationSelection::near)
  std::string uuid = {};                 ///< as Fact::uuid
};

/// A relation whose facts are all done.
struct LocatedRelation {
  std::string relation;
  int64_t facts = 0;
  int64_t prompts = 0;
  int64_t held_out = 0;
  int64_t negative = 0;         ///< prompts whose largest score is not positive
  int64_t unconverged = 0;      ///< prompts that missed the tolerance
  int64_t empty = 0;            ///< facts without neurons, the unrefined ones included
  double p = 0;                 ///< mean over all prompts
  RelationSelection selection;  ///< its lists of neurons are moved into the facts
  RelationNeurons neurons;
};

struct LocateOptions {
  AttributionOptions attribution;
  SelectionOptions selection;
  NeuronPlace neurons_at = NeuronPlace::kAnswer;  ///< which of a prompt's neurons are scored
  bool strict = false;                            ///< throw at the first fact that cannot be used
  int64_t relation_neurons = 20;                  ///< most frequent ones per relation
  double common_share = 0.1;                      ///< of the facts, for the common ones
};

/// Where results go. Everything is called from the calling thread but `on_scores`.
struct LocateSink {
  /// A relation with its facts, in the order of the fact set.
  std::function<void(LocatedRelation&&, std::vector<LocatedFact>&&)> on_relation;
  /// Optional: all scores [layers, d_ff] of the prompt `row`; never two calls at a time.
  std::function<void(int64_t row, const at::Tensor& scores)> on_scores;
  /// Optional: so many more prompts are done.
  std::function<void(int64_t)> on_progress;
};

/// What a run has done.
struct LocateSummary {
  int64_t facts = 0;
  int64_t prompts = 0;
  int64_t several_tokens = 0;  ///< facts whose answer has several tokens: mean log P is attributed
  std::vector<FactProblem> problems;  ///< facts that could not be used
  NeuronStatistics statistics;
};

/// Locates the knowledge neurons of `facts`: attribution, selection per relation, statistics. Facts
/// are worked on in their order, relation by relation; of the scores only the neurons that pass are
/// kept, so memory grows with the facts and not with the model. Throws InputError when no fact can
/// be used, or at the first one with `strict`; UsageError; Interrupted.
LocateSummary locate(const Model& model, const Tokenizer& tokenizer, std::span<const Fact> facts,
                     const LocateOptions& options, const LocateSink& sink);

}  // namespace engram
