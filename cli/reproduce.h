#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "cli/common.h"
#include "cli/paths.h"
#include "engram/run/run.h"

namespace engram::cli {

/// A command's options about a run of experiments.
struct RunCommandOptions {
  CommonOptions common;
  std::string model;
  std::string facts;   ///< fact set: a .jsonl file or a ParaRel folder
  std::string run;     ///< the run's file
  RunOptions options;  ///< but for texts, corpus and what belongs to the machine
  RunScope scope;
  std::vector<NamedPath> outputs;  ///< other files that the command writes
};

/// What is done with a finished run; the facts have left `set` for the context.
using RunLook = std::function<void(const RunContext&, const RunSummary&, const FactSet& set)>;

/// Opens or begins the run and does what is left of it, with progress and remarks; then calls
/// `look`. Texts and corpus default to those of the model's folder, where it has some.
void perform_run(RunCommandOptions options, const RunLook& look);

void add_reproduce_command(CLI::App& app);

}  // namespace engram::cli
