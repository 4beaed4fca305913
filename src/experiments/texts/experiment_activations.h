#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engram/intervention/measure.h"
#include "engram/model/model.h"
#include "engram/neuron.h"
#include "engram/text/tokenizer.h"
#include "experiments/texts/experiment_source.h"

namespace engram::experiments::texts {

/// What became of a fact's texts of one kind under one mask.
struct TextCount {
  TextKind kind = TextKind::kBoth;
  TextMask mask = TextMask::kReleased;
  int64_t texts = 0;     ///< used
  int64_t too_long = 0;  ///< more tokens than the model takes
  int64_t unfit = 0;     ///< no word to mask, or not what the kind promises
};

/// A fact's masked texts as token ids: clozes of one count stand together, in the order of counts.
struct TextClozes {
  std::vector<TextCount> counts;
  std::vector<Cloze> clozes;
  /// By cloze: its answer is the object, whatever word is masked. Not so where the object has more
  /// tokens than the text has masks.
  std::vector<bool> asked;
};

/// Masks and encodes. An object of several tokens gets as many masks where it is masked itself;
/// every other word gets one. `only_released`: no mask but TextMask::kReleased.
TextClozes text_clozes(const FactTexts& texts, std::span<const std::string> names,
                       const Tokenizer& tokenizer, const ModelConfig& config, uint64_t seed,
                       bool only_released = false);

/// Activation of neuron sets at the masks: sums[fact][set][count] adds up, over the texts of a
/// count, the mean over the set's neurons; NaN for an empty set. `sets[fact]` are the sets of that
/// fact. Batches are cut from the lists alone: the result depends neither on threads nor on memory.
/// Throws as measure().
using ActivationSums = std::vector<std::vector<std::vector<double>>>;

/// Sums over those texts of a count that ask for the object, with which the activation y of a set
/// is regressed on the object's log-odds x at the mask.
struct OddsSums {
  int64_t texts = 0;
  double x = 0, y = 0, xx = 0, xy = 0;
};

struct TextActivations {
  ActivationSums sums;
  std::vector<std::vector<std::vector<OddsSums>>> odds;  ///< [fact][set][count]
};
TextActivations text_activations(const Model& model, std::span<const TextClozes> facts,
                                 std::span<const std::vector<std::vector<NeuronId>>> sets,
                                 const MeasureOptions& options = {});

}  // namespace engram::experiments::texts
