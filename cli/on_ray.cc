#include "cli/on_ray.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/common.h"
#include "engram/base/file.h"
#include "engram/error.h"

namespace engram::cli {
namespace {

// A Python without the package, or without Ray, says so in one line.
constexpr const char* kBegin = R"(import sys
try:
    import ray
    from engram.distributed import main
except ImportError as missing:
    print(f"engram: error: --ray needs the Python package with Ray (pip install 'engram[ray]'): "
          f"{sys.executable}: {missing}; ENGRAM_PYTHON names another Python", file=sys.stderr)
    sys.exit(2)
sys.exit(main(sys.argv[1]))
)";

/// The options that were given, by the names that Python has for them.
nlohmann::ordered_json given_options(const CLI::App& command) {
  nlohmann::ordered_json given = nlohmann::ordered_json::object();
  for (const CLI::Option* option : command.get_options()) {
    if (option->count() == 0) continue;
    std::string name =
        option->get_lnames().empty() ? option->get_name(true) : option->get_lnames().front();
    std::ranges::transform(name, name.begin(), [](char c) {
      return c == '-' ? '_' : static_cast<char>(std::tolower(c));
    });
    if (name == "ray") continue;
    const std::vector<std::string>& words = option->results();
    if (option->get_expected_min() == 0) {
      given[name] = true;
    } else if (option->get_delimiter() != '\0') {
      given[name] = words;
    } else {
      given[name] = words.front();
    }
  }
  return given;
}

}  // namespace

void reproduce_on_ray(const CLI::App& command, const std::string& address) {
  if (output_is_taken()) {
    throw UsageError(
        "--ray starts another program; from Python call engram.distributed.reproduce()");
  }
  nlohmann::ordered_json job = {{"ray_address", address}, {"options", given_options(command)}};
  std::string text = json_text(job);
  const char* named = std::getenv("ENGRAM_PYTHON");
  std::string python = named != nullptr && *named != '\0' ? named : "python3";
  std::string option = "-c";
  std::string begin = kBegin;
  const std::array<char*, 5> words{python.data(), option.data(), begin.data(), text.data(),
                                   nullptr};
  flush_output();
  ::execvp(python.c_str(), words.data());
  throw_file_error(python, "cannot be started for --ray", errno);
}

}  // namespace engram::cli
