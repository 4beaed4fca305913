#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace engram::testing {

/// `engram` in a fork of a process that has loaded the libraries and computed nothing. To start the
/// program takes a quarter of a second, a whole one under a sanitizer, and most tests start it
/// several times; a fork takes a few milliseconds and runs the same code with this process' folder
/// and environment.
class ForkedProgram {
 public:
  /// Starts it with these arguments, and `out` and `err` as its output. The program has copies of
  /// both. Throws std::runtime_error where it cannot be started.
  ForkedProgram(const std::vector<std::string>& arguments, int out, int err);
  ~ForkedProgram();
  ForkedProgram(const ForkedProgram&) = delete;
  ForkedProgram& operator=(const ForkedProgram&) = delete;
  /// Its number, which nothing else gets while this object is there.
  [[nodiscard]] pid_t pid() const { return pid_; }
  /// Waits until it has ended: its exit code, or 128 + the signal that killed it.
  int wait();

 private:
  int end_ = -1;  ///< where its number and its code come from
  pid_t pid_ = -1;
};

}  // namespace engram::testing
