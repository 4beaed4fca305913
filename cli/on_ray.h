#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace engram::cli {

/// Hands `reproduce` with all its options to the Python package, which spreads it over the Ray
/// cluster at `address` ("auto": the one that this machine belongs to). Python takes the place of
/// this process: $ENGRAM_PYTHON, else python3. Throws FileError where it cannot be started, and
/// UsageError where this process is somebody else's.
[[noreturn]] void reproduce_on_ray(const CLI::App& command, const std::string& address);

}  // namespace engram::cli
