// The command itself, in this process.
#include <string>
#include <vector>

#include "call.h"
#include "cli/common.h"
#include "cli/program.h"
#include "engram/base/file.h"
#include "engram/store/schema.h"
#include "options.h"
#include "parts.h"

namespace nb = nanobind;

namespace engram::python {
namespace {

/// What a command prints; what goes wrong is raised.
std::string run_command(const std::vector<std::string>& words) {
  return call([&] {
    std::string printed;
    cli::call_engram(words, [&](std::string_view text) { printed += text; });
    return printed;
  });
}

/// The program: its own signals, streams and exit code. Only for a process that does nothing else.
int run_program(std::vector<std::string> words) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  const nb::gil_scoped_release unlocked;
  return cli::run_engram(static_cast<int>(argv.size()), argv.data());
}

}  // namespace

void add_command(nb::module_& module) {
  module.def("run_command", run_command, nb::arg("words"));
  module.def("run_program", run_program, nb::arg("words"));
  module.def("parse_size", [](const std::string& text) { return cli::parse_size(text, "memory"); });
  module.def("run_tables", [] {
    nb::list out;
    for (const Table& table : run_tables()) {
      out.append(nb::make_tuple(table.name, table.meaning, table.kind == TableKind::kContent));
    }
    for (const View& view : run_views()) out.append(nb::make_tuple(view.name, view.meaning, true));
    return out;
  });
}

}  // namespace engram::python
