#include "evaluation/effects_sums.h"

#include <cmath>
#include <limits>

namespace engram {
namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

/// Columns per scope.
enum Column : size_t { kPrompts, kFacts, kSumP, kP, kLogP, kTop, kLogRank, kKnown, kSourceColumns };
enum SourceColumn : size_t {
  kTried,
  kChangeSumP,
  kChangeP,
  kChangeLogP,
  kChangeTop,
  kChangeLogRank,
  kRatio,
  kTriedKnown,
  kSourceWidth
};
constexpr size_t kWidth = kSourceColumns + kSources * kSourceWidth;

double column(const std::vector<double>& sums, size_t scope, size_t index) {
  return sums[scope * kWidth + index];
}
constexpr size_t source_column(size_t source, size_t index) {
  return kSourceColumns + source * kSourceWidth + index;
}

/// Sums that cancel leave some 1e-16 in doubles: no change.
double settled(double value) { return std::abs(value) < 1e-12 ? 0.0 : value; }

/// The metrics of one scope and source.
std::array<double, kMetrics> metrics(std::span<const std::vector<double>> relations, size_t scope,
                                     size_t source) {
  double ratios = 0, with_ratio = 0;
  std::array<double, kSourceWidth> sum{};
  for (const std::vector<double>& relation : relations) {
    for (size_t i = 0; i < kSourceWidth; ++i) {
      sum[i] += column(relation, scope, source_column(source, i));
    }
    const double ratio = ratio_of_means(relation, static_cast<Scope>(scope), source);
    if (std::isnan(ratio)) continue;
    ratios += ratio;
    with_ratio += 1;
  }
  std::array<double, kMetrics> values;
  values.fill(kUndefined);
  const auto set = [&](Metric metric, double total, double count) {
    if (count > 0) values[static_cast<size_t>(metric)] = settled(total / count);
  };
  set(Metric::kRatioOfMeans, ratios, with_ratio);
  set(Metric::kMeanOfRatios, sum[kRatio], sum[kTriedKnown]);
  set(Metric::kLogP, sum[kChangeLogP], sum[kTried]);
  set(Metric::kAccuracy, sum[kChangeTop], sum[kTried]);
  set(Metric::kLogRank, sum[kChangeLogRank], sum[kTried]);
  return values;
}

/// Where an estimate stands: changes of all sources, then differences, metric by metric.
constexpr size_t kPerScope = (kSources + kSources - 1) * kMetrics;

}  // namespace

void Sums::add(const Sums& other) {
  prompts += other.prompts;
  p += other.p;
  log_p += other.log_p;
  top += other.top;
  log_rank += other.log_rank;
  known += other.known;
  known_p += other.known_p;
  for (size_t s = 0; s < kSources; ++s) {
    Change& a = change[s];
    const Change& b = other.change[s];
    a.p += b.p;
    a.log_p += b.log_p;
    a.top += b.top;
    a.log_rank += b.log_rank;
    a.known_p += b.known_p;
    a.prompts += b.prompts;
  }
}

size_t sum_columns() { return kScopes * kWidth; }
size_t estimate_count() { return kScopes * kPerScope; }

void add_fact(std::vector<double>& cluster, size_t scope, const Sums& sums) {
  if (sums.prompts == 0) return;
  double* to = cluster.data() + scope * kWidth;
  to[kPrompts] += sums.prompts;
  to[kFacts] += 1;
  to[kSumP] += sums.p;
  to[kP] += sums.p / sums.prompts;
  to[kLogP] += sums.log_p / sums.prompts;
  to[kTop] += sums.top / sums.prompts;
  to[kLogRank] += sums.log_rank / sums.prompts;
  if (sums.known > 0) to[kKnown] += 1;
  for (size_t s = 0; s < kSources; ++s) {
    const Sums::Change& change = sums.change[s];
    if (change.prompts == 0) continue;
    to[source_column(s, kTried)] += 1;
    to[source_column(s, kChangeSumP)] += change.p;
    to[source_column(s, kChangeP)] += change.p / sums.prompts;
    to[source_column(s, kChangeLogP)] += change.log_p / sums.prompts;
    to[source_column(s, kChangeTop)] += change.top / sums.prompts;
    to[source_column(s, kChangeLogRank)] += change.log_rank / sums.prompts;
    if (sums.known > 0) {
      to[source_column(s, kRatio)] += change.known_p / sums.known_p;
      to[source_column(s, kTriedKnown)] += 1;
    }
  }
}

