#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "cli/common.h"

namespace engram::cli {

struct MemoriesCommandOptions {
  CommonOptions common;
  std::string model;
  std::string corpus;
  int64_t keys = 100;             ///< of every layer
  int64_t masks = 4;              ///< of every window of a masked model
  int64_t limit = 0;              ///< lines, 0: all
  std::optional<int64_t> window;  ///< tokens; nothing: 256, of a masked model 64
};

void add_memories_command(CLI::App& app);

}  // namespace engram::cli
