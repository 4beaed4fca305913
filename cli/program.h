#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace engram::cli {

/// The command `engram` as a program; the Python package runs it in its own process. Returns the
/// exit code.
int run_engram(int argc, char** argv);

/// The command with the words behind its name, as a function: what it prints goes to `out`, and
/// what goes wrong is thrown. Signals are the caller's business.
void call_engram(const std::vector<std::string>& words,
                 const std::function<void(std::string_view)>& out);

}  // namespace engram::cli