void estimate_effects(std::span<const std::vector<double>> relations, std::span<double> estimates) {
  for (size_t scope = 0; scope < kScopes; ++scope) {
    double* to = estimates.data() + scope * kPerScope;
    std::array<double, kMetrics> located{};
    for (size_t s = 0; s < kSources; ++s) {
      const std::array<double, kMetrics> values = metrics(relations, scope, s);
      if (s == 0) located = values;
      for (size_t m = 0; m < kMetrics; ++m) {
        to[s * kMetrics + m] = values[m];
        if (s > 0) to[(kSources + s - 1) * kMetrics + m] = settled(located[m] - values[m]);
      }
    }
  }
}

double ratio_of_means(const std::vector<double>& relation, Scope scope, size_t source) {
  const auto at = static_cast<size_t>(scope);
  const double before = prompts_p(relation, scope);
  if (!(before > 0) || column(relation, at, source_column(source, kTried)) == 0) return kUndefined;
  return column(relation, at, source_column(source, kChangeSumP)) / before;
}

double prompts_p(const std::vector<double>& relation, Scope scope) {
  return column(relation, static_cast<size_t>(scope), kSumP);
}

EffectRow make_row(const ClusteredSums& clustered, Scope scope,
                   std::span<const Interval> intervals) {
  EffectRow row;
  row.scope = scope;
  const auto at = static_cast<size_t>(scope);
  std::array<double, kWidth> total{};
  int64_t clusters = 0;
  int64_t known_clusters = 0;
  for (const std::vector<std::vector<double>>& relation : clustered.relations) {
    double sum_p = 0;
    for (const std::vector<double>& cluster : relation) {
      for (size_t i = 0; i < kWidth; ++i) total[i] += column(cluster, at, i);
      sum_p += column(cluster, at, kSumP);
      if (column(cluster, at, kFacts) > 0) ++clusters;
      if (column(cluster, at, kKnown) > 0) ++known_clusters;
    }
    if (sum_p > 0) ++row.relations;
  }
  row.facts = static_cast<int64_t>(total[kFacts]);
  row.prompts = static_cast<int64_t>(total[kPrompts]);
  row.known = static_cast<int64_t>(total[kKnown]);
  const double n = total[kFacts] > 0 ? total[kFacts] : kUndefined;
  const double log_rank = total[kLogRank] / n;
  row.before = {total[kP] / n, total[kLogP] / n, total[kTop] / n, std::exp(log_rank)};
  const auto interval = [&](size_t block, size_t m) {
    Interval found = intervals[at * kPerScope + block * kMetrics + m];
    const bool of_known = static_cast<Metric>(m) == Metric::kMeanOfRatios;
    if ((of_known ? known_clusters : clusters) < 2) found.low = found.high = kUndefined;
    return found;
  };
  for (size_t s = 0; s < kSources; ++s) {
    const auto change = [&](SourceColumn c) {
      const double tried = total[source_column(s, kTried)];
      return tried > 0 ? total[source_column(s, c)] / tried : kUndefined;
    };
    row.after[s] = {row.before.p + change(kChangeP), row.before.log_p + change(kChangeLogP),
                    settled(row.before.accuracy + change(kChangeTop)),
                    std::exp(log_rank + change(kChangeLogRank))};
    for (size_t m = 0; m < kMetrics; ++m) {
      row.change[s][m] = interval(s, m);
      if (s > 0) row.difference[s - 1][m] = interval(kSources + s - 1, m);
    }
  }
  return row;
}

}  // namespace engram
