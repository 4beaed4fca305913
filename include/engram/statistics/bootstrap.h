#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

namespace engram {

/// A value with its percentile interval. NaN where it is not defined.
struct Interval {
  double value = 0;
  double low = 0;
  double high = 0;
  /// Two-sided p of "the value is zero": 2 (1 + draws at or beyond zero) / (1 + draws), at most 1.
  double p = std::numeric_limits<double>::quiet_NaN();
};

/// Facts of one relation with one object, added up.
struct Cluster {
  /// The same number for the same object in whatever relation: it is drawn together.
  size_t object = 0;
  std::vector<double> sums;
};
/// An object that is not resampled: the cluster is the whole relation.
constexpr size_t kNoObject = SIZE_MAX;

/// Sums over facts, by relation and object: all have the same number of columns. What is estimated
/// must be a function of such sums.
struct ClusteredSums {
  std::vector<std::vector<Cluster>> relations;
};

/// Computes the estimates from the sums of relations, relation_sums[relation][column]; a relation
/// may be there several times. Writes as many values as there are estimates; NaN: not defined.
using Statistic = std::function<void(std::span<const std::vector<double>> relation_sums,
                                     std::span<double> estimates)>;

struct BootstrapOptions {
  int64_t draws = 2000;
  double level = 0.95;
  uint64_t seed = 0;
  int64_t min_objects = 10;  ///< with fewer there is no interval
};

/// The estimates on the data, and percentile intervals by resampling with replacement in two ways
/// (Owen 2007, the pigeonhole bootstrap): relations, and independently of them objects; a fact
/// counts as often as its relation was drawn, times as often as its object was. Draws in which an
/// estimate is not defined are left out for it. All estimates see the same draws, so differences
/// are paired. No interval with fewer than options.min_objects objects; where clusters have no
/// object, with fewer than two relations. Checks for an interrupt.
std::vector<Interval> bootstrap(const ClusteredSums& data, size_t estimates,
                                const Statistic& statistic, const BootstrapOptions& options = {});

/// `value` with the percentiles of `drawn` (sorted by the call) and its p; NaN without any.
Interval percentile_interval(double value, std::vector<double>& drawn, double level);

/// Holm's adjustment of p values that are looked at together; NaN ones are not among them.
std::vector<double> holm(std::span<const double> p);

}  // namespace engram
