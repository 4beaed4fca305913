#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "cli/common.h"

namespace engram::cli {

struct LensOptions {
  CommonOptions common;
  std::string model;
  std::string text;
  std::string answer;
  int64_t top = 5;  ///< tokens shown at each place
  std::string svg;  ///< file for the picture; empty: none
};

void add_lens_command(CLI::App& app);

}  // namespace engram::cli
