#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "support/temporary.h"

namespace engram::testing {

/// What a run of the program left.
struct Outcome {
  int code = -1;  ///< exit code; 128 + the signal that killed it
  std::string out;
  std::string err;
  double seconds = 0;
};

/// How a run differs from the plain one.
struct RunSetup {
  std::string program = "engram";  ///< another of the build's programs
  std::string stdout_path;         ///< a file or device instead of a pipe; "-" closes stdout
  std::chrono::milliseconds signal_after{0};  ///< sends `signals` one after the other, from then on
  std::vector<int> signals;
  size_t address_space = 0;    ///< bytes, as `ulimit -v` limits them; 0: no limit
  bool reader_leaves = false;  ///< stdout is a pipe that nobody reads
};

/// Runs `engram` with these arguments: where nothing but what comes out counts, in a fork (see
/// ForkedProgram), else as a program of its own. $ENGRAM_BINARY names another binary than the
/// build's, which is then always run; beside it lie the other programs.
Outcome run_engram(const std::vector<std::string>& arguments, const RunSetup& setup = {});

/// The folder of a stored tiny checkpoint ("bert-tiny").
std::string tiny_model(const std::string& name = "bert-tiny");

/// A copy of a stored tiny checkpoint in `folder`, to be damaged.
std::string copy_of_model(const TemporaryFolder& folder, const std::string& name = "bert-tiny");

std::string read_text(const std::filesystem::path& file);
void write_text(const std::filesystem::path& file, const std::string& text);

/// Lines of a text, without the newlines.
std::vector<std::string> lines_of(const std::string& text);

}  // namespace engram::testing
