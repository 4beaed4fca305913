#include "engram/evaluation/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engram/base/interrupt.h"
#include "neurons/random.h"

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

void add(std::vector<double>& sum, const std::vector<double>& more) {
  if (sum.empty()) sum.assign(more.size(), 0.0);
  for (size_t i = 0; i < more.size(); ++i) sum[i] += more[i];
}

}  // namespace

std::vector<Interval> bootstrap(const ClusteredSums& data, size_t estimates,
                                const Statistic& statistic, const BootstrapOptions& options) {
  std::vector<const std::vector<std::vector<double>>*> relations;
  for (const auto& relation : data.relations) {
    if (!relation.empty()) relations.push_back(&relation);
  }
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  std::vector<Interval> intervals(estimates, {kNone, kNone, kNone});
  if (relations.empty()) return intervals;

  std::vector<std::vector<double>> sums(relations.size());
  for (size_t r = 0; r < relations.size(); ++r) {
    for (const std::vector<double>& cluster : *relations[r]) add(sums[r], cluster);
  }
  std::vector<double> values(estimates, kNone);
  statistic(sums, values);
  for (size_t i = 0; i < estimates; ++i) intervals[i].value = values[i];
  // One cluster drawn again and again is always the same: that is no interval of width zero.
  if (relations.size() < 2 && relations.front()->size() < 2) return intervals;

  Random random(options.seed);
  std::vector<std::vector<double>> seen(estimates);
  for (int64_t draw = 0; draw < options.draws; ++draw) {
    Interrupt::check();
    for (std::vector<double>& sum : sums) {
      const auto& relation = *relations[random.below(relations.size())];
      std::ranges::fill(sum, 0.0);
      for (size_t i = 0; i < relation.size(); ++i) {
        add(sum, relation[random.below(relation.size())]);
      }
    }
    std::ranges::fill(values, kNone);
    statistic(sums, values);
    for (size_t i = 0; i < estimates; ++i) {
      if (!std::isnan(values[i])) seen[i].push_back(values[i]);
    }
  }
  const double tail = (1 - options.level) / 2;
  for (size_t i = 0; i < estimates; ++i) {
    std::ranges::sort(seen[i]);
    intervals[i].low = quantile(seen[i], tail);
    intervals[i].high = quantile(seen[i], 1 - tail);
  }
  return intervals;
}

}  // namespace engram
