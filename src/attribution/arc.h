#pragma once

// The variable in which exact nodes are placed and interpolated by the default rule.
//
// Scaling the neurons by t moves the FFN sum along a line, y(t) = rest + t * fed, and the layer
// norm behind it sees only the direction of that line's points (centred): an arc. What lies above
// is far smoother as a function of the arc's angle than of t, whose nearest singularity is where
// the centred line passes the origin in the complex plane. And the layer norm's own Jacobian along
// the arc is known in closed form. So the gradient behind the layer norm is interpolated in the
// angle from few exact nodes, and the Jacobian is integrated exactly: a product rule.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "attribution/quadrature.h"

namespace engram {

/// One (prompt, layer): k target rows, centred, moving together.
class Arc {
 public:
  /// rest, fed: [k * width]. `epsilon` is the layer norm's that the sum goes through at once;
  /// nothing: the family has none there, and the arc is the line itself, s = t.
  Arc(std::span<const float> rest, std::span<const float> fed, int64_t targets,
      std::optional<double> epsilon);

  /// t in [0, 1] of s in [0, 1], which is the angle's share of the arc; increasing, t(0)=0, t(1)=1.
  [[nodiscard]] double t(double s) const;
  /// The inverse of t(s).
  [[nodiscard]] double s(double t) const;
  /// dt/ds.
  [[nodiscard]] double slope(double s) const;

  /// The angle in radians by which a centred target row turns between t = 0 and t = 1; the largest.
  [[nodiscard]] double turn() const;

  /// The gradient at y(t) freed of the layer norm's scale: what is interpolated. `gradient` is
  /// dF/dy [k * width] at t; the result replaces it.
  void free_of_scale(double t, std::span<float> gradient) const;

  /// The integral over t in [0, 1] of dF/dy(t), [k * width], from freed gradients at nodes s.
  [[nodiscard]] std::vector<double> integrate(std::span<const double> s,
                                              std::span<const std::vector<float>> freed) const;
  /// The weighted sum of dF/dy over the nodes of a rule in t, [k * width], from the same.
  [[nodiscard]] std::vector<double> sum(const Quadrature& rule, std::span<const double> s,
                                        std::span<const std::vector<float>> freed) const;

 private:
  [[nodiscard]] double deviation(int64_t row, double t) const;  ///< sqrt(variance + epsilon)
  /// Sums dF/dy over points: in s, in t, and their weights.
  struct Points {
    std::vector<double> s, t, weight;
  };
  [[nodiscard]] std::vector<double> sum_points(const Points& points, std::span<const double> s,
                                               std::span<const std::vector<float>> freed) const;

  int64_t targets_;
  int64_t width_;
  std::optional<double> epsilon_;
  std::vector<double> rest_, fed_;                       ///< centred
  std::vector<double> rest2_, product_, fed2_;           ///< [k] inner products
  bool straight_ = false;                                ///< too short an arc to matter: s = t
  double foot_ = 0, height_ = 1, first_ = 0, last_ = 1;  ///< of the angle atan((t - foot) / height)
};

/// Nodes s of the arc rules, ascending, without s = 1, which every rule has for nothing.
/// Those of the Gauss-Lobatto rule with n+1 nodes: s = 0 and n-1 in between.
std::vector<double> arc_nodes(int64_t n);
/// Such nodes and as many more, those of their Kronrod extension. REQUIRES: `given` are arc_nodes
/// of at most 12, or an extension that is Gauss-Lobatto's too: of 1 or 2 nodes.
std::vector<double> extended_nodes(const std::vector<double>& given);

}  // namespace engram
