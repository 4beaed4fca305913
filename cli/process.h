#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

namespace engram::cli {

/// What every program of ours does around its commands: signals, standard streams, parsing, and
/// one line on stderr with the right exit code for whatever is thrown. `set_up` adds the commands,
/// which run as their callbacks. Returns the exit code.
int run_program(const std::string& name, const std::string& description,
                const std::function<void(CLI::App&)>& set_up, int argc, char** argv);

/// The command that this thread runs, as it was typed: name and words, with spaces between.
const std::string& typed_command();

/// Ends the process without the destructors of libraries: libtorch's take 0.15 s to give back what
/// the system takes anyway. Under a leak sanitizer leaks are looked for before, and change the
/// code.
[[noreturn]] void end_process(int code);

/// The commands alone, for a program that has signals and streams of its own: parses `words`, which
/// stand behind the program's name, and runs what they say. Throws what the commands throw, and
/// UsageError for words that they do not take.
void run_words(const std::string& name, const std::string& description,
               const std::function<void(CLI::App&)>& set_up, const std::vector<std::string>& words);

}  // namespace engram::cli
