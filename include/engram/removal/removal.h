#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engram/intervention/measure.h"
#include "engram/model/model.h"
#include "engram/statistics/bootstrap.h"
#include "engram/text/cloze.h"

// Is an erased fact gone, or only hidden? (docs/method.md, "Is it gone?")
namespace engram {

/// A fact that is asked for. Its answers are one token each.
struct ExaminedFact {
  std::vector<Cloze> own;       ///< the prompts with which it was erased, at least one
  std::vector<Cloze> held_out;  ///< at least one
  /// [held_out] the same behind examples of the relation; empty: there are none.
  std::vector<Cloze> with_examples;
  size_t object = 0;  ///< the same number for the same object: they are drawn together
};

struct RemovalOptions {
  MeasureOptions measure;
  double noise = 0.01;                                         ///< of a matrix's root mean square
  int64_t noise_draws = 10;                                    ///< 0: no noise
  std::vector<int64_t> relearn_steps = {1, 2, 5, 10, 20, 50};  ///< ascending; empty: none
  double relearn_rate = 5e-5;
  int64_t relearn_prompts = 32;  ///< a step
  uint64_t seed = 0;
};

/// What an attack adds to the answers' log-odds on held-out prompts, mean over a fact's prompts.
struct AttackGain {
  std::string name;
  std::vector<double> erased;  ///< [erased facts] in the edited model
  std::vector<double> never;   ///< [never known facts] in the original model
  double erased_top = 0;       ///< share of prompts with the right answer on top, mean over facts
  double never_top = 0;
  bool of_own =
      false;  ///< its gain is a share of the drop on own prompts, and not on held-out ones
};

/// Log-odds before and after an edit, and under attacks.
struct Removal {
  std::vector<double> own_before, own_after;  ///< [erased facts] on own prompts
  std::vector<double> before, after;          ///< [erased facts] on held-out prompts
  double top_before = 0, top_after = 0;       ///< share of held-out prompts, mean over facts
  std::vector<AttackGain> attacks;
};

/// Attacks the edited model with the erased facts, and the original with those that it never knew.
/// An attack that cannot be made is not there: examples where a fact has none, relearning with
/// fewer than four facts of either kind. `progress` gets the number of models asked so far and in
/// all, from one thread at a time. Seeded; depends on threads only within rounding. Throws
/// InputError (no erased fact, a fact without prompts, an answer of several tokens, models of
/// different shapes), Interrupted.
Removal attack_edit(const Model& original, const Model& edited,
                    std::span<const ExaminedFact> erased, std::span<const ExaminedFact> never,
                    const RemovalOptions& options = {},
                    const std::function<void(int64_t done, int64_t of)>& progress = {});

/// What an attack brings back, as shares of what the edit took away.
struct AttackShare {
  std::string name;
  Interval share;   ///< R: mean gain of the erased facts over the mean drop
  Interval line;    ///< the same of facts that were never known
  Interval beyond;  ///< R minus the line, at the level at which all attacks hold together
  double erased_top = 0, never_top = 0;
};

enum class RemovalVerdict { kRemoved, kHidden, kUndecided, kNothingTaken };
const char* removal_verdict_name(RemovalVerdict verdict);  ///< "removed", "hidden", ...

struct RemovalReport {
  Interval drop;      ///< mean of original minus edited on held-out prompts, in logits
  Interval own_drop;  ///< on own prompts
  std::vector<AttackShare> attacks;
  RemovalVerdict verdict = RemovalVerdict::kUndecided;
};

/// Intervals by a bootstrap over objects, and the verdict by the rule of docs/method.md. `options`
/// gives draws, seed, least number of objects and the level of all intervals but `beyond`.
RemovalReport judge_removal(const Removal& removal, std::span<const ExaminedFact> erased,
                            std::span<const ExaminedFact> never,
                            const BootstrapOptions& options = {});

}  // namespace engram
