#pragma once

#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace engram {

/// Threads that take pieces of work when they are free, as long as the object lives.
class Workers {
 public:
  /// Starts `count` threads, at least 1, each of which calls `begin` first, if there is one. Throws
  /// UsageError where the system refuses a thread.
  explicit Workers(int count, std::function<void()> begin = {});
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  /// Calls work(item, worker) for item = 0..items-1, 0 <= worker < count, and returns when all are
  /// done. After an exception no further piece begins, and the first one is thrown here. One call
  /// at a time.
  void run(size_t items, const std::function<void(size_t item, size_t worker)>& work);

 private:
  void loop(size_t worker);

  std::function<void()> begin_;
  std::mutex mutex_;
  std::condition_variable start_, done_;
  const std::function<void(size_t, size_t)>* work_ = nullptr;
  size_t next_ = 0, items_ = 0;  ///< of the pieces of this run
  size_t busy_ = 0;              ///< workers with a piece in hand
  bool stop_ = false;
  std::exception_ptr error_;
  std::vector<std::jthread> threads_;  ///< last: they use all of the above
};

}  // namespace engram
