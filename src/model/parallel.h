#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace engram {

/// Runs task(0) .. task(tasks-1) on `workers` threads that take the next task when they are free,
/// each with one BLAS thread. Stops early and throws the first task's exception, or Interrupted
/// when a stop was requested between tasks. Throws UsageError where the system refuses a thread.
void run_tasks(size_t tasks, int workers, const std::function<void(size_t)>& task);
/// The same for tasks that need what belongs to a worker: task(i, worker), 0 <= worker < workers,
/// with `blas_threads` BLAS threads each.
void run_tasks(size_t tasks, int workers, int blas_threads,
               const std::function<void(size_t, size_t)>& task);

/// `threads`, or one per core that this process may use if it is 0 (usable_cores).
int worker_count(int threads);
/// `bytes`, or half of the memory that this process can still take if it is 0 (usable_memory).
int64_t memory_budget(int64_t bytes);

}  // namespace engram
