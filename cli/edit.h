#pragma once

#include <CLI/CLI.hpp>

namespace engram::cli {

/// `engram edit update|erase|apply|list|undo|diff|export`.
void add_edit_command(CLI::App& app);

}  // namespace engram::cli
