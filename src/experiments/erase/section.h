#pragma once

// What the section's files share: erasures as the run holds them, and their means over relations.

#include <array>
#include <cstddef>
#include <map>
#include <string>
#include <utility>

#include "experiments/erase/rows.h"
#include "report/sections.h"

namespace engram::experiments::erase {

/// Means over the prompts of one relation and scope; of several draws their mean.
struct Means {
  double draws = 0;
  double neurons = 0;
  double log_ppl = 0, log_factor = 0;  ///< before; after minus before
  double p = 0, p_after = 0;
  double top = 0, top_after = 0;
  double log_rank = 0, log_rank_after = 0;
  double log_odds = 0;  ///< after minus before

  [[nodiscard]] std::array<double, 9> values() const {
    std::array<double, 9> all = {log_ppl,  log_factor,     p,       p_after, top, top_after,
                                 log_rank, log_rank_after, log_odds};
    for (double& value : all) value /= draws;
    return all;
  }
};
enum : size_t {
  kLogPpl,
  kLogFactor,
  kP,
  kPAfter,
  kTop,
  kTopAfter,
  kLogRank,
  kLogRankAfter,
  kLogOdds
};

/// [source, mode] -> relation -> number of neurons -> scope.
using BySize = std::map<double, std::map<std::string, Means>>;
using ByRelation = std::map<std::string, BySize>;
using Erasures = std::map<std::pair<std::string, std::string>, ByRelation>;

Erasures read_erasures(const ReportInput& input);

constexpr double kStandard = 20;  ///< neurons of the paper's erasure

/// What is erased and where it is looked at.
struct SelectedErasure {
  std::string source, mode;
  double neurons = kStandard;  ///< at most; a relation with fewer gives all that it has
  std::string scope;
};

/// The relation's largest set of at most so many neurons, nullptr: none in this scope.
const Means* find(const Erasures& erasures, const SelectedErasure& what,
                  const std::string& relation);

/// Means over relations without weights, with intervals over relations.
struct Erased {
  double relations = 0;
  double neurons = 0;              ///< mean
  Interval before, after, factor;  ///< perplexity; geometric means
  Interval p, p_after, p_change;
  Interval top, top_after, top_change;
  Interval rank, rank_after;  ///< geometric means
  Interval beyond;            ///< factor over that of the control
  Interval odds_change;       ///< of the answer's log-odds
  Interval odds_beyond;       ///< minus that of the control
};

/// `control` may be nullptr; only relations that have both are compared.
Erased measure(const ReportInput& input, const Erasures& erasures, const SelectedErasure& what,
               const SelectedErasure* control = nullptr);

/// The unknown token's embedding against others of its length: a verdict and a table, where the run
/// has both.
void add_values(const ReportInput& input, const Erasures& erasures, ReportSection& section);

/// The answer after every layer: a chart and a table.
void add_lens(const ReportInput& input, ReportSection& section);

}  // namespace engram::experiments::erase
