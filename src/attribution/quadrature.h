#pragma once

#include <cstdint>
#include <vector>

#include "engram/attribution/attribution.h"

namespace engram {

/// Nodes t in [0, 1], ascending, and their weights.
struct Quadrature {
  std::vector<double> nodes;
  std::vector<double> weights;
};

/// The rule with n nodes (kTrapezoid: n intervals, n+1 nodes). kControlVariate gives the rule of
/// its exact nodes: n nodes and t = 1, a Gauss-Lobatto rule of n+1 nodes. Exact for polynomials
/// up to degree 2n-1 (Gauss-Legendre), 2n-2 (Radau), 2n-3 (Lobatto). Throws UsageError: n < 1, or
/// n < 2 for kGaussLobatto.
Quadrature quadrature(Rule rule, int64_t n);

}  // namespace engram
