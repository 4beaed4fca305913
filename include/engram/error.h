#pragma once

#include <stdexcept>
#include <string>

namespace engram {

/// Exit codes of the command line, fixed because scripts rely on them. The library only throws;
/// the command maps each error type to its code.
enum class ExitCode : int {
  kDone = 0,
  kUsage = 2,
  kInput = 3,
  kFile = 4,
  kInternal = 70,
  kInterrupted = 130,
  kReaderLeft = 141,  ///< as a program ends that SIGPIPE kills
};

/// Base of everything the library throws on purpose. `what()` is one line for a person.
class Error : public std::runtime_error {
 public:
  [[nodiscard]] ExitCode exit_code() const noexcept { return code_; }

 protected:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}

 private:
  ExitCode code_;
};

/// An invalid option or argument (exit code 2).
class UsageError : public Error {
 public:
  explicit UsageError(const std::string& message) : Error(ExitCode::kUsage, message) {}
};

/// A model, fact set or prompt that cannot be used as it is (exit code 3). The message names the
/// file, the line where there is one, what was found and what was expected.
class InputError : public Error {
 public:
  explicit InputError(const std::string& message) : Error(ExitCode::kInput, message) {}
};

/// A file or disk that cannot be read or written (exit code 4).
class FileError : public Error {
 public:
  explicit FileError(const std::string& message) : Error(ExitCode::kFile, message) {}
};

/// A broken invariant of ours (exit code 70).
class InternalError : public Error {
 public:
  explicit InternalError(const std::string& message) : Error(ExitCode::kInternal, message) {}
};

/// The user asked to stop (exit code 130). The message says what is kept.
class Interrupted : public Error {
 public:
  explicit Interrupted(const std::string& message) : Error(ExitCode::kInterrupted, message) {}
};

}  // namespace engram
