#pragma once

#include <CLI/CLI.hpp>

namespace engram::cli {

void add_audit_command(CLI::App& app);

}  // namespace engram::cli
