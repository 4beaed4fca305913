#include "engram/base/workers.h"

#include <algorithm>
#include <string>
#include <system_error>
#include <utility>

#include "engram/error.h"

namespace engram {

Workers::Workers(int count, std::function<void()> begin) : begin_(std::move(begin)) {
  const auto wanted = static_cast<size_t>(std::max(count, 1));
  threads_.reserve(wanted);
  try {
    for (size_t i = 0; i < wanted; ++i) threads_.emplace_back([this, i] { loop(i); });
  } catch (const std::system_error& failed) {
    {
      const std::scoped_lock lock(mutex_);
      stop_ = true;
    }
    start_.notify_all();
    throw UsageError("cannot start " + std::to_string(wanted) + " threads, only " +
                     std::to_string(threads_.size()) + " (" + failed.code().message() +
                     "): give a smaller --threads, or raise the limits of `ulimit -v` and -u");
  }
}

Workers::~Workers() {
  {
    const std::scoped_lock lock(mutex_);
    stop_ = true;
  }
  start_.notify_all();
}

void Workers::run(size_t items, const std::function<void(size_t, size_t)>& work) {
  std::unique_lock lock(mutex_);
  work_ = &work;
  next_ = 0;
  items_ = items;
  start_.notify_all();
  done_.wait(lock, [this] { return next_ == items_ && busy_ == 0; });
  work_ = nullptr;
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void Workers::loop(size_t worker) {
  if (begin_) begin_();
  std::unique_lock lock(mutex_);
  while (true) {
    start_.wait(lock, [this] { return stop_ || (work_ != nullptr && next_ < items_); });
    if (stop_) return;
    const size_t item = next_++;
    ++busy_;
    const auto* work = work_;
    lock.unlock();
    std::exception_ptr error;
    try {
      (*work)(item, worker);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    --busy_;
    if (error) {
      if (!error_) error_ = error;
      items_ = next_;  // what has not begun is left
    }
    if (next_ == items_ && busy_ == 0) done_.notify_all();
  }
}

}  // namespace engram
