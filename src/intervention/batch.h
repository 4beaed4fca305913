#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engram/intervention/measure.h"
#include "passes/passes.h"

namespace engram {

/// One unchanged run of each chunk of `clozes`, on workers that fit the memory; `use` receives the
/// chunk's prompts, the run, and the worker's passes, from any worker.
void run_unchanged(const Model& model, std::span<const Cloze> clozes, const MeasureOptions& options,
                   Backward backward,
                   const std::function<void(const std::vector<size_t>& index, const Base& base,
                                            Passes& passes)>& use);

/// The answers of rows out of those of their k tokens, [rows*k].
std::vector<Answered> joint_answers(std::span<const kernels::TokenAnswer> tokens, int64_t targets,
                                    int64_t vocabulary);

}  // namespace engram
