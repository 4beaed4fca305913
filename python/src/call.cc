#include "call.h"

#include <ATen/Parallel.h>
#include <c10/util/Exception.h>
#include <signal.h>

#include <exception>
#include <memory>
#include <string>

#include "engram/base/interrupt.h"
#include "engram/error.h"

namespace nb = nanobind;

namespace engram::python {
namespace {

/// Calls at work on the main thread; a progress function may call again.
int depth = 0;
/// The host's handler, while ours is in its place.
struct sigaction before {};
bool installed = false;

/// The host's handler first: whichever thread the signal comes to, Python knows of it before the
/// library stops. Python's own takes a number; libraries put others before it that take more.
void on_interrupt(int number, siginfo_t* info, void* context) {
  if ((before.sa_flags & SA_SIGINFO) != 0) {
    before.sa_sigaction(number, info, context);
  } else {
    before.sa_handler(number);
  }
  Interrupt::request();
}

bool on_main_thread() {
  const nb::object threading = nb::module_::import_("threading");
  return threading.attr("current_thread")().is(threading.attr("main_thread")());
}

}  // namespace

Guard::Guard() : threads_(at::get_num_threads()), main_(on_main_thread()) {
  if (!main_ || depth++ > 0) return;
  Interrupt::clear();
  sigaction(SIGINT, nullptr, &before);
  // Who ignores Ctrl-C, or lets it end the process, keeps that.
  const bool handled = (before.sa_flags & SA_SIGINFO) != 0 ||
                       (before.sa_handler != SIG_IGN && before.sa_handler != SIG_DFL);
  if (!handled) return;
  struct sigaction action = before;
  action.sa_flags |= SA_SIGINFO;
  action.sa_sigaction = on_interrupt;
  sigaction(SIGINT, &action, nullptr);
  installed = true;
}

Guard::~Guard() {
  if (main_ && --depth == 0) {
    if (installed) sigaction(SIGINT, &before, nullptr);
    installed = false;
    Interrupt::clear();
  }
  if (at::get_num_threads() != threads_) at::set_num_threads(threads_);
}

std::function<void(int64_t)> progress_of(const nb::object& function) {
  if (function.is_none()) return {};
  // The last copy may go on a thread without the lock.
  const std::shared_ptr<nb::object> kept(new nb::object(function), [](nb::object* held) {
    const nb::gil_scoped_acquire locked;
    delete held;
  });
  return [kept](int64_t number) {
    const nb::gil_scoped_acquire locked;
    (*kept)(number);
  };
}

namespace {

/// The classes of engram.errors, for as long as the process lives.
struct Classes {
  nb::handle base, usage, input, file, interrupted, internal;
};
Classes classes;

void raise(nb::handle type, const std::string& message) {
  PyErr_SetString(type.ptr(), message.c_str());
}

/// Python has a KeyboardInterrupt waiting where Ctrl-C was what stopped the library. It becomes
/// ours, which says what is kept; whatever else a host's handler raises goes on as it is.
void raise_interrupted(const std::string& message) {
  if (PyErr_CheckSignals() != 0) {
    if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) == 0) return;
    PyErr_Clear();
  }
  raise(classes.interrupted, message);
}

void translate(const std::exception_ptr& thrown, void* /*payload*/) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Interrupted& error) {
    raise_interrupted(error.what());
  } catch (const UsageError& error) {
    raise(classes.usage, error.what());
  } catch (const InputError& error) {
    raise(classes.input, error.what());
  } catch (const FileError& error) {
    raise(classes.file, error.what());
  } catch (const Error& error) {
    raise(classes.internal, error.what());
  } catch (const c10::Error& error) {
    const std::string what = error.what_without_backtrace();
    if (what.find("can't allocate memory") != std::string::npos ||
        what.find("out of memory") != std::string::npos) {
      raise(PyExc_MemoryError, what);
      return;
    }
    raise(classes.internal, what);
  }
}

}  // namespace

void register_errors(nb::module_& module) {
  const nb::module_ errors = nb::module_::import_("engram.errors");
  // Never given back: an exception may be raised while the interpreter ends.
  const auto take = [&](const char* name) { return nb::object(errors.attr(name)).release(); };
  classes = {take("EngramError"), take("UsageError"),  take("InputError"),
             take("FileError"),   take("Interrupted"), take("InternalError")};
  nb::register_exception_translator(translate);
  module.attr("__doc__") = "The C++ library; engram's modules are its interface.";
}

}  // namespace engram::python
