#pragma once

// The path t in [0, 1] of a (prompt, layer) whose gradient turns too fast for one rule.
//
// In pre-norm models the first layers write a stream that is small beside what their neurons add,
// so the norms above see it turn within the first hundredths of the path, and again further on.
// More nodes on the whole path miss that; halving the stretches on which the integral does not fit
// finds it. Every node gives F as well, so each stretch knows its own completeness gap.

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

namespace engram {

/// What is known at one node of the path.
struct PathNode {
  std::vector<float> gradient;  ///< [k * d_model] at the FFN sum
  double f = 0;                 ///< F there
};

/// Panels that cover [0, 1], with five equidistant nodes each (Boole's rule). Halves keep the nodes
/// of the whole, all of which are dyadic fractions.
class Panels {
 public:
  static constexpr double kLargestTurn = 1;  ///< radians by which the sum turns in a first panel

  /// The angle by which the sum turns between two t.
  using Turn = std::function<double(double from, double to)>;
  /// `fed` [k * d_model]: what the neurons add to the sum, whose product with the gradient is
  /// dF/dt. The first panels turn by kLargestTurn at most: a stretch on which F leaves and comes
  /// back shows in no gap unless nodes stand on it.
  Panels(std::vector<float> fed, const Turn& turn);

  /// The nodes t of all panels, ascending, ends of panels once.
  [[nodiscard]] std::vector<double> nodes() const;

  /// Sums the panels up. REQUIRES: `known` holds every one of nodes().
  void sum(const std::map<double, PathNode>& known);
  /// The integral of the gradient over t, [k * d_model].
  [[nodiscard]] const std::vector<double>& integral() const { return integral_; }
  /// The same by Simpson's rule on the same nodes.
  [[nodiscard]] const std::vector<double>& coarse() const { return coarse_; }
  /// The gaps of all panels, added up: at least that of the whole, and not small because two of
  /// them cancel.
  [[nodiscard]] double gap() const;

  /// Halves the panels with the largest gaps, at least one and so many that the gaps of the others
  /// add up to `allowed` at most, as far as `most` new nodes go; false: none.
  bool split(double allowed, int64_t most);

 private:
  struct Panel {
    double begin = 0;
    double end = 1;
    double gap = 0;
    [[nodiscard]] double node(int64_t i) const;
  };
  void cut(const Panel& panel, const Turn& turn);

  std::vector<float> fed_;
  std::vector<Panel> panels_;  ///< ascending
  std::vector<double> integral_, coarse_;
};

}  // namespace engram
