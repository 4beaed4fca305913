#include "engram/statistics/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/random.h"
#include "engram/base/interrupt.h"

namespace engram {
namespace {

/// Quantile of sorted values, linear between neighbours.
double quantile(const std::vector<double>& sorted, double q) {
  if (sorted.empty()) return std::numeric_limits<double>::quiet_NaN();
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(at);
  if (below + 1 >= sorted.size()) return sorted.back();
  const double part = at - static_cast<double>(below);
  return sorted[below] + part * (sorted[below + 1] - sorted[below]);
}

}  // namespace

Interval percentile_interval(double value, std::vector<double>& drawn, double level) {
  std::ranges::sort(drawn);
  const double tail = (1 - level) / 2;
  Interval found{value, quantile(drawn, tail), quantile(drawn, 1 - tail)};
  if (drawn.empty()) return found;
  const auto below = std::ranges::upper_bound(drawn, 0.0) - drawn.begin();
  const auto above = drawn.end() - std::ranges::lower_bound(drawn, 0.0);
  found.p = std::min(1.0, 2.0 * static_cast<double>(1 + std::min(below, above)) /
                              static_cast<double>(1 + drawn.size()));
  return found;
}

std::vector<double> holm(std::span<const double> p) {
  std::vector<size_t> order;
  for (size_t i = 0; i < p.size(); ++i) {
    if (!std::isnan(p[i])) order.push_back(i);
  }
  std::ranges::sort(order, {}, [&](size_t i) { return p[i]; });
  std::vector<double> adjusted(p.size(), std::numeric_limits<double>::quiet_NaN());
  double largest = 0;
  for (size_t rank = 0; rank < order.size(); ++rank) {
    const auto left = static_cast<double>(order.size() - rank);
    largest = std::max(largest, std::min(1.0, left * p[order[rank]]));
    adjusted[order[rank]] = largest;
  }
  return adjusted;
}

std::vector<Interval> bootstrap(const ClusteredSums& data, size_t estimates,
                                const Statistic& statistic, const BootstrapOptions& options) {
  std::vector<const std::vector<Cluster>*> relations;
  std::map<size_t, size_t> place;  // of an object among the weights
  for (const std::vector<Cluster>& relation : data.relations) {
    if (relation.empty()) continue;
    relations.push_back(&relation);
    for (const Cluster& cluster : relation) place.try_emplace(cluster.object, place.size());
  }
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  std::vector<Interval> intervals(estimates, {kNone, kNone, kNone});
  if (relations.empty()) return intervals;
  const size_t columns = relations.front()->front().sums.size();
  const auto sum_of = [&](const std::vector<Cluster>& relation, const auto& weight,
                          std::vector<double>& sum) {
    sum.assign(columns, 0.0);
    for (const Cluster& cluster : relation) {
      const double w = weight(cluster.object);
      if (w == 0) continue;
      for (size_t i = 0; i < columns; ++i) sum[i] += w * cluster.sums[i];
    }
  };
  std::vector<std::vector<double>> sums(relations.size());
  for (size_t r = 0; r < relations.size(); ++r) {
    sum_of(*relations[r], [](size_t) { return 1.0; }, sums[r]);
  }
  std::vector<double> values(estimates, kNone);
  statistic(sums, values);
  for (size_t i = 0; i < estimates; ++i) intervals[i].value = values[i];
  const bool by_relation = place.size() == 1 && place.contains(kNoObject);
  if (by_relation ? relations.size() < 2
                  : place.size() < static_cast<size_t>(std::max<int64_t>(options.min_objects, 2))) {
    return intervals;
  }

  Random random(options.seed);
  std::vector<std::vector<double>> seen(estimates);
  std::vector<std::vector<double>> drawn(relations.size());
  for (int64_t draw = 0; draw < options.draws; ++draw) {
    Interrupt::check();
    const std::vector<double> times = random.resample(relations.size());
    const std::vector<double> objects = random.resample(place.size());
    size_t next = 0;
    for (size_t r = 0; r < relations.size(); ++r) {
      const auto copies = static_cast<size_t>(times[r]);
      if (copies == 0) continue;
      sum_of(*relations[r], [&](size_t object) { return objects[place.at(object)]; }, drawn[next]);
      for (size_t c = 1; c < copies; ++c) drawn[next + c] = drawn[next];
      next += copies;
    }
    std::ranges::fill(values, kNone);
    statistic(drawn, values);
    for (size_t i = 0; i < estimates; ++i) {
      if (!std::isnan(values[i])) seen[i].push_back(values[i]);
    }
  }
  for (size_t i = 0; i < estimates; ++i) {
    intervals[i] = percentile_interval(intervals[i].value, seen[i], options.level);
  }
  return intervals;
}

}  // namespace engram
