#pragma once

#include <ATen/ATen.h>

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "engram/attribution/attribution.h"
#include "engram/model/model.h"
#include "engram/text/cloze.h"

namespace engram {

/// Gives scores per neuron for bags, each all the prompts of one fact, by the score that its
/// options name. Locating, sizes and edits go through it, so they take every entry of
/// score_methods(). The model must outlive it; any thread may use it, one call at a time.
class Scorer {
 public:
  Scorer(const Model& model, AttributionOptions options);

  /// Called once per prompt, in any order, from any worker but never twice at a time.
  using PromptSink = std::function<void(size_t bag, size_t prompt, Attribution&& attribution)>;
  /// Every prompt by itself: what a selection needs that counts prompts (METHOD section 3). Memory
  /// is bounded as in attribute(), whose errors it throws.
  void prompts(std::span<const std::vector<Cloze>> bags, const PromptSink& sink) const;

  /// Scores of each bag, in the order of the bags: [layers, d_ff] float32, CPU, the mean over its
  /// prompts, added up in their order. Keeps the scores of all prompts until the end. REQUIRES: no
  /// bag is empty.
  [[nodiscard]] std::vector<at::Tensor> bags(std::span<const std::vector<Cloze>> bags) const;

 private:
  const Model& model_;
  AttributionOptions options_;
};

}  // namespace engram
