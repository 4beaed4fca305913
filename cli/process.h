#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

namespace engram::cli {

/// What every program of ours does around its commands: signals, standard streams, parsing, and
/// one line on stderr with the right exit code for whatever is thrown. `set_up` adds the commands,
/// which run as their callbacks. Returns the exit code.
int run_program(const std::string& name, const std::string& description,
                const std::function<void(CLI::App&)>& set_up, int argc, char** argv);

}  // namespace engram::cli
