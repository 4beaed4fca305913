#pragma once

#include "engram/run/experiment.h"
#include "run/seeds.h"

namespace engram {

/// Parts of kPartFacts facts that a relation makes.
inline int64_t fact_parts(const RunContext& run, std::string_view relation) {
  const auto facts = static_cast<int64_t>(run.facts.of(relation).size());
  return (facts + kPartFacts - 1) / kPartFacts;
}

/// An experiment on the located neurons, fact by fact: each part is about kPartFacts facts.
class FactExperiment : public Experiment {
 public:
  [[nodiscard]] std::vector<std::string_view> needs() const override { return {"locate"}; }
  [[nodiscard]] int64_t parts(const RunContext& run, std::string_view relation) const override {
    return fact_parts(run, relation);
  }
  [[nodiscard]] int64_t facts(const RunContext& run, std::string_view relation,
                              int64_t part) const override {
    return static_cast<int64_t>(part_of(run.facts.of(relation), part).size());
  }
};

}  // namespace engram
