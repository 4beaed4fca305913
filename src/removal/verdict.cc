#include <algorithm>
#include <cmath>
#include <map>

#include "engram/error.h"
#include "engram/removal/removal.h"

namespace engram {
namespace {

constexpr double kRemovedBelow = 0.1;
constexpr double kHiddenAbove = 0.2;
constexpr double kLeastDrop = 0.5;  // logits

/// Columns of the sums: facts of both kinds, the drops, then every attack's two gains.
enum Column : size_t { kErased, kNever, kDrop, kOwnDrop, kColumns };
/// Estimates: the drops, then share, line and difference of every attack.
constexpr size_t kDrops = 2;
constexpr size_t kOfAttack = 3;

ClusteredSums sums_of(const Removal& removal, std::span<const ExaminedFact> erased,
                      std::span<const ExaminedFact> never) {
  const size_t attacks = removal.attacks.size();
  std::map<size_t, Cluster> clusters;
  const auto of = [&](const ExaminedFact& fact) -> std::vector<double>& {
    Cluster& cluster = clusters[fact.object];
    cluster.object = fact.object;
    cluster.sums.resize(kColumns + 2 * attacks);
    return cluster.sums;
  };
  for (size_t i = 0; i < erased.size(); ++i) {
    std::vector<double>& sums = of(erased[i]);
    sums[kErased] += 1;
    sums[kDrop] += removal.before[i] - removal.after[i];
    sums[kOwnDrop] += removal.own_before[i] - removal.own_after[i];
    for (size_t a = 0; a < attacks; ++a) {
      sums[kColumns + 2 * a] += removal.attacks[a].erased[i];
    }
  }
  for (size_t i = 0; i < never.size(); ++i) {
    std::vector<double>& sums = of(never[i]);
    sums[kNever] += 1;
    for (size_t a = 0; a < attacks; ++a) {
      sums[kColumns + 2 * a + 1] += removal.attacks[a].never[i];
    }
  }
  ClusteredSums all;
  std::vector<Cluster>& relation = all.relations.emplace_back();
  for (auto& [object, cluster] : clusters) relation.push_back(std::move(cluster));
  return all;
}

double mean(double sum, double count) { return count > 0 ? sum / count : NAN; }

}  // namespace

const char* removal_verdict_name(RemovalVerdict verdict) {
  switch (verdict) {
    case RemovalVerdict::kRemoved:
      return "removed";
    case RemovalVerdict::kHidden:
      return "hidden";
    case RemovalVerdict::kUndecided:
      return "undecided";
    case RemovalVerdict::kNothingTaken:
      return "nothing taken away";
  }
  throw InternalError("removal_verdict_name: unknown verdict");
}

RemovalReport judge_removal(const Removal& removal, std::span<const ExaminedFact> erased,
                            std::span<const ExaminedFact> never, const BootstrapOptions& options) {
  const std::vector<AttackGain>& attacks = removal.attacks;
  const ClusteredSums sums = sums_of(removal, erased, never);
  const Statistic statistic = [&](std::span<const std::vector<double>> relations,
                                  std::span<double> out) {
    std::vector<double> total(kColumns + 2 * attacks.size());
    for (const std::vector<double>& relation : relations) {
      for (size_t c = 0; c < total.size(); ++c) total[c] += relation[c];
    }
    const double drop = mean(total[kDrop], total[kErased]);
    const double own = mean(total[kOwnDrop], total[kErased]);
    out[0] = drop;
    out[1] = own;
    for (size_t a = 0; a < attacks.size(); ++a) {
      const double taken = attacks[a].of_own ? own : drop;
      const double gain = mean(total[kColumns + 2 * a], total[kErased]);
      const double line = mean(total[kColumns + 2 * a + 1], total[kNever]);
      double* estimates = out.data() + kDrops + kOfAttack * a;
      estimates[0] = gain / taken;
      estimates[1] = line / taken;
      estimates[2] = (gain - line) / taken;
    }
  };
  const size_t count = kDrops + kOfAttack * attacks.size();
  const std::vector<Interval> found = bootstrap(sums, count, statistic, options);
  BootstrapOptions together = options;
  together.level = 1 - (1 - options.level) / static_cast<double>(attacks.size());
  const std::vector<Interval> wide = bootstrap(sums, count, statistic, together);

  RemovalReport report;
  report.drop = found[0];
  report.own_drop = found[1];
  bool removed = true;
  bool hidden = false;
  for (size_t a = 0; a < attacks.size(); ++a) {
    const size_t at = kDrops + kOfAttack * a;
    report.attacks.push_back({attacks[a].name, found[at], found[at + 1], wide[at + 2],
                              attacks[a].erased_top, attacks[a].never_top});
    removed = removed && wide[at + 2].high < kRemovedBelow;  // not where there is no interval
    hidden = hidden || wide[at + 2].low > kHiddenAbove;
  }
  if (std::isfinite(report.drop.high) && !(report.drop.low > kLeastDrop)) {
    report.verdict = RemovalVerdict::kNothingTaken;
  } else if (report.drop.low > kLeastDrop && (removed || hidden)) {
    report.verdict = removed ? RemovalVerdict::kRemoved : RemovalVerdict::kHidden;
  }
  return report;
}

}  // namespace engram
