#pragma once

#include <atomic>

namespace engram {

/// Set by the command's signal handler, read between small pieces of work by everything that runs
/// long. Safe to set from a signal handler and to read from any thread.
class Interrupt {
 public:
  static void request() noexcept { flag().store(true, std::memory_order_relaxed); }
  static void clear() noexcept { flag().store(false, std::memory_order_relaxed); }
  [[nodiscard]] static bool requested() noexcept { return flag().load(std::memory_order_relaxed); }
  /// Throws Interrupted if a stop was requested.
  static void check();

 private:
  static std::atomic<bool>& flag() noexcept;
};

}  // namespace engram
