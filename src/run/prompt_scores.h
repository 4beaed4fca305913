#pragma once

// Scores of the prompts that locate, for the experiments that make them: which prompts a part has,
// their rows, and what passed on them.

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engram/attribution/attribution.h"
#include "engram/neurons/selection.h"
#include "engram/run/experiment.h"
#include "experiments/locate/rows.h"
#include "run/parts.h"

namespace engram {

/// A prompt that locates, by its fact.
struct PromptOfFact {
  int64_t fact = 0;
  int64_t prompt = 0;
};

/// Attributes prompts by integrated gradients. Rows go under the name `method`, and with `baseline`
/// those of the activations, which the same pass makes, beside them.
std::vector<TableRows> score_rows(const RunContext& run, std::string_view method, bool baseline,
                                  std::span<const PromptOfFact> prompts,
                                  const AttributionOptions& options);

/// The prompts of some facts, cut into parts by what integrated gradients take.
class PromptParts {
 public:
  PromptParts(const RunContext& run, std::span<const int64_t> facts,
              const AttributionOptions& options);

  [[nodiscard]] int64_t parts() const { return static_cast<int64_t>(ranges_.size()); }
  [[nodiscard]] std::span<const PromptOfFact> of(int64_t part) const;
  /// Facts whose last prompt the part has.
  [[nodiscard]] int64_t facts(int64_t part) const;

 private:
  std::vector<PromptOfFact> prompts_;
  std::vector<PartRange> ranges_;
};

/// What passed on the prompts of some facts, and on how many nothing was positive.
struct StoredBags {
  std::vector<Bag> bags;
  int64_t negative = 0;
};
StoredBags stored_bags(const RunContext& run, std::string_view method,
                       std::span<const int64_t> facts);
/// Prompts whose largest score is not positive.
int64_t count_negative(std::span<const PromptNeurons> prompts);

}  // namespace engram
