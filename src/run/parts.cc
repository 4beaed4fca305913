#include "run/parts.h"

#include <algorithm>

#include "engram/attribution/cost.h"

namespace engram {

std::vector<PartRange> cut_parts(std::span<const double> costs, size_t most, double budget) {
  std::vector<PartRange> parts;
  double sum = 0;
  for (size_t i = 0; i < costs.size(); ++i) {
    const bool fits = !parts.empty() && i - parts.back().begin < most && sum + costs[i] <= budget;
    if (!fits) {
      parts.push_back({i, i});
      sum = 0;
    }
    parts.back().end = i + 1;
    sum += costs[i];
  }
  return parts;
}

double run_flops(const RunContext& run, const TokenCounts& size) {
  return plain_flops(run.model.config(), size.tokens, size.masks);
}

double changed_run_flops(const RunContext& run, const TokenCounts& size) {
  return run_flops(run, size) / 2;
}

double attribution_flops(const RunContext& run, const TokenCounts& size, int64_t nodes) {
  LayerReport report;
  report.nodes = nodes;
  const std::vector<LayerReport> reports(static_cast<size_t>(run.model.config().layers), report);
  return attribution_flops(run.model.config(), size.tokens, size.masks, reports);
}

TokenCounts text_size(const RunContext& run) {
  return {std::min(kTextTokensGuess, run.model.config().max_tokens()), 1};
}

std::vector<PartRange> FactExperiment::ranges(const RunContext& run,
                                              std::string_view relation) const {
  std::vector<double> costs;
  for (const int64_t fact : run.facts.of(relation)) costs.push_back(cost(run, fact));
  return cut_parts(costs, kPartFacts, run.part_flops);
}

int64_t FactExperiment::parts(const RunContext& run, std::string_view relation) const {
  return static_cast<int64_t>(ranges(run, relation).size());
}

std::span<const int64_t> FactExperiment::part_of(const RunContext& run, std::string_view relation,
                                                 int64_t part) const {
  const PartRange range = ranges(run, relation).at(static_cast<size_t>(part));
  return std::span(run.facts.of(relation)).subspan(range.begin, range.end - range.begin);
}

int64_t FactExperiment::facts(const RunContext& run, std::string_view relation,
                              int64_t part) const {
  return static_cast<int64_t>(part_of(run, relation, part).size());
}

}  // namespace engram
