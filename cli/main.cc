// The command `engram`: cli/program.cc has its commands.
#include "cli/process.h"
#include "cli/program.h"

int main(int argc, char** argv) { engram::cli::end_process(engram::cli::run_engram(argc, argv)); }
