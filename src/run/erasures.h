#pragma once

// What erasing a relation and erasing unions of other relations share.

#include <bitset>
#include <cstdint>
#include <string>
#include <vector>

#include "edit/answers.h"
#include "engram/intervention/effects.h"
#include "experiments/erase/rows.h"
#include "run/scopes.h"

namespace engram {

enum EraseScope : size_t { kEraseOwn, kEraseHeldOut, kEraseOther, kEraseText, kEraseScopes };

/// How many prompts of each scope are looked at.
struct ErasePrompts {
  uint64_t own = 0;
  uint64_t held_out = 0;
  uint64_t other = 0;
  uint64_t text = 0;
};

/// Answers of some prompts added up.
struct AnswerSums {
  double log_p = 0, p = 0, log_rank = 0, log_odds = 0;
  int64_t top = 0;
  void add(const Answered& answered);
};

/// An erasure that is measured.
struct Erasure {
  std::string source;
  int64_t draw = 0;
  std::string mode;
  int64_t neurons = 0;
  OutputEdit edit;
  std::bitset<kEraseScopes> scopes;  ///< whose prompts it is measured on
};

/// How many prompts of each scope there are for a relation: at most those, `text` of
/// options.text_positions.
ErasePrompts erase_prompts(const RunContext& run, std::string_view relation, ErasePrompts most);
/// Operations of an erasure on the prompts of a scope.
double erase_flops(const RunContext& run, const ErasePrompts& prompts, EraseScope scope);

/// Seeded samples of a relation's prompts and of others, and erasures measured on them.
class EraseMeasurement {
 public:
  EraseMeasurement(const RunContext& run, std::string_view relation, RunText& text,
                   const ErasePrompts& prompts);
  void add(Erasure erasure) { erasures_.push_back(std::move(erasure)); }
  std::vector<experiments::erase::EraseRow> rows();
  /// The prompts of a scope.
  [[nodiscard]] std::vector<Cloze> clozes(EraseScope scope) const;

 private:
  const RunContext& run_;
  std::string relation_;
  ClozeList clozes_;
  std::vector<uint32_t> scopes_[kEraseScopes];
  std::vector<FactGroup> groups_[kEraseScopes];  ///< of their facts; of own and held-out prompts
  std::vector<Erasure> erasures_;
};

}  // namespace engram
