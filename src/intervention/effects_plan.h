#pragma once

// Which sets of neurons are changed and on which prompts: everything about an evaluation that
// is chosen before the model runs.

#include <array>
#include <cstdint>
#include <span>
#include <unordered_set>
#include <vector>

#include "engram/intervention/effects.h"

namespace engram {

constexpr uint32_t kNoFact = UINT32_MAX;

/// A prompt of a fact or a sentence of the text, and what is tried on it.
struct EffectItem {
  uint32_t fact = 0;  ///< whose prompt it is; kNoFact: a sentence
  const Cloze* cloze = nullptr;
  struct Job {
    uint32_t fact = 0;  ///< whose neurons are changed
    Scope scope = Scope::kOwn;
  };
  std::vector<Job> jobs;
};

/// All prompts with their jobs, ordered so that prompts of equal length stand together.
/// `facts` and `text` must outlive them.
std::vector<EffectItem> plan_items(std::span<const EffectFact> facts, std::span<const Cloze> text,
                                   const EffectOptions& options);

/// What one fact's located neurons are compared with, by source - 1.
struct ControlSets {
  std::array<std::vector<std::vector<NeuronId>>, kControls> sets;
  std::array<SetMatch, kControls> match;
};

/// The controls of all facts; none for facts that are not treated or have no neurons. Random
/// sets and the next neurons are without those of any fact, and without context.located.
std::vector<ControlSets> plan_controls(const Model& model, std::span<const EffectFact> facts,
                                       const EffectContext& context, const EffectOptions& options);

/// The values that mean and resample set neurons to.
class ReferenceValues {
 public:
  /// `rows` [prompts, layers, d_ff] as given to measure_effects(), or undefined: then activations
  /// on prompts of a sample of the facts are taken.
  ReferenceValues(const Model& model, std::span<const EffectFact> facts,
                  const EffectOptions& options, const at::Tensor& rows);
  /// [layers, d_ff] for a fact's neurons; undefined where the intervention needs none.
  [[nodiscard]] at::Tensor of(size_t fact) const;
  [[nodiscard]] int64_t prompts() const { return rows_.defined() ? rows_.size(0) : 0; }

 private:
  InterventionKind kind_;
  at::Tensor rows_;               ///< [prompts, layers, d_ff]
  at::Tensor mean_;               ///< [layers, d_ff] over all rows
  std::vector<int64_t> own_row_;  ///< per fact: its row among the reference, -1: none
  std::vector<int64_t> donor_;    ///< per fact: the row that resample takes
  at::Tensor without_own_;        ///< [prompts, layers, d_ff] mean over all other rows
};

/// Seed of a fact's random choices: the same whatever else is in the fact set.
uint64_t fact_seed(const EffectFact& fact, uint64_t seed);

}  // namespace engram
