#pragma once

#include <cstddef>
#include <span>

namespace engram {

/// Spearman's rank correlation; equal values share the mean of their ranks. NaN where one side has
/// fewer than two different values. REQUIRES: as many values on both sides.
double rank_correlation(std::span<const float> a, std::span<const float> b);

/// Of the `count` largest values of one side, the share that is among those of the other; of equal
/// values the first ones are taken. REQUIRES: as many values on both sides, at least `count`.
double shared_largest(std::span<const float> a, std::span<const float> b, size_t count);

}  // namespace engram
