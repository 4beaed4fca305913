#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace engram {

/// Makes this process the only writer of a run for as long as the object lives; the system lets go
/// of it however the process ends. The lock is on a file beside the run, RUN.db-lock, which names
/// the holder and goes with the object (kill -9 leaves it there, without a lock on it).
class WriterLock {
 public:
  /// Throws FileError at once where another object, of any process, holds it.
  explicit WriterLock(const std::filesystem::path& run);
  ~WriterLock();
  WriterLock(const WriterLock&) = delete;
  WriterLock& operator=(const WriterLock&) = delete;

  /// "host:process" of the holder, or nothing. Takes no lock itself.
  static std::optional<std::string> holder(const std::filesystem::path& run);

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

/// "host:process" of this process.
std::string this_process();

}  // namespace engram
