#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace engram::pretrain {

/// A few threads that live as long as the training, each with one BLAS thread of its own.
class Workers {
 public:
  /// `count` >= 1; 0 takes one per core.
  explicit Workers(int count);
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  /// Calls `work(i)` for i = 0..items-1, spread over the threads; returns when all are done.
  /// Rethrows the first exception of a call.
  void run(int64_t items, const std::function<void(int64_t)>& work);

 private:
  void loop();
  std::mutex mutex_;
  std::condition_variable start_, done_;
  const std::function<void(int64_t)>* work_ = nullptr;
  int64_t next_ = 0, items_ = 0, open_ = 0;
  bool stop_ = false;
  std::exception_ptr error_;
  std::vector<std::thread> threads_;
};

}  // namespace engram::pretrain
