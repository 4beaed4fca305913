#pragma once

// How an experiment is cut into parts. A part is what a kill can cost at most, so it is cut by what
// it takes to compute, which is estimated from the fact list, the model's sizes and the options
// alone: all of them are the run's identity, and every machine cuts alike. A change of an estimate
// or of a constant here raises the algorithm version of the experiments that it cuts.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engram/run/experiment.h"

namespace engram {

/// A part has no more facts, however small the model.
constexpr size_t kPartFacts = 32;
/// Tokens of a line of ordinary text and of a text about a fact, which no estimate reads.
constexpr int64_t kTextTokensGuess = 40;

/// Consecutive items of one part, from `begin` up to `end`.
struct PartRange {
  size_t begin = 0;
  size_t end = 0;
  friend bool operator==(const PartRange&, const PartRange&) = default;
};

/// Cuts items of the given costs into parts of at most `most` items that cost `budget` together; an
/// item that costs more is a part by itself. No item, no part.
std::vector<PartRange> cut_parts(std::span<const double> costs, size_t most, double budget);

/// Operations of runs of one prompt.
double run_flops(const RunContext& run, const TokenCounts& size);
/// Of a run with neurons changed: it begins at the lowest of them, in the middle on the average.
double changed_run_flops(const RunContext& run, const TokenCounts& size);
/// Of integrated gradients: `nodes` per layer.
double attribution_flops(const RunContext& run, const TokenCounts& size, int64_t nodes);
/// A line of ordinary text with one mask.
TokenCounts text_size(const RunContext& run);

/// An experiment on the located neurons, fact by fact. Consecutive facts make a part; where
/// `steps` is more than 1, each of them is `steps` parts that follow each other.
class FactExperiment : public Experiment {
 public:
  [[nodiscard]] std::vector<std::string_view> needs() const override { return {"locate"}; }
  [[nodiscard]] int64_t parts(const RunContext& run, std::string_view relation) const override;
  [[nodiscard]] int64_t facts(const RunContext& run, std::string_view relation,
                              int64_t part) const override;

 protected:
  /// Operations that a fact takes.
  [[nodiscard]] virtual double cost(const RunContext& run, int64_t fact) const = 0;
  /// The facts of a part. REQUIRES: part < parts().
  [[nodiscard]] std::span<const int64_t> part_of(const RunContext& run, std::string_view relation,
                                                 int64_t part) const;

 private:
  [[nodiscard]] std::vector<PartRange> ranges(const RunContext& run,
                                              std::string_view relation) const;
};

}  // namespace engram
