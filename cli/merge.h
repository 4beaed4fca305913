#pragma once

#include <CLI/CLI.hpp>

namespace engram::cli {

/// Adds `engram merge`.
void add_merge_command(CLI::App& app);

}  // namespace engram::cli
