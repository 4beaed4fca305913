#pragma once

#include <CLI/CLI.hpp>

namespace engram::pretrain {

// Each adds its subcommand, with its options and what it runs, to the program.
void add_prepare(CLI::App& app);
void add_train(CLI::App& app);
void add_evaluate(CLI::App& app);

}  // namespace engram::pretrain
