#include "statistics/decision.h"

#include <cmath>

namespace engram {
namespace {

bool has_bounds(const Interval& interval) {
  return std::isfinite(interval.low) && std::isfinite(interval.high);
}

Decision decided(bool supported, bool refuted) {
  if (supported) return Decision::kSupported;
  return refuted ? Decision::kRefuted : Decision::kUndecided;
}

}  // namespace

const char* decision_name(Decision decision) {
  switch (decision) {
    case Decision::kSupported:
      return "supported";
    case Decision::kRefuted:
      return "refuted";
    case Decision::kUndecided:
      break;
  }
  return "undecided";
}

Decision decide_within(const Interval& interval, double bound) {
  if (!has_bounds(interval)) return Decision::kUndecided;
  return decided(interval.low >= -bound && interval.high <= bound,
                 interval.low > bound || interval.high < -bound);
}

Decision decide_at_least(const Interval& interval, double bound) {
  if (!has_bounds(interval)) return Decision::kUndecided;
  return decided(interval.low >= bound, interval.high < bound);
}

Decision decide_below(const Interval& interval, double bound) {
  if (!has_bounds(interval)) return Decision::kUndecided;
  return decided(interval.high < bound, interval.low >= bound);
}

Decision decide_both(Decision a, Decision b) {
  return decided(a == Decision::kSupported && b == Decision::kSupported,
                 a == Decision::kRefuted || b == Decision::kRefuted);
}

}  // namespace engram
