#pragma once

#include "engram/statistics/bootstrap.h"

namespace engram {

/// What an interval says of a hypothesis about a bound (docs/method.md, "The audit").
enum class Decision {
  kSupported,  ///< the whole interval lies on the hypothesis' side
  kRefuted,    ///< the whole interval lies on the other side
  kUndecided,  ///< neither, or there is no interval
};
const char* decision_name(Decision decision);  ///< "supported", "refuted", "undecided"

/// That the value lies within -bound and bound.
Decision decide_within(const Interval& interval, double bound);
/// That it is at least `bound`.
Decision decide_at_least(const Interval& interval, double bound);
/// That it is below `bound`.
Decision decide_below(const Interval& interval, double bound);
/// That both hold: refuted where one of them is, supported where both are.
Decision decide_both(Decision a, Decision b);

}  // namespace engram
