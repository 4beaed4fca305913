#include "statistics/effect_sums.h"

#include <cmath>
#include <limits>

namespace engram {
namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

/// Columns of a block.
enum Column : size_t {
  kPrompts,
  kFacts,
  kSumP,
  kBeforeLogOdds,
  kP,
  kLogP,
  kTop,
  kLogRank,
  kKnown,
  kBeforeColumns
};
/// Columns of what a source does.
enum ChangeColumn : size_t {
  kChangeLogOdds,
  kChangeSumP,
  kChangeP,
  kChangeLogP,
  kChangeTop,
  kChangeLogRank,
  kRatio,
  kChangeColumns
};
/// Columns of a source: the facts that it was tried on, what it does to them, and what the located
/// neurons do to the same facts.
enum SourceColumn : size_t { kTried, kTriedKnown, kTriedSumP, kSourceColumns };
constexpr size_t kOwnChange = kSourceColumns;
constexpr size_t kLocatedChange = kOwnChange + kChangeColumns;
constexpr size_t kSourceWidth = kLocatedChange + kChangeColumns;
constexpr size_t kWidth = kBeforeColumns + kSources * kSourceWidth;

constexpr size_t source_at(size_t source) { return kBeforeColumns + source * kSourceWidth; }

/// Sums that cancel leave some 1e-16 in doubles: no change.
double settled_sum(double value) { return std::abs(value) < 1e-12 ? 0.0 : value; }

/// The metrics of one source by the changes at `change` of its columns.
std::array<double, kMetrics> metrics(std::span<const std::vector<double>> relations, size_t begin,
                                     size_t source, size_t change) {
  double ratios = 0, with_ratio = 0;
  std::array<double, kSourceWidth> sum{};
  for (const std::vector<double>& relation : relations) {
    const double* from = relation.data() + begin + source_at(source);
    for (size_t i = 0; i < kSourceWidth; ++i) sum[i] += from[i];
    if (!(from[kTriedSumP] > 0)) continue;
    ratios += from[change + kChangeSumP] / from[kTriedSumP];
    with_ratio += 1;
  }
  std::array<double, kMetrics> values;
  values.fill(kUndefined);
  const auto set = [&](Metric metric, double total, double count) {
    if (count > 0) values[static_cast<size_t>(metric)] = settled_sum(total / count);
  };
  set(Metric::kLogOdds, sum[change + kChangeLogOdds], sum[kTried]);
  set(Metric::kRatioOfMeans, ratios, with_ratio);
  set(Metric::kMeanOfRatios, sum[change + kRatio], sum[kTriedKnown]);
  set(Metric::kLogP, sum[change + kChangeLogP], sum[kTried]);
  set(Metric::kAccuracy, sum[change + kChangeTop], sum[kTried]);
  set(Metric::kLogRank, sum[change + kChangeLogRank], sum[kTried]);
  return values;
}

void add_change(double* to, const Sums& sums, const Sums::Change& change) {
  to[kChangeLogOdds] += change.log_odds / sums.prompts;
  to[kChangeSumP] += change.p;
  to[kChangeP] += change.p / sums.prompts;
  to[kChangeLogP] += change.log_p / sums.prompts;
  to[kChangeTop] += change.top / sums.prompts;
  to[kChangeLogRank] += change.log_rank / sums.prompts;
  if (sums.known > 0) to[kRatio] += change.known_p / sums.known_p;
}

}  // namespace

void Sums::add(const Sums& other) {
  prompts += other.prompts;
  log_odds += other.log_odds;
  p += other.p;
  log_p += other.log_p;
  top += other.top;
  log_rank += other.log_rank;
  known += other.known;
  known_p += other.known_p;
  for (size_t s = 0; s < kSources; ++s) {
    Change& a = change[s];
    const Change& b = other.change[s];
    a.log_odds += b.log_odds;
    a.p += b.p;
    a.log_p += b.log_p;
    a.top += b.top;
    a.log_rank += b.log_rank;
    a.known_p += b.known_p;
    a.prompts += b.prompts;
  }
  pairs.insert(pairs.end(), other.pairs.begin(), other.pairs.end());
}

FactGroup group_of(int64_t prompts, int64_t top) {
  if (prompts == 0) return FactGroup::kAll;
  if (top == 0) return FactGroup::kNever;
  return 2 * top >= prompts ? FactGroup::kKnown : FactGroup::kAll;
}

