#pragma once

#include <CLI/CLI.hpp>

namespace engram::cli {

// The commands that make a delta; `edit` is the command they belong to.
void add_edit_update_command(CLI::App& edit);
void add_edit_erase_command(CLI::App& edit);

}  // namespace engram::cli
