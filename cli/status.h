#pragma once

#include <CLI/CLI.hpp>

namespace engram::cli {

/// Adds `engram status`.
void add_status_command(CLI::App& app);

}  // namespace engram::cli
