// The command `engram`: parses, runs one command, and turns what it throws into an exit code.
#include <c10/util/Exception.h>
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <sstream>

#include "cli/attribute.h"
#include "cli/common.h"
#include "cli/help.h"
#include "cli/inspect.h"
#include "cli/intervene.h"
#include "cli/locate.h"
#include "cli/predict.h"
#include "engram/base/interrupt.h"

namespace engram::cli {
namespace {

/// First Ctrl-C: finish in good order. Second: leave at once.
void on_signal(int /*number*/) {
  if (Interrupt::requested()) _exit(static_cast<int>(ExitCode::kInterrupted));
  Interrupt::request();
}

void set_up_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  // A reader that went away is an error of the write, with a message and a code of its own.
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

int fail(ExitCode code, const std::string& kind, const std::string& message) {
  const std::string line = "engram: " + kind + ": " + printable(message) + "\n";
  std::fputs(line.c_str(), stderr);
  return static_cast<int>(code);
}

int fail_by_bug(const std::string& what) {
  return fail(ExitCode::kInternal, "internal error",
              what + " (this is a bug of engram " ENGRAM_VERSION
                     ": please report it with this line and the command)");
}

/// CLI11's own exceptions: requests for help and the version, and usage errors.
int on_parse_error(const CLI::App& app, const CLI::ParseError& error, int argc, char** argv) {
  if (error.get_exit_code() == 0) {
    std::ostringstream out;
    std::ostringstream remarks;
    app.exit(error, out, remarks);
    print(out.str());
    flush_output();
    return static_cast<int>(ExitCode::kDone);
  }
  const auto chosen = app.get_subcommands();
  if (!chosen.empty()) {
    return fail(
        ExitCode::kUsage, "error",
        std::string(error.what()) + " (see `engram help " + chosen.front()->get_name() + "`)");
  }
  if (argc < 2) {
    return fail(ExitCode::kUsage, "error", "a command is required; see `engram help`");
  }
  return fail(ExitCode::kUsage, "error",
              "there is no command \"" + std::string(argv[1]) + "\"; see `engram help`");
}

int run(int argc, char** argv) {
  CLI::App app("knowledge neurons: find, test and edit them", "engram");
  set_up_help(app);
  app.require_subcommand(1);
  add_inspect_command(app);
  add_predict_command(app);
  add_attribute_command(app);
  add_locate_command(app);
  add_intervene_command(app);
  add_help_command(app);
  try {
    app.parse(argc, argv);
    flush_output();
    return static_cast<int>(ExitCode::kDone);
  } catch (const CLI::ParseError& error) {
    return on_parse_error(app, error, argc, argv);
  }
}

}  // namespace
}  // namespace engram::cli

int main(int argc, char** argv) {
  using namespace engram;
  using namespace engram::cli;
  set_up_streams();
  set_up_signals();
  try {
    return run(argc, argv);
  } catch (const Interrupted& error) {
    return fail(error.exit_code(), "interrupted", error.what());
  } catch (const InternalError& error) {
    return fail_by_bug(error.what());
  } catch (const Error& error) {
    return fail(error.exit_code(), "error", error.what());
  } catch (const c10::Error& error) {
    return fail_by_bug(error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    return fail(ExitCode::kInternal, "error",
                "out of memory: a smaller --memory or fewer --threads may help");
  } catch (const std::exception& error) {
    return fail_by_bug(error.what());
  } catch (...) {
    return fail_by_bug("an exception of an unknown type");
  }
}
