#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace engram::cli {

/// Sets up what `--help` prints, the same on every version of CLI11. To be called before commands
/// are added, which inherit it.
void set_up_help(CLI::App& app);

/// Adds `engram help [COMMAND]`.
void add_help_command(CLI::App& app);

}  // namespace engram::cli
