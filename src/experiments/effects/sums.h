#pragma once

// Sums of effects as rows, and rows as sums: what was measured is what is read.

#include "experiments/effects/rows.h"
#include "statistics/effect_sums.h"

namespace engram::experiments::effects {

/// The sums of one source; the columns that say what they are of stay empty, and so do `pairs`.
inline EffectSumsRow sums_row(const Sums& sums, size_t source) {
  const Sums::Change& change = sums.change[source];
  EffectSumsRow row;
  row.prompts = static_cast<int64_t>(sums.prompts);
  row.log_odds = sums.log_odds;
  row.p = sums.p;
  row.log_p = sums.log_p;
  row.top = sums.top;
  row.log_rank = sums.log_rank;
  row.known = static_cast<int64_t>(sums.known);
  row.known_p = sums.known_p;
  row.change_log_odds = change.log_odds;
  row.change_p = change.p;
  row.change_log_p = change.log_p;
  row.change_top = change.top;
  row.change_log_rank = change.log_rank;
  row.change_known_p = change.known_p;
  return row;
}

/// Reads them back, into sums that other sources may have begun. Throws InputError for `pairs` that
/// do not fit those.
inline void read_sums_row(const EffectSumsRow& row, size_t source, Sums& to) {
  to.prompts = static_cast<double>(row.prompts);
  to.log_odds = row.log_odds;
  to.p = row.p;
  to.log_p = row.log_p;
  to.top = row.top;
  to.log_rank = row.log_rank;
  to.known = static_cast<double>(row.known);
  to.known_p = row.known_p;
  to.change[source] = {row.change_log_odds, row.change_p,       row.change_log_p, row.change_top,
                       row.change_log_rank, row.change_known_p, to.prompts};
  if (row.pairs) read_pair_bytes(*row.pairs, source, to.pairs);
}

/// How a set stands beside the located one; of which fact and intervention stays empty.
inline EffectSetRow match_row(const SetMatch& match) {
  EffectSetRow row;
  row.sets = static_cast<int64_t>(match.sets);
  row.neurons = match.neurons;
  row.overlap = match.overlap;
  row.missing = static_cast<int64_t>(match.missing);
  row.difference_activation = match.difference[0];
  row.difference_value = match.difference[1];
  row.difference_product = match.difference[2];
  return row;
}

inline SetMatch match_of(const EffectSetRow& row) {
  return {static_cast<double>(row.sets),
          row.neurons,
          row.overlap,
          static_cast<double>(row.missing),
          {row.difference_activation, row.difference_value, row.difference_product}};
}

}  // namespace engram::experiments::effects
