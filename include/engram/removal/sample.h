#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engram/intervention/measure.h"
#include "engram/model/model.h"
#include "engram/removal/removal.h"
#include "engram/text/facts.h"
#include "engram/text/tokenizer.h"

namespace engram {

struct RemovalSampleOptions {
  std::string relation;         ///< that was erased
  std::string subject, object;  ///< of an edit of one fact; empty: the whole relation
  int64_t per_relation = 150;   ///< facts to screen, a seeded choice
  int64_t known = 60;           ///< erased facts to examine, at most
  int64_t never = 60;           ///< never known ones, at most
  uint64_t seed = 0;
  MeasureOptions measure;
};

struct RemovalSample {
  std::vector<ExaminedFact> erased, never;
};

/// The facts that an edit is examined with (docs/method.md, "Is it gone?"): of the relation those
/// with at least three prompts that locate, a held-out one, an answer of one token and a subject
/// that does not hold it. Erased: the original `model` gives the answer on at least half of the
/// prompts, or it is the one fact of the edit. Never known: it gives it on none. Examples are four
/// seeded known facts of other subjects and objects, written out before the prompt. `source` is
/// what the facts come from, for messages. Throws InputError: no such relation or fact, or none
/// that can be examined; Interrupted.
RemovalSample sample_for_removal(const Model& model, const Tokenizer& tokenizer,
                                 std::vector<Fact> facts, const std::string& source,
                                 const RemovalSampleOptions& options);

}  // namespace engram
