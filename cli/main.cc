// The command `engram`: cli/program.cc has its commands.
#include "cli/program.h"

int main(int argc, char** argv) { return engram::cli::run_engram(argc, argv); }
