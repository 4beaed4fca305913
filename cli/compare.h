#pragma once

#include <CLI/CLI.hpp>

namespace engram::cli {

/// Adds `engram compare`.
void add_compare_command(CLI::App& app);

}  // namespace engram::cli
