#pragma once

#include <CLI/CLI.hpp>

namespace engram::cli {

/// Adds `engram export`.
void add_export_command(CLI::App& app);

}  // namespace engram::cli
