#include "run/tried_sets.h"

#include <cstdint>
#include <utility>

#include "engram/intervention/intervention.h"

namespace engram {

double TriedSets::change(size_t set) const {
  double sum = 0;
  for (size_t p = 0; p < before.size(); ++p) sum += after[set][p].log_odds - before[p].log_odds;
  return sum / static_cast<double>(before.size());
}

TriedSets try_sets(const Model& model, std::span<const Cloze> prompts,
                   std::span<const std::vector<NeuronId>> sets, const MeasureOptions& options) {
  std::vector<std::vector<NeuronChange>> changes;
  std::vector<Trial> trials;
  for (size_t s = 0; s < sets.size(); ++s) {
    changes.push_back(changes_of({}, sets[s], {}));
    for (size_t p = 0; p < prompts.size(); ++p) {
      trials.push_back({static_cast<uint32_t>(p), static_cast<uint32_t>(s)});
    }
  }
  Measured measured = measure(model, prompts, changes, trials, options);
  TriedSets tried{std::move(measured.before), {}};
  for (size_t s = 0; s < sets.size(); ++s) {
    const auto first = measured.after.begin() + static_cast<std::ptrdiff_t>(s * prompts.size());
    tried.after.emplace_back(first, first + static_cast<std::ptrdiff_t>(prompts.size()));
  }
  return tried;
}

}  // namespace engram
