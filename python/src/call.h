#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <functional>

namespace engram::python {

/// What surrounds every call that works: while it lives on Python's main thread, Ctrl-C also asks
/// the library to stop, beside what Python makes of it; and libtorch's number of threads is at the
/// end what it was.
class Guard {
 public:
  Guard();
  ~Guard();
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

 private:
  int threads_;
  bool main_;
};

/// Runs `work` without the lock of the interpreter.
template <class Work>
auto call(const Work& work) {
  const Guard guard;
  const nanobind::gil_scoped_release unlocked;
  return work();
}

/// A Python function as one that any thread may call with a number; what it raises is thrown there.
/// Empty for None.
std::function<void(int64_t)> progress_of(const nanobind::object& function);

/// Registers the exceptions of the module `errors`: engram.errors.
void register_errors(nanobind::module_& module);

}  // namespace engram::python
