#include "model/parallel.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engram/base/interrupt.h"

namespace engram {

void run_tasks(size_t tasks, int workers, int blas_threads,
               const std::function<void(size_t, size_t)>& task) {
  std::atomic<size_t> next{0};
  std::atomic<bool> stop{false};
  std::exception_ptr error;
  std::mutex mutex;
  const auto work = [&](size_t worker) {
    at::set_num_threads(blas_threads);
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
  std::vector<std::thread> threads;
  const size_t count = std::min(tasks, static_cast<size_t>(std::max(workers, 1)));
  threads.reserve(count);
  for (size_t i = 0; i < count; ++i) threads.emplace_back(work, i);
  for (std::thread& thread : threads) thread.join();
  at::set_num_threads(before);  // MKL's number is that of the process
  if (error) std::rethrow_exception(error);
}

void run_tasks(size_t tasks, int workers, const std::function<void(size_t)>& task) {
  run_tasks(tasks, workers, 1, [&](size_t mine, size_t /*worker*/) { task(mine); });
}

int worker_count(int threads) {
  if (threads > 0) return threads;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

int64_t memory_budget(int64_t bytes) {
  if (bytes > 0) return bytes;
  std::ifstream info("/proc/meminfo");
  std::string key;
  int64_t kilobytes = 0;
  std::string rest;
  while (info >> key >> kilobytes && std::getline(info, rest)) {
    if (key == "MemAvailable:") return kilobytes * 1024 / 2;
  }
  return int64_t{1} << 30;
}

}  // namespace engram
