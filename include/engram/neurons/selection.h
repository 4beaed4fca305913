#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engram/attribution/score.h"
#include "engram/neuron.h"

namespace engram {

/// From scores to knowledge neurons (METHOD section 3). A neuron passes a prompt when its score is
/// at least `ratio` times the prompt's largest score, and belongs to the fact when it passes enough
/// of the fact's prompts.
struct SelectionOptions {
  double ratio = 0.2;        ///< of the prompt's largest score; > 0
  bool above_ratio = false;  ///< strictly above it
  double share = 0.7;        ///< p: share of the fact's prompts
  bool above_share = false;  ///< in strictly more than share * prompts
  int64_t min_prompts = 3;   ///< and in at least so many prompts
  int64_t min_bag = 3;       ///< facts with fewer prompts are not refined
  bool adapt = true;         ///< move `share` per relation until the mean number fits
  double step = 0.05;        ///< by which `share` moves
  double fewest = 2.0;       ///< wanted mean number of neurons per fact, from
  double most = 5.0;         ///< to
  int64_t passes = 6;        ///< selections per relation; one less are moves of `share`
};

/// The rules of "dai2022" (the paper and its code), "eleuther" (EleutherAI's replication) or
/// "eleuther-pararel" (as that project's published neurons were made). The paper's activation
/// baseline takes another ratio, 0.5, so the score counts. Throws UsageError.
SelectionOptions selection_preset(std::string_view name, Score score);
/// Throws UsageError that names the invalid option.
void check_selection(const SelectionOptions& options);

/// A neuron with its score on one prompt.
struct ScoredNeuron {
  NeuronId id;
  float score = 0;
};

/// Scores within this share of the prompt's largest one from the threshold are near it: another
/// rounding or quadrature can put them on its other side.
inline constexpr double kNearThreshold = 1e-3;

/// What is kept of one prompt's scores.
struct PromptNeurons {
  float largest = 0;                    ///< the largest score
  std::vector<ScoredNeuron> neurons;    ///< those that pass, by id
  std::vector<ScoredNeuron> near = {};  ///< those near the threshold, passing or not, by id
};

/// The neurons of `scores` [layers, d_ff] (float32, CPU, finite) that pass; none when the largest
/// score is negative or zero. Throws InputError on a score that is not finite.
PromptNeurons passing_neurons(const at::Tensor& scores, const SelectionOptions& options);

/// A neuron of a bag of prompts.
struct CountedNeuron {
  NeuronId id;
  int32_t prompts = 0;  ///< in which it passed
  float score = 0;      ///< mean over those
};

/// A neuron that is near the threshold on some prompts of a bag: it passes from `fewest` to `most`
/// prompts, as those fall.
struct NearNeuron {
  NeuronId id;
  int32_t fewest = 0;
  int32_t most = 0;
};

/// The prompts of one fact, added up.
struct Bag {
  int64_t prompts = 0;
  std::vector<CountedNeuron> neurons;  ///< that passed at least one prompt, by id
  std::vector<NearNeuron> near = {};   ///< by id
};
Bag make_bag(std::span<const PromptNeurons> prompts);

/// The neurons of one relation's facts.
struct RelationSelection {
  double share = 0;    ///< p of the pass that stands
  int64_t passes = 0;  ///< selections made
  double mean = 0;     ///< neurons per fact of that pass, over all facts
  bool within = true;  ///< the mean lies in the wanted range (true without adaptation)
  std::vector<std::vector<CountedNeuron>> neurons;  ///< per bag, by id
  /// Per bag with fewer prompts than min_bag, where no refinement is possible: every neuron that
  /// passed a prompt, with the number of prompts. `neurons` is empty there.
  std::vector<std::vector<CountedNeuron>> unrefined;
  int64_t too_few = 0;  ///< such bags
  /// Per bag, by id: neurons that are in its set or not as scores near the threshold fall, whatever
  /// the prompts that are not near say.
  std::vector<std::vector<NeuronId>> near = {};
};
RelationSelection select_neurons(std::span<const Bag> bags, const SelectionOptions& options);

}  // namespace engram
