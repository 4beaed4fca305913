#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "cli/common.h"
#include "engram/neurons/locate.h"
#include "engram/text/facts.h"

namespace engram::cli {

struct LocateCommandOptions {
  CommonOptions common;
  std::string model;
  std::string facts;  ///< fact set: a .jsonl file or a ParaRel folder
  std::string preset = "dai2022";
  AttributionOptions attribution;
  NeuronPlace at = NeuronPlace::kAnswer;
  // Thresholds that replace the preset's.
  std::optional<double> ratio, share, step, fewest, most;
  std::optional<bool> above_ratio, above_share, adapt;
  std::optional<int64_t> min_prompts, min_bag, passes;
  FactChoice choice;
  double held_out_share = FactSetOptions().held_out_share;  ///< of a ParaRel folder
  bool strict = false;
  std::string run;       ///< file of a run, empty: none
  std::string out;       ///< JSON Lines file, empty: none
  std::string scores;    ///< .npy file of all scores, empty: none
  int64_t show = 10;     ///< facts to print
  bool prompts = false;  ///< with their prompts
};

void add_locate_command(CLI::App& app);

}  // namespace engram::cli
