#pragma once

// The facts of a run, and sums over them for the bootstrap.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engram/statistics/bootstrap.h"
#include "engram/statistics/effect_report.h"
#include "engram/store/run_store.h"

namespace engram {

/// The facts of a run, with the clusters that the bootstrap resamples: facts with the same object.
class FactIndex {
 public:
  struct Fact {
    int64_t id = 0;
    size_t relation = 0;  ///< of relations()
    size_t cluster = 0;   ///< of its object: the same number in whatever relation
    std::string subject, object;
    bool copies = false;
    int64_t prompts = 0;   ///< that locate
    int64_t held_out = 0;  ///< that only test
  };
  explicit FactIndex(RunStore& run);

  [[nodiscard]] const std::vector<std::string>& relations() const { return relations_; }
  [[nodiscard]] const std::vector<Fact>& facts() const { return facts_; }  ///< by id
  /// Throws InputError for an id that the table `fact` lacks.
  [[nodiscard]] const Fact& fact(int64_t id) const { return facts_[place(id)]; }
  [[nodiscard]] size_t place(int64_t id) const;                ///< of facts()
  [[nodiscard]] size_t relation(std::string_view name) const;  ///< of relations()

 private:
  std::vector<std::string> relations_;
  std::vector<Fact> facts_;
  std::unordered_map<int64_t, size_t> places_;
};

/// Whether the model knows the facts, by place, from the answers on their own prompts; kAll where
/// it is neither known nor never given, or not asked.
std::vector<FactGroup> fact_groups(RunStore& run, const FactIndex& facts);

/// Adds up columns by cluster. Only clusters that something was added to are resampled.
class FactSums {
 public:
  FactSums(const FactIndex& facts, size_t columns) : facts_(&facts), columns_(columns) {}
  /// The columns of the fact's cluster, to add to.
  std::span<double> of(int64_t fact);
  /// The same where a whole relation is one cluster.
  std::span<double> of_relation(std::string_view relation);
  /// Places of relations are kept: one without clusters has none.
  [[nodiscard]] ClusteredSums sums() const;
  /// Of one relation alone.
  [[nodiscard]] ClusteredSums sums_of(size_t relation) const;
  [[nodiscard]] bool empty() const { return clusters_.empty(); }

 private:
  const FactIndex* facts_;
  size_t columns_;
  /// By relation and cluster, so that the draws do not depend on the order of the rows.
  std::map<std::pair<size_t, size_t>, std::vector<double>> clusters_;
};

/// All relations' sums added up.
std::vector<double> total_of(std::span<const std::vector<double>> relations);

/// Bootstrap of estimates that are made from the sums over all relations; NaN for a draw of none.
std::vector<Interval> bootstrap_totals(
    const FactSums& sums, size_t estimates,
    const std::function<void(std::span<const double> total, std::span<double> out)>& estimate,
    const BootstrapOptions& options);

/// numerator / denominator, NaN where the denominator is not above zero.
double ratio(double numerator, double denominator);

}  // namespace engram
