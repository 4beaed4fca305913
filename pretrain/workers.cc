#include "pretrain/workers.h"

#include <ATen/Parallel.h>

#include <algorithm>

namespace engram::pretrain {

Workers::Workers(int count) {
  if (count <= 0) count = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  for (int i = 0; i < count; ++i) threads_.emplace_back([this] { loop(); });
}

Workers::~Workers() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  start_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Workers::run(int64_t items, const std::function<void(int64_t)>& work) {
  std::unique_lock lock(mutex_);
  work_ = &work;
  next_ = 0;
  items_ = open_ = items;
  start_.notify_all();
  done_.wait(lock, [this] { return open_ == 0; });
  work_ = nullptr;
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void Workers::loop() {
  at::set_num_threads(1);  // counts for the calling thread
  std::unique_lock lock(mutex_);
  while (true) {
    start_.wait(lock, [this] { return stop_ || (work_ != nullptr && next_ < items_); });
    if (stop_) return;
    const int64_t item = next_++;
    const auto* work = work_;
    lock.unlock();
    std::exception_ptr error;
    try {
      (*work)(item);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    if (error && !error_) error_ = error;
    if (--open_ == 0) done_.notify_all();
  }
}

}  // namespace engram::pretrain
