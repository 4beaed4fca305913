#pragma once

// Cells that are integrated in panels.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cells.h"

namespace engram {

/// Gives a cell its first panels, or halves those that it has where they fit worst; false: its
/// nodes and the new ones would be more than max_steps, and nothing is changed.
bool take_panels(const Cells& cells, Cell& cell, const IntegrationOptions& options);

/// Computes F at the nodes that the panels of `which` lack and integrates them, to be compared with
/// polynomials of lower degree through the same nodes. REQUIRES: their paths are lines, t = s.
void integrate_panels(Cells& cells, const std::vector<size_t>& which);

}  // namespace engram
