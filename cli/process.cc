#include "cli/process.h"

#include <c10/util/Exception.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <iostream>
#include <new>
#include <sstream>
#include <system_error>

#include "cli/common.h"
#include "cli/usage.h"
#include "engram/base/file.h"
#include "engram/base/interrupt.h"
#include "engram/base/utf8.h"

#if defined(__SANITIZE_ADDRESS__)
#define ENGRAM_LEAKS_ARE_LOOKED_FOR
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ENGRAM_LEAKS_ARE_LOOKED_FOR
#endif
#endif
#ifdef ENGRAM_LEAKS_ARE_LOOKED_FOR
#include <sanitizer/lsan_interface.h>
#endif

namespace engram::cli {
namespace {

/// First Ctrl-C: finish in good order. Second: leave at once. A closed terminal sends its SIGHUP
/// twice, by the system and by the shell, so that one never cuts the good order short.
void on_signal(int number) {
  if (Interrupt::requested() && number != SIGHUP) _exit(static_cast<int>(ExitCode::kInterrupted));
  Interrupt::request();
}

void set_up_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  struct sigaction before {};
  sigaction(SIGHUP, nullptr, &before);
  const bool under_nohup = before.sa_handler == SIG_IGN;
  if (!under_nohup) sigaction(SIGHUP, &action, nullptr);
  // A reader that went away (`| head`) fails the write: files are cleaned up, and the program ends
  // with the code that the signal would have given.
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, nullptr);
}

/// Where a standard stream is closed, the next file opened would take its number and be written
/// into by mistake. What is put there instead refuses all reading and writing.
void set_up_streams() {
  for (int number = 0; number <= 2; ++number) {
    if (::fcntl(number, F_GETFD) != -1) continue;
    const int flags = number == 0 ? O_WRONLY : O_RDONLY;
    if (::open("/dev/null", flags) != number) _exit(static_cast<int>(ExitCode::kFile));
  }
}

/// The line that ends a program; `message` may be empty.
int fail(const std::string& program, ExitCode code, const std::string& kind,
         const std::string& message) {
  const std::string line =
      program + ": " + kind + (message.empty() ? "" : ": " + printable(message)) + "\n";
  std::fputs(line.c_str(), stderr);
  return static_cast<int>(code);
}

int fail_by_bug(const std::string& program, const std::string& what) {
  return fail(program, ExitCode::kInternal, "internal error",
              what + " (this is a bug in " + program +
                  " " ENGRAM_VERSION ": please report it with this line and the command)");
}

int out_of_memory(const std::string& program) {
  return fail(program, ExitCode::kInternal, "error",
              "out of memory: a smaller --memory or fewer --threads may help");
}

/// The command that `words` name, if it has commands of its own and is asked for nothing else.
const CLI::App* bare_group(const CLI::App& app, const std::vector<std::string>& words) {
  const CLI::App* at = &app;
  for (const std::string& word : words) {
    const auto commands = at->get_subcommands({});
    const auto found = std::ranges::find(commands, word, &CLI::App::get_name);
    if (found == commands.end()) return nullptr;
    at = *found;
  }
  return at->get_subcommands({}).empty() ? nullptr : at;
}

/// Where to read more about the command that `words` name.
std::string see_help(const CLI::App& app, const std::vector<std::string>& words) {
  const bool teaches = std::ranges::any_of(
      app.get_subcommands({}), [](const CLI::App* other) { return other->get_name() == "help"; });
  const std::string path = command_of(app, words);
  const std::string rest = path.substr(app.get_name().size());
  return "see `" + (teaches ? app.get_name() + " help" + rest : path + " --help") + "`";
}

/// CLI11's own exceptions: requests for help and the version, and usage errors, which are thrown.
void on_parse_error(const CLI::App& app, const CLI::ParseError& error,
                    const std::vector<std::string>& words) {
  if (error.get_exit_code() == 0) {
    std::ostringstream out;
    std::ostringstream remarks;
    app.exit(error, out, remarks);
    print(out.str());
    flush_output();
    return;
  }
  std::string message = error.what();
  const std::vector<std::string> extras = app.remaining(true);
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr && !extras.empty()) {
    message = "unexpected argument \"" + extras.front() + "\"";
  }
  throw UsageError(message + " (" + see_help(app, words) + ")");
}

thread_local std::string typed;

}  // namespace

const std::string& typed_command() { return typed; }

void run_words(const std::string& name, const std::string& description,
               const std::function<void(CLI::App&)>& set_up,
               const std::vector<std::string>& words) {
  typed = name;
  for (const std::string& word : words) typed += " " + word;
  CLI::App app(description, name);
  app.require_subcommand(1);
  set_up(app);
  if (const CLI::App* group = bare_group(app, words)) {
    const std::string path = command_of(app, words);
    print(group->help(
        path.substr(0, path.size() - std::min(path.size(), group->get_name().size() + 1))));
    flush_output();
    return;
  }
  const std::string unknown = unknown_words(app, words);
  if (!unknown.empty()) throw UsageError(unknown + "; " + see_help(app, words));
  try {
    app.parse(std::vector<std::string>(words.rbegin(), words.rend()));
  } catch (const CLI::ParseError& error) {
    on_parse_error(app, error, words);
    return;
  }
  std::cout.flush();
  flush_output();
}

int run_program(const std::string& name, const std::string& description,
                const std::function<void(CLI::App&)>& set_up, int argc, char** argv) {
  set_up_streams();
  set_up_signals();
  report_lost_maps(name.c_str());
  try {
    run_words(name, description, set_up, {argv + std::min(argc, 1), argv + argc});
    return static_cast<int>(ExitCode::kDone);
  } catch (const ReaderLeft& left) {
    return static_cast<int>(left.exit_code());
  } catch (const Interrupted& error) {
    // Where nothing is left to say about what is kept, the message is the word itself.
    const std::string what = error.what();
    return fail(name, error.exit_code(), "interrupted", what == "interrupted" ? "" : what);
  } catch (const InternalError& error) {
    return fail_by_bug(name, error.what());
  } catch (const Error& error) {
    return fail(name, error.exit_code(), "error", error.what());
  } catch (const c10::Error& error) {
    // libtorch has no type of its own for this on the CPU.
    const std::string what = error.what_without_backtrace();
    if (what.find("can't allocate memory") != std::string::npos) return out_of_memory(name);
    return fail_by_bug(name, what);
  } catch (const std::bad_alloc&) {
    return out_of_memory(name);
  } catch (const std::system_error& error) {
    if (error.code() != std::errc::resource_unavailable_try_again) {
      return fail_by_bug(name, error.what());
    }
    return fail(name, ExitCode::kFile, "error",
                "the system refuses to start a thread (see `ulimit -u` and -v)");
  } catch (const std::exception& error) {
    return fail_by_bug(name, error.what());
  } catch (...) {
    return fail_by_bug(name, "an exception of an unknown type");
  }
}

void end_process(int code) {
  std::cout.flush();
  std::fflush(nullptr);
#ifdef ENGRAM_LEAKS_ARE_LOOKED_FOR
  if (__lsan_do_recoverable_leak_check() != 0) code = 23;  // as the sanitizer itself does
#endif
  std::_Exit(code);
}

}  // namespace engram::cli
