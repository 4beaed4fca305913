#include "model/parallel.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "engram/base/interrupt.h"
#include "engram/base/machine.h"
#include "engram/base/workers.h"

namespace engram {

void run_tasks(size_t tasks, int workers, int blas_threads,
               const std::function<void(size_t, size_t)>& task) {
  if (tasks == 0) return;
  // OpenMP ends a program that it cannot have its threads in; more than there are cores only wait.
  const int each = std::min(blas_threads, usable_cores());
  const int before = at::get_num_threads();
  // MKL's number is that of the process.
  struct Restore {
    int threads;
    ~Restore() { at::set_num_threads(threads); }
  } const restore{before};
  const auto count = static_cast<int>(std::min(tasks, static_cast<size_t>(std::max(workers, 1))));
  Workers(count, [each] { at::set_num_threads(each); }).run(tasks, [&](size_t mine, size_t worker) {
    Interrupt::check();
    task(mine, worker);
  });
}

void run_tasks(size_t tasks, int workers, const std::function<void(size_t)>& task) {
  run_tasks(tasks, workers, 1, [&](size_t mine, size_t /*worker*/) { task(mine); });
}

int worker_count(int threads) { return threads > 0 ? threads : usable_cores(); }

int64_t memory_budget(int64_t bytes) { return bytes > 0 ? bytes : usable_memory() / 2; }

}  // namespace engram
