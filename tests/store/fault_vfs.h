#pragma once

#include <chrono>
#include <cstdint>

namespace engram::testing {

/// While it lives, every SQLite file of this process is on a disk that takes `writes` more writes
/// and then fails each with `code` (SQLITE_FULL, SQLITE_IOERR_WRITE, ...).
class FaultyDisk {
 public:
  FaultyDisk(int64_t writes, int code);
  /// One that never fails, and takes this long for every write.
  explicit FaultyDisk(std::chrono::microseconds delay);
  ~FaultyDisk();
  FaultyDisk(const FaultyDisk&) = delete;
  FaultyDisk& operator=(const FaultyDisk&) = delete;
  /// Has it failed?
  [[nodiscard]] bool failed() const;
};

}  // namespace engram::testing
