#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engram/run/experiment.h"

namespace engram {

/// Experiment of the unit that holds what belongs to a run as a whole: no experiment's result.
constexpr std::string_view kWholeUnit = "problems";

/// Which part of the work this process does.
struct RunScope {
  std::vector<std::string> only;  ///< experiments; empty: all. What they need is run too.
  std::optional<Intervention> intervention;  ///< effects of one more
  int64_t shard = 1;                         ///< I of I/N: the relations at places I-1, I-1+N, ...
  int64_t shards = 1;
};

/// Called after every part.
struct RunProgress {
  /// An experiment with work to do begins: its name and facts, those done before included.
  std::function<void(std::string_view experiment, int64_t facts, int64_t done)> on_stage;
  /// So many more of its facts are done.
  std::function<void(int64_t facts)> on_facts;
};

/// What execute_run() did.
struct RunSummary {
  int64_t done = 0;                                           ///< units that it did
  int64_t skipped = 0;                                        ///< units that were done before
  std::vector<std::pair<std::string, std::string>> left_out;  ///< experiment, reason
};

/// The identity of a run: options, model and data as RunIdentity; `model_fingerprint` as
/// model_fingerprint() gives it; and the algorithm version of every experiment, "algorithm.NAME".
/// Reads the texts and the corpus to hash them. Throws FileError.
RunIdentity run_identity(const RunOptions& options, const std::string& fingerprint,
                         const std::vector<Fact>& facts);

/// Does what is not done yet: experiment after experiment, relation after relation, part after
/// part; each part is written whole. Experiments across relations run last and not in a shard.
/// Throws UsageError (an unknown experiment, a shard outside 1..N), what the experiments throw, and
/// Interrupted (what is written stays).
RunSummary execute_run(const RunContext& run, const RunScope& scope,
                       const RunProgress& progress = {});

}  // namespace engram
