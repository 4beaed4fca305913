#include "intervention/parallel.h"

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

void run_tasks(size_t tasks, int workers, const std::function<void(size_t)>& task) {
  std::atomic<size_t> next{0};
  std::atomic<bool> stop{false};
  std::exception_ptr error;
  std::mutex mutex;
  const auto work = [&] {
    at::set_num_threads(1);
    try {
      while (!stop.load()) {
        const size_t mine = next.fetch_add(1);
        if (mine >= tasks) return;
        Interrupt::check();
        task(mine);
      }
    } catch (...) {
      const std::scoped_lock lock(mutex);
      if (!error) error = std::current_exception();
      stop.store(true);
    }
  };
  // The caller's own thread keeps its number of BLAS threads: all work is done on others.
  std::vector<std::thread> threads;
  const size_t count = std::min(tasks, static_cast<size_t>(std::max(workers, 1)));
  threads.reserve(count);
  for (size_t i = 0; i < count; ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  if (error) std::rethrow_exception(error);
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
