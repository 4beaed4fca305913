#pragma once

#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "engram/report/tables.h"

namespace engram {

/// What the verdict is made from; changes are of the answer's log-odds. NaN: not measured, and
/// without an interval: there were too few objects for one.
struct VerdictInput {
  static constexpr Interval kNone = {std::numeric_limits<double>::quiet_NaN(),
                                     std::numeric_limits<double>::quiet_NaN(),
                                     std::numeric_limits<double>::quiet_NaN()};
  struct Control {
    std::string name;
    Interval difference;  ///< located minus control
  };
  struct Effect {
    Interval change = kNone;        ///< of the located neurons
    std::vector<Control> controls;  ///< matched neurons, and the next ones
    Interval other_set = kNone;     ///< located minus another fact's neurons
  };
  Effect own, held_out;
  Interval other_facts = kNone;   ///< change on other facts of the relation
  Interval known = kNone;         ///< on own prompts of facts that the model knows
  Interval never = kNone;         ///< and of those that it never gives
  Interval update_rate = kNone;   ///< success on held-out prompts
  std::optional<Control> update;  ///< against random neurons that write as much
};

/// Taken from the tables of the report.
VerdictInput verdict_input(const RunReport& report);
/// Located neurons and their controls on own and held-out prompts; no series: not measured.
Chart forest_chart(const RunReport& report);

/// Six lines, each by the rules of docs/method.md ("The report's verdict").
std::vector<VerdictLine> verdict(const VerdictInput& input);

}  // namespace engram
