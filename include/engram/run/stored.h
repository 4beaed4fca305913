#pragma once

#include <string_view>

#include "engram/neurons/located.h"
#include "engram/store/run_store.h"

namespace engram {

/// The located sets of a run and the prompts that they come from, by fact id: those of `relation`,
/// or (empty) of all relations whose sets are chosen already. A run does not say which neurons were
/// near a threshold. Throws InputError for a damaged run.
LocatedFile stored_located(RunStore& run, std::string_view relation = {});

}  // namespace engram
