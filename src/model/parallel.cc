#include "model/parallel.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "engram/base/interrupt.h"
#include "engram/base/machine.h"
#include "engram/error.h"

namespace engram {

void run_tasks(size_t tasks, int workers, int blas_threads,
               const std::function<void(size_t, size_t)>& task) {
  std::atomic<size_t> next{0};
  std::atomic<bool> stop{false};
  std::exception_ptr error;
  std::mutex mutex;
  // OpenMP ends a program that it cannot have its threads in; more than there are cores only wait.
  const int each = std::min(blas_threads, usable_cores());
  const auto work = [&](size_t worker) {
    at::set_num_threads(each);
    try {
      while (!stop.load()) {
        const size_t mine = next.fetch_add(1);
        if (mine >= tasks) return;
        Interrupt::check();
        task(mine, worker);
      }
    } catch (...) {
      const std::scoped_lock lock(mutex);
      if (!error) error = std::current_exception();
      stop.store(true);
    }
  };
  const int before = at::get_num_threads();
  const size_t count = std::min(tasks, static_cast<size_t>(std::max(workers, 1)));
  {
    std::vector<std::jthread> threads;  // joined on every way out
    threads.reserve(count);
    try {
      for (size_t i = 0; i < count; ++i) threads.emplace_back(work, i);
    } catch (const std::system_error& failed) {
      const std::scoped_lock lock(mutex);
      error = std::make_exception_ptr(
          UsageError("cannot start " + std::to_string(count) + " threads, only " +
                     std::to_string(threads.size()) + " (" + failed.code().message() +
                     "): give a smaller --threads, or raise the limits of `ulimit -v` and -u"));
      stop.store(true);
    }
  }
  at::set_num_threads(before);  // MKL's number is that of the process
  if (error) std::rethrow_exception(error);
}

void run_tasks(size_t tasks, int workers, const std::function<void(size_t)>& task) {
  run_tasks(tasks, workers, 1, [&](size_t mine, size_t /*worker*/) { task(mine); });
}

int worker_count(int threads) { return threads > 0 ? threads : usable_cores(); }

int64_t memory_budget(int64_t bytes) { return bytes > 0 ? bytes : usable_memory() / 2; }

}  // namespace engram
