#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "engram/edit/values.h"
#include "engram/intervention/measure.h"
#include "engram/model/model.h"

namespace engram {

/// An edit as what it adds to the FFN's outputs, at every position of a prompt: the change of some
/// value vectors times the neurons' activations, and constant vectors.
struct OutputEdit {
  std::vector<NeuronId> neurons;  ///< each once
  at::Tensor change;  ///< [neurons, d_model] float32, CPU: new minus old value vectors; undefined
                      ///< without neurons
  /// Constants by layer, each layer once: [d_model] float32, CPU, added to the FFN's output bias.
  std::vector<std::pair<int64_t, at::Tensor>> constants;
};

/// The same edit as `edit` of the value vectors. Throws as value_vectors().
OutputEdit output_edit(const Model& model, const ValueEdit& edit);

constexpr uint32_t kNoIndex = UINT32_MAX;

/// A prompt under an edit, with a second answer to look at.
struct EditTrial {
  uint32_t cloze = 0;         ///< index of the prompt
  uint32_t edit = kNoIndex;   ///< index of the edit; kNoIndex: none, `after` is what was before
  uint32_t other = kNoIndex;  ///< index of the other answer; kNoIndex: none
};

/// What measure_edits() found. An answer that was not asked for, or that has another number of
/// tokens than the prompt has masks, has log_p and p NaN and rank 0.
struct EditMeasured {
  std::vector<Answered> before;        ///< [clozes] the prompts' own answers without any edit
  std::vector<int64_t> top;            ///< [clozes] the top token at the first mask without edit
  std::vector<Answered> after;         ///< [trials] the prompts' own answers under the edit
  std::vector<Answered> other_before;  ///< [trials] the other answers
  std::vector<Answered> other_after;   ///< [trials]
};

/// Runs every prompt once as it is and every trial: the numbers of with_values(), without a copy of
/// the model. What stands below the lowest edited layer, that layer's activations included, is
/// computed once per prompt; prompts of equal length share batches whatever their edits. Batches
/// are cut from `clozes` and `trials` alone: the same lists give the same bits whatever `options`
/// say. Throws InputError (a prompt, neuron or layer that the model does not have), Interrupted.
EditMeasured measure_edits(const Model& model, std::span<const Cloze> clozes,
                           std::span<const OutputEdit> edits,
                           std::span<const std::vector<int64_t>> others,
                           std::span<const EditTrial> trials, const MeasureOptions& options = {});

}  // namespace engram
