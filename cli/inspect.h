#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "cli/common.h"

namespace engram::cli {

struct InspectOptions {
  CommonOptions common;
  std::string model;
};

void add_inspect_command(CLI::App& app);

}  // namespace engram::cli
