#pragma once

// The table that every experiment of the audit begins with.

#include <span>
#include <string>

#include "engram/report/tables.h"
#include "statistics/decision.h"

namespace engram {

/// A hypothesis with what was found, and the sentences that were fixed before.
struct Hypothesis {
  std::string text;
  Interval figure;
  Decision decision = Decision::kUndecided;
  std::string if_supported, if_refuted;
};

/// One row each: hypothesis, figure, decision, and the sentence that follows.
ReportTable hypothesis_table(std::string id, std::string title, std::string meaning,
                             std::span<const Hypothesis> hypotheses);

}  // namespace engram
