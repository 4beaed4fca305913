#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engram/neurons/located.h"
#include "engram/statistics/bootstrap.h"

// Two sets of located neurons on the same facts: of two rules, two checkpoints, two programs.
namespace engram {

/// A fact whose sets differ. Names are those of the file that has them.
struct DifferingFact {
  std::string relation, subject, object, uuid;
  std::vector<NeuronId> only_a, only_b;  ///< sorted
  /// Those of `only_a` and `only_b` that are there, or are not, because of scores near a threshold
  /// (RelationSelection::near), as the file says that has scores.
  std::vector<NeuronId> near;
  double jaccard = 0;
  [[nodiscard]] bool all_near() const { return near.size() == only_a.size() + only_b.size(); }
};

/// Agreement over the facts that both files have.
struct Agreement {
  std::string relation;  ///< empty: all relations
  int64_t facts = 0;
  int64_t identical = 0;    ///< facts with the same set
  int64_t near_only = 0;    ///< others, all of whose differences are near a threshold
  int64_t differences = 0;  ///< neurons that one set has and the other has not
  int64_t near = 0;         ///< of those, near a threshold
  Interval identical_share;
  Interval jaccard;  ///< |A and B| / |A or B|, mean over facts; two empty sets agree: 1
  Interval neurons_a, neurons_b;  ///< neurons per fact
};

struct Comparison {
  Agreement all;
  std::vector<Agreement> relations;  ///< by name
  std::vector<DifferingFact> differing;
  int64_t only_a = 0;  ///< facts that are in one file alone
  int64_t only_b = 0;
  int64_t unrefined = 0;    ///< facts that one file did not refine, compared by their prompts' sets
  bool near_known = false;  ///< a file says which neurons are near a threshold
};

/// Facts are joined by their uuid where a file has nothing else, and else by relation, subject and
/// object. Of facts with too few prompts to be refined the prompts' own sets are compared, where
/// the file says them. Intervals are those of bootstrap(). Throws InputError where the files have
/// no fact in common, one names the sizes of another model than the other, or a fact has no uuid
/// where one is needed.
Comparison compare_located(const LocatedFile& a, const LocatedFile& b,
                           const BootstrapOptions& options = {});

}  // namespace engram
