// engram-pretrain: makes the training data, trains the shipped model, measures it.
#include <malloc.h>

#include "cli/process.h"
#include "pretrain/commands.h"

int main(int argc, char** argv) {
  // Every step allocates the same large buffers: keep them instead of giving them back to the
  // system, which would cost a page fault for each of their pages in each step.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_ARENA_MAX, 1);
  const auto set_up = [](CLI::App& app) {
    app.set_version_flag("--version", "engram-pretrain " ENGRAM_VERSION);
    engram::pretrain::add_prepare(app);
    engram::pretrain::add_train(app);
    engram::pretrain::add_evaluate(app);
  };
  engram::cli::end_process(engram::cli::run_program(
      "engram-pretrain",
      "Trains small masked language models on facts and text, on engram's own model code", set_up,
      argc, argv));
}
