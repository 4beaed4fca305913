#include "engram/statistics/memories.h"

#include <algorithm>
#include <limits>

namespace engram {
namespace {

constexpr size_t kMemoryBins = 10;

/// Columns of a key's sums.
enum MemoryColumn : size_t {
  kKeys,
  kPattern,
  kDirection,
  kShuffled,
  kTriggered,
  kAgrees,
  kChance,
  kRank,
  kChanceRank,
  kMemoryColumns
};

std::vector<double> columns_of(const MemoryOutcome& key) {
  std::vector<double> sums(kMemoryColumns, 0.0);
  sums[kKeys] = 1;
  sums[kPattern] = key.has_pattern ? 1 : 0;
  sums[kDirection] = key.direction_pattern ? 1 : 0;
  sums[kShuffled] = key.shuffled_pattern ? 1 : 0;
  if (!key.triggered) return sums;
  sums[kTriggered] = 1;
  sums[kAgrees] = key.agrees ? 1 : 0;
  sums[kChance] = key.chance;
  sums[kRank] = static_cast<double>(key.rank);
  sums[kChanceRank] = static_cast<double>(key.chance_rank);
  return sums;
}

}  // namespace

MemoryMeans memory_means(std::span<const MemoryOutcome> keys, int64_t layer,
                         const BootstrapOptions& options) {
  MemoryMeans means;
  means.layer = layer;
  means.keys = static_cast<int64_t>(keys.size());
  ClusteredSums data;
  for (const MemoryOutcome& key : keys) {
    data.relations.push_back({{kNoObject, columns_of(key)}});
    if (key.triggered) ++means.triggered;
  }
  const std::vector<Interval> found = bootstrap(
      data, 9,
      [](std::span<const std::vector<double>> drawn, std::span<double> out) {
        std::vector<double> total(kMemoryColumns, 0.0);
        for (const std::vector<double>& one : drawn) {
          for (size_t c = 0; c < kMemoryColumns; ++c) total[c] += one[c];
        }
        const double none = std::numeric_limits<double>::quiet_NaN();
        const auto over = [&](MemoryColumn sum, MemoryColumn count) {
          return total[count] > 0 ? total[sum] / total[count] : none;
        };
        out[0] = over(kPattern, kKeys);
        out[1] = over(kDirection, kKeys);
        out[2] = over(kShuffled, kKeys);
        out[3] = out[0] - out[1];
        out[4] = over(kAgrees, kTriggered);
        out[5] = over(kChance, kTriggered);
        out[6] = out[4] - out[5];
        out[7] = over(kRank, kTriggered);
        out[8] = over(kChanceRank, kTriggered);
      },
      options);
  means.pattern = found[0];
  means.direction_pattern = found[1];
  means.shuffled_pattern = found[2];
  means.above_direction = found[3];
  means.agreement = found[4];
  means.chance = found[5];
  means.above_chance = found[6];
  means.rank = found[7];
  means.chance_rank = found[8];
  return means;
}

std::vector<MemoryBin> memory_bins(std::span<const MemoryOutcome> all,
                                   const BootstrapOptions& options) {
  std::vector<MemoryOutcome> keys;
  std::ranges::copy_if(all, std::back_inserter(keys), &MemoryOutcome::triggered);
  std::ranges::stable_sort(keys, {}, &MemoryOutcome::top_p);
  std::vector<MemoryBin> bins;
  const size_t count = std::min(kMemoryBins, keys.size());
  for (size_t b = 0; b < count; ++b) {
    const size_t begin = b * keys.size() / count;
    const size_t end = (b + 1) * keys.size() / count;
    const std::span<const MemoryOutcome> held = std::span(keys).subspan(begin, end - begin);
    const MemoryMeans means = memory_means(held, -1, options);
    bins.push_back(
        {held.front().top_p, held.back().top_p, means.keys, means.agreement, means.chance});
  }
  return bins;
}

}  // namespace engram
