#include <cmath>
#include <vector>

#include "experiments/erase/section.h"

namespace engram::experiments::erase {

Erasures read_erasures(const ReportInput& input) {
  Erasures erasures;
  read_rows<EraseRow>(input.run, {}, [&](const EraseRow& row) {
    const auto n = static_cast<double>(row.prompts);
    if (!(n > 0)) return;
    const auto neurons = static_cast<double>(row.neurons);
    Means& means = erasures[{row.source, row.mode}][row.relation][neurons][row.scope];
    means.draws += 1;
    means.neurons = neurons;
    means.log_ppl -= row.log_p_before / n;
    means.log_factor += (row.log_p_before - row.log_p_after) / n;
    means.p += row.p_before / n;
    means.p_after += row.p_after / n;
    means.top += static_cast<double>(row.top_before) / n;
    means.top_after += static_cast<double>(row.top_after) / n;
    means.log_rank += row.log_rank_before / n;
    means.log_rank_after += row.log_rank_after / n;
    means.log_odds += (row.log_odds_after - row.log_odds_before) / n;
  });
  return erasures;
}

const Means* find(const Erasures& erasures, const SelectedErasure& what,
                  const std::string& relation) {
  const auto by_relation = erasures.find({what.source, what.mode});
  if (by_relation == erasures.end()) return nullptr;
  const auto sizes = by_relation->second.find(relation);
  if (sizes == by_relation->second.end()) return nullptr;
  const Means* found = nullptr;
  for (const auto& [size, scopes] : sizes->second) {
    if (size > what.neurons) break;
    const auto scope = scopes.find(what.scope);
    if (scope != scopes.end()) found = &scope->second;
  }
  return found;
}

Erased measure(const ReportInput& input, const Erasures& erasures, const SelectedErasure& what,
               const SelectedErasure* control) {
  Erased erased;
  constexpr size_t kWidth = 9;
  // Then relations, and of those with a control: how many, and both factors and log-odds.
  enum : size_t { kCount = kWidth, kPairs, kPaired, kControl, kPairedOdds, kControlOdds, kAll };
  FactSums sums(input.facts, kAll);
  for (const std::string& relation : input.facts.relations()) {
    const Means* means = find(erasures, what, relation);
    if (means == nullptr) continue;
    erased.relations += 1;
    erased.neurons += means->neurons;
    const std::span<double> of = sums.of_relation(relation);
    of[kCount] += 1;
    const std::array<double, kWidth> values = means->values();
    for (size_t i = 0; i < kWidth; ++i) of[i] += values[i];
    const Means* other = control != nullptr ? find(erasures, *control, relation) : nullptr;
    if (other == nullptr) continue;
    of[kPairs] += 1;
    of[kPaired] += values[kLogFactor];
    of[kControl] += other->values()[kLogFactor];
    of[kPairedOdds] += values[kLogOdds];
    of[kControlOdds] += other->values()[kLogOdds];
  }
  erased.neurons = ratio(erased.neurons, erased.relations);
  const std::vector<Interval> found = bootstrap(
      sums.sums(), 14,
      [](std::span<const std::vector<double>> drawn, std::span<double> out) {
        const std::vector<double> total = total_of(drawn);
        std::vector<double> mean = total;
        for (double& value : mean) value /= total[kCount];
        const std::array<double, 14> all = {
            std::exp(mean[kLogPpl]),
            std::exp(mean[kLogPpl] + mean[kLogFactor]),
            std::exp(mean[kLogFactor]),
            mean[kP],
            mean[kPAfter],
            mean[kPAfter] - mean[kP],
            mean[kTop],
            mean[kTopAfter],
            mean[kTopAfter] - mean[kTop],
            std::exp(mean[kLogRank]),
            std::exp(mean[kLogRankAfter]),
            std::exp(ratio(total[kPaired] - total[kControl], total[kPairs])),
            mean[kLogOdds],
            ratio(total[kPairedOdds] - total[kControlOdds], total[kPairs])};
        std::ranges::copy(all, out.begin());
      },
      input.options.bootstrap);
  erased.before = found[0];
  erased.after = found[1];
  erased.factor = found[2];
  erased.p = found[3];
  erased.p_after = found[4];
  erased.p_change = found[5];
  erased.top = found[6];
  erased.top_after = found[7];
  erased.top_change = found[8];
  erased.rank = found[9];
  erased.rank_after = found[10];
  erased.beyond = found[11];
  erased.odds_change = found[12];
  erased.odds_beyond = found[13];
  return erased;
}

}  // namespace engram::experiments::erase
