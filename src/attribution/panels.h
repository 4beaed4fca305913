#pragma once

// The path t in [0, 1] of a (prompt, layer) whose gradient turns too fast for one rule.
//
// In pre-norm models the first layers write a stream that is small beside what their neurons add,
// so the norms above see it turn within the first tenth of the path, and F leaves and comes back
// more than once on the rest. More nodes on the whole path are spent where nothing happens; a
// panel is halved where the integral does not fit. Every node gives F as well, so each panel knows
// its own completeness gap.

#include <cstdint>
#include <map>
#include <vector>

#include "arc.h"

namespace engram {

/// What is known at one node of the path.
struct PathNode {
  std::vector<float> gradient;  ///< [k * d_model] at the FFN sum
  double f = 0;                 ///< F there
};

/// Panels that cover [0, 1], with nodes at their ends only. On each the gradient is the polynomial
/// through the six nodes around it, in the variable of `path`.
class Panels {
 public:
  /// `path` is the arc that the sum turns on. `fed` [k * d_model]: what the neurons add to the sum,
  /// whose product with the gradient is dF/dt. The first panels end at the t of `known`, 0 and 1
  /// among them, and are halved until the sum turns by kLargestTurn at most on each: where F leaves
  /// and comes back shows in no gap unless nodes stand there.
  Panels(Arc path, std::vector<float> fed, const std::vector<double>& known);

  /// The nodes t of all panels, ascending.
  [[nodiscard]] const std::vector<double>& nodes() const { return t_; }

  /// Sums the panels up. REQUIRES: `known` holds every one of nodes().
  void sum(const std::map<double, PathNode>& known);
  /// The integral of the gradient over t, [k * d_model].
  [[nodiscard]] const std::vector<double>& integral() const { return integral_; }
  /// The same by the four nodes around each panel.
  [[nodiscard]] const std::vector<double>& coarse() const { return coarse_; }

  /// The panels' gaps added up, as a share of how far F goes up and down along the path. The gap of
  /// the whole may be small because two of theirs cancel.
  [[nodiscard]] double misfit() const;

  /// Halves the panels with the largest gaps, kHalvedAtOnce and no more than `most`; false: none.
  /// REQUIRES: sum() since the last split.
  bool split(int64_t most);

  static constexpr double kLargestTurn = 0.25;   ///< radians on a first panel
  static constexpr double kLongestPanel = 0.25;  ///< of the arc, where it does not turn
  static constexpr int64_t kHalvedAtOnce = 2;

 private:
  /// Adds the weights of the nodes for the integral over panel i of the polynomial through `order`
  /// nodes around it.
  void add_weights(int64_t i, int64_t order, std::vector<double>& weights) const;

  Arc path_;
  std::vector<float> fed_;
  std::vector<double> s_;    ///< the nodes on the arc
  std::vector<double> t_;    ///< and on the path
  std::vector<double> gap_;  ///< of each panel
  double way_ = 0;           ///< sum over the panels of |F(end) - F(begin)|
  std::vector<double> integral_, coarse_;
};

}  // namespace engram
