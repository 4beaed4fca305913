#pragma once

// Which neurons `edit update` changes: the fact's own, but those of many other facts.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/edit_make.h"

namespace engram::cli {

struct NeuronOptions {
  int64_t filter_facts = 20;  ///< other facts of the relation to locate; 0: none, no filter
  std::string neurons;        ///< file of `engram locate`; empty: none
  std::string run;            ///< run of `engram reproduce`; empty: none
};

/// A relation's neurons, and which of its facts is meant.
struct RelationSets {
  std::vector<FactNeurons> sets;
  size_t own = 0;
  bool refined = true;  ///< the fact has enough prompts
  /// On which its neurons were located, and those that were not looked at; empty: not stored.
  std::vector<std::string> prompts, held_out;
  EditReason why;  ///< score, rule and selection only
};

/// What --neurons or --run holds of the fact's relation; nothing: neither was given. Throws
/// InputError where the fact is not in it, or it is another model's.
std::optional<RelationSets> stored_sets(const NeuronOptions& options, const Fact& fact,
                                        const LoadedModel& loaded, const std::string& base);

/// Locates the fact and a seeded sample of the relation's other facts.
RelationSets located_sets(const NeuronOptions& options, const MakeOptions& make,
                          const std::vector<Fact>& facts, const Fact& fact,
                          const LoadedModel& loaded);

/// The neurons that the update may change. Says what was left alone. Throws InputError: there are
/// none.
std::vector<NeuronId> neurons_to_update(const RelationSets& found, const Fact& fact,
                                        const MakeOptions& make);

}  // namespace engram::cli