FactGroup group_of(const Sums& own) {
  return group_of(std::llround(own.prompts), std::llround(own.top));
}

size_t block_columns() { return kWidth; }

void add_fact(std::span<double> block, const Sums& sums) {
  if (sums.prompts == 0) return;
  double* to = block.data();
  to[kPrompts] += sums.prompts;
  to[kFacts] += 1;
  to[kSumP] += sums.p;
  to[kBeforeLogOdds] += sums.log_odds / sums.prompts;
  to[kP] += sums.p / sums.prompts;
  to[kLogP] += sums.log_p / sums.prompts;
  to[kTop] += sums.top / sums.prompts;
  to[kLogRank] += sums.log_rank / sums.prompts;
  if (sums.known > 0) to[kKnown] += 1;
  for (size_t s = 0; s < kSources; ++s) {
    if (sums.change[s].prompts == 0) continue;
    double* of = to + source_at(s);
    of[kTried] += 1;
    of[kTriedSumP] += sums.p;
    if (sums.known > 0) of[kTriedKnown] += 1;
    add_change(of + kOwnChange, sums, sums.change[s]);
    add_change(of + kLocatedChange, sums, sums.change[kLocated]);
  }
}

void estimate_block(std::span<const std::vector<double>> relations, size_t begin,
                    std::span<double> estimates) {
  for (size_t s = 0; s < kSources; ++s) {
    const std::array<double, kMetrics> values = metrics(relations, begin, s, kOwnChange);
    for (size_t m = 0; m < kMetrics; ++m) estimates[change_place(s, m)] = values[m];
    if (s == kLocated) continue;
    const std::array<double, kMetrics> located = metrics(relations, begin, s, kLocatedChange);
    for (size_t m = 0; m < kMetrics; ++m) {
      estimates[difference_place(s - 1, m)] = settled_sum(located[m] - values[m]);
    }
  }
}

double tried_facts(std::span<const double> block, size_t source) {
  return block[source_at(source) + kTried];
}
double known_facts(std::span<const double> block) { return block[kKnown]; }

double log_odds_change(std::span<const double> block, size_t source) {
  const double* from = block.data() + source_at(source);
  return from[kTried] > 0 ? from[kOwnChange + kChangeLogOdds] / from[kTried] : kUndefined;
}

double ratio_of_means(std::span<const double> block, size_t source) {
  const double* from = block.data() + source_at(source);
  return from[kTriedSumP] > 0 ? from[kOwnChange + kChangeSumP] / from[kTriedSumP] : kUndefined;
}

EffectRow make_row(std::span<const std::vector<double>> relations, size_t begin) {
  EffectRow row;
  std::array<double, kWidth> total{};
  for (const std::vector<double>& relation : relations) {
    for (size_t i = 0; i < kWidth; ++i) total[i] += relation[begin + i];
    if (relation[begin + kSumP] > 0) ++row.relations;
  }
  row.facts = static_cast<int64_t>(total[kFacts]);
  row.prompts = static_cast<int64_t>(total[kPrompts]);
  row.known = static_cast<int64_t>(total[kKnown]);
  const double n = total[kFacts] > 0 ? total[kFacts] : kUndefined;
  const double log_rank = total[kLogRank] / n;
  row.before = {total[kBeforeLogOdds] / n, total[kP] / n, total[kLogP] / n, total[kTop] / n,
                std::exp(log_rank)};
  std::array<double, kBlockEstimates> estimates;
  estimate_block(relations, begin, estimates);
  const auto value = [](double found) { return Interval{found, kUndefined, kUndefined}; };
  for (size_t s = 0; s < kSources; ++s) {
    const double* of = total.data() + source_at(s);
    const auto change = [&](ChangeColumn c) {
      return of[kTried] > 0 ? of[kOwnChange + c] / of[kTried] : kUndefined;
    };
    row.after[s] = {row.before.log_odds + change(kChangeLogOdds), row.before.p + change(kChangeP),
                    row.before.log_p + change(kChangeLogP),
                    settled_sum(row.before.accuracy + change(kChangeTop)),
                    std::exp(log_rank + change(kChangeLogRank))};
    for (size_t m = 0; m < kMetrics; ++m) {
      row.change[s][m] = value(estimates[change_place(s, m)]);
      if (s > 0) row.difference[s - 1][m] = value(estimates[difference_place(s - 1, m)]);
    }
  }
  row.holm.fill(kUndefined);
  return row;
}

}  // namespace engram
