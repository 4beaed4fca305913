#include "cli/paths.h"

#include <sys/stat.h>

#include <filesystem>
#include <optional>
#include <utility>

#include "cli/terminal.h"
#include "engram/base/file.h"
#include "engram/error.h"
#include "engram/text/facts.h"

namespace engram::cli {
namespace {

namespace fs = std::filesystem;

/// What makes two names one file; nothing where there is no file.
std::optional<std::pair<dev_t, ino_t>> identity_of(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return std::pair(status.st_dev, status.st_ino);
}

/// The place of a file that need not exist, without links and dots.
fs::path place_of(const fs::path& path) {
  std::error_code failed;
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const fs::path real = fs::canonical(folder, failed);
  return failed ? path : real / path.filename();
}

bool same_file(const fs::path& a, const fs::path& b) {
  const auto first = identity_of(a);
  const auto second = identity_of(b);
  return first || second ? first == second : place_of(a) == place_of(b);
}

[[noreturn]] void refuse(const NamedPath& output, const std::string& is) {
  throw UsageError(output.option + ": got \"" + output.path + "\", which is " + is +
                   ", expected a file of its own");
}

void check_against_input(const NamedPath& output, const NamedPath& input) {
  const auto identity = identity_of(output.path);
  if (!identity) return;  // nothing is there that could be read
  if (identity_of(input.path) == identity) refuse(output, "the input of " + input.option);
  std::error_code failed;  // what cannot be listed is told by who reads it
  for (auto entry = fs::directory_iterator(input.path, failed);
       !failed && entry != fs::directory_iterator(); entry.increment(failed)) {
    if (identity_of(entry->path()) == identity) {
      refuse(output, "a file of " + input.option + " (" + entry->path().string() + ")");
    }
  }
}

}  // namespace

namespace {

void check_path(const std::string& name, const std::string& path) {
  if (path.empty()) throw CLI::ValidationError(name + ": got \"\", expected a path");
}

}  // namespace

CLI::Option* add_path(CLI::App& command, const std::string& name,
                      std::function<void(const std::string&)> set, const std::string& description) {
  const auto parse = [name, set = std::move(set)](const std::string& path) {
    check_path(name, path);
    set(path);
  };
  return command.add_option_function<std::string>(name, parse, description);
}

CLI::Option* add_paths(CLI::App& command, const std::string& name, std::vector<std::string>& paths,
                       const std::string& description) {
  const auto parse = [name, &paths](const std::vector<std::string>& given) {
    for (const std::string& path : given) check_path(name, path);
    paths = given;
  };
  return command.add_option_function<std::vector<std::string>>(name, parse, description)
      ->allow_extra_args(false);
}

std::vector<NamedPath> fact_inputs(const std::string& facts) {
  std::vector<NamedPath> inputs = {{"--facts", facts}};
  for (const fs::path& place : fact_places(facts)) inputs.push_back({"--facts", place.string()});
  return inputs;
}

void check_outputs(const std::vector<NamedPath>& outputs, const std::vector<NamedPath>& inputs) {
  std::vector<NamedPath> given;
  for (const NamedPath& output : outputs) {
    if (output.path.empty()) continue;
    for (const NamedPath& other : given) {
      if (same_file(output.path, other.path))
        refuse(output, "the file of " + other.option + " too");
    }
    for (const NamedPath& input : inputs) {
      if (!input.path.empty()) check_against_input(output, input);
    }
    given.push_back(output);
  }
  for (const NamedPath& output : given) AtomicFile::check_writable(output.path);
}

}  // namespace engram::cli
