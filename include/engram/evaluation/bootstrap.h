#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace engram {

/// A value with its percentile interval. NaN where it is not defined.
struct Interval {
  double value = 0;
  double low = 0;
  double high = 0;
};

/// Sums over facts, by relation and object: sums[relation][cluster][column]. A cluster holds the
/// facts of the relation that have the same object; all have the same number of columns. What is
/// estimated must be a function of such sums.
struct ClusteredSums {
  std::vector<std::vector<std::vector<double>>> relations;
};

/// Computes the estimates from the sums of relations, relation_sums[relation][column]; a relation
/// may be there several times. Writes as many values as there are estimates; NaN: not defined.
using Statistic = std::function<void(std::span<const std::vector<double>> relation_sums,
                                     std::span<double> estimates)>;

struct BootstrapOptions {
  int64_t draws = 2000;
  double level = 0.95;
  uint64_t seed = 0;
};

/// The estimates on the data, and percentile intervals by resampling with replacement relations,
/// then within each the clusters (METHOD section 4). Draws in which an estimate is not defined are
/// left out for it. All estimates see the same draws, so differences are paired. With fewer than
/// two clusters in all there is nothing to resample: no interval. Checks for an interrupt.
std::vector<Interval> bootstrap(const ClusteredSums& data, size_t estimates,
                                const Statistic& statistic, const BootstrapOptions& options = {});

}  // namespace engram
