#include "attribution/quadrature.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "engram/error.h"

namespace engram {
namespace {

struct Legendre {
  double value;     ///< P_n(x)
  double previous;  ///< P_{n-1}(x)
  double slope;     ///< P_n'(x), for |x| < 1
};

Legendre legendre(int64_t n, double x) {
  double previous = 0;
  double value = 1;
  for (int64_t j = 1; j <= n; ++j) {
    const double next =
        ((2.0 * static_cast<double>(j) - 1) * x * value - (static_cast<double>(j) - 1) * previous) /
        static_cast<double>(j);
    previous = value;
    value = next;
  }
  const double slope = static_cast<double>(n) * (previous - x * value) / (1 - x * x);
  return {value, previous, slope};
}

/// Newton's iteration; `step(x)` gives f/f'.
template <typename Step>
double root(double guess, const Step& step) {
  double x = guess;
  for (int iteration = 0; iteration < 100; ++iteration) {
    const double change = step(x);
    x -= change;
    if (std::fabs(change) < 1e-15) break;
  }
  return x;
}

/// From [-1, 1] to [0, 1], ascending.
Quadrature to_unit(std::vector<std::pair<double, double>> points) {
  std::sort(points.begin(), points.end());
  Quadrature rule;
  for (const auto& [x, weight] : points) {
    rule.nodes.push_back(0.5 * (1 + x));
    rule.weights.push_back(0.5 * weight);
  }
  return rule;
}

// Initial guesses below are the leading asymptotic zeros of the Jacobi polynomials that the
// interior nodes are roots of.

Quadrature gauss_legendre(int64_t n) {
  std::vector<std::pair<double, double>> points;
  const auto size = static_cast<double>(n);
  for (int64_t k = 1; k <= n; ++k) {
    const double guess =
        std::cos(std::numbers::pi * (static_cast<double>(k) - 0.25) / (size + 0.5));
    const double x = root(guess, [n](double at) {
      const Legendre p = legendre(n, at);
      return p.value / p.slope;
    });
    const double slope = legendre(n, x).slope;
    points.emplace_back(x, 2 / ((1 - x * x) * slope * slope));
  }
  return to_unit(std::move(points));
}

Quadrature gauss_radau_right(int64_t n) {
  // Left Radau nodes: -1 and the other roots of P_{n-1} + P_n; mirrored to put the fixed one at 1.
  const auto size = static_cast<double>(n);
  std::vector<std::pair<double, double>> points{{1.0, 2 / (size * size)}};
  for (int64_t k = 1; k < n; ++k) {
    const double guess = std::cos(std::numbers::pi * (static_cast<double>(k) - 0.25) / size);
    const double x = root(guess, [n](double at) {
      const Legendre p = legendre(n, at);
      const Legendre q = legendre(n - 1, at);
      const double f = p.value + q.value;
      const double slope = p.slope + (n > 1 ? q.slope : 0.0);
      return 1 / (slope / f - 1 / (1 + at));  // the root at -1 divided out
    });
    const double below = legendre(n - 1, x).value;
    points.emplace_back(-x, (1 - x) / (size * size * below * below));
  }
  return to_unit(std::move(points));
}

Quadrature gauss_lobatto(int64_t n) {
  const auto size = static_cast<double>(n);
  const double end = 2 / (size * (size - 1));
  std::vector<std::pair<double, double>> points{{-1.0, end}, {1.0, end}};
  for (int64_t k = 1; k <= n - 2; ++k) {
    const double guess =
        std::cos(std::numbers::pi * (static_cast<double>(k) + 0.25) / (size - 0.5));
    const double x = root(guess, [n, size](double at) {
      const Legendre p = legendre(n - 1, at);
      // Legendre's differential equation gives the second derivative.
      const double second = (2 * at * p.slope - size * (size - 1) * p.value) / (1 - at * at);
      return p.slope / second;
    });
    const double value = legendre(n - 1, x).value;
    points.emplace_back(x, end / (value * value));
  }
  return to_unit(std::move(points));
}

Quadrature equidistant(int64_t first, int64_t last, int64_t intervals, double weight) {
  Quadrature rule;
  for (int64_t k = first; k <= last; ++k) {
    rule.nodes.push_back(intervals == 0 ? 0.0
                                        : static_cast<double>(k) / static_cast<double>(intervals));
    rule.weights.push_back(weight);
  }
  return rule;
}

}  // namespace

Quadrature quadrature(Rule rule, int64_t n) {
  if (n < 1) throw UsageError("a quadrature rule needs at least 1 node, got " + std::to_string(n));
  const double share = 1.0 / static_cast<double>(n);
  switch (rule) {
    case Rule::kControlVariate:
      return gauss_lobatto(n + 1);
    case Rule::kGaussLegendre:
      return gauss_legendre(n);
    case Rule::kGaussRadau:
      return gauss_radau_right(n);
    case Rule::kGaussLobatto:
      if (n < 2) throw UsageError("gauss-lobatto needs at least 2 nodes (t = 0 and t = 1), got 1");
      return gauss_lobatto(n);
    case Rule::kRiemannLeft:
      return equidistant(0, n - 1, n, share);
    case Rule::kRiemannRight:
      return equidistant(1, n, n, share);
    case Rule::kTrapezoid: {
      Quadrature result = equidistant(0, n, n, share);
      result.weights.front() = result.weights.back() = 0.5 * share;
      return result;
    }
    case Rule::kLinspace:
      return equidistant(0, n - 1, n - 1, share);
  }
  throw InternalError("quadrature: unknown rule");
}

}  // namespace engram
