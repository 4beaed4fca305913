#pragma once

#include <CLI/CLI.hpp>

namespace engram::cli {

/// Adds `engram report`.
void add_report_command(CLI::App& app);

}  // namespace engram::cli
