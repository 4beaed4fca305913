// engram-pretrain: makes the training data, trains the shipped model, measures it.
#include <malloc.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "engram/base/interrupt.h"
#include "engram/error.h"
#include "pretrain/commands.h"

namespace {

void on_signal(int /*number*/) { engram::Interrupt::request(); }

void set_up_process() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND);  // a second Ctrl-C ends the program at once
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  // Every step allocates the same large buffers: keep them instead of giving them back to the
  // system, which would cost a page fault for each of their pages in each step.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_ARENA_MAX, 1);
}

}  // namespace

int main(int argc, char** argv) {
  set_up_process();
  CLI::App app("Trains small masked language models on facts and text, on engram's own model code");
  app.name("engram-pretrain");
  app.set_version_flag("--version", ENGRAM_VERSION);
  app.require_subcommand(1);
  engram::pretrain::add_prepare(app);
  engram::pretrain::add_train(app);
  engram::pretrain::add_evaluate(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : static_cast<int>(engram::ExitCode::kUsage);
  } catch (const engram::Error& error) {
    std::cerr << "engram-pretrain: " << error.what() << "\n";
    return static_cast<int>(error.exit_code());
  } catch (const std::exception& error) {
    std::cerr << "engram-pretrain: internal error: " << error.what() << "\n";
    return static_cast<int>(engram::ExitCode::kInternal);
  }
  return 0;
}
