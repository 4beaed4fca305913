#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "cli/common.h"
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
  std::string command;  ///< as typed, for the ledger
};

/// Opens or begins the run and does what is left of it, with progress and remarks. `look`, if any,
/// is called with the finished run.
void perform_run(const RunCommandOptions& options,
                 const std::function<void(const RunContext&, const RunSummary&)>& look = {});

void add_reproduce_command(CLI::App& app);

}  // namespace engram::cli
