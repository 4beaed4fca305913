#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "engram/model/hub.h"

// The files that a command reads and writes, looked at before any work.
namespace engram::cli {

/// An option or argument ("--out", "MODEL") and the path that it names; empty: not given.
struct NamedPath {
  std::string option;
  std::string path;
};

/// An option or argument that takes a path; an empty one is a usage error.
CLI::Option* add_path(CLI::App& command, const std::string& name,
                      std::function<void(const std::string&)> set, const std::string& description);
template <typename T>  // std::string or std::filesystem::path
CLI::Option* add_path(CLI::App& command, const std::string& name, T& value,
                      const std::string& description) {
  return add_path(command, name, [&value](const std::string& path) { value = path; }, description);
}

/// The same for an option that may come several times, with one path each time.
CLI::Option* add_paths(CLI::App& command, const std::string& name, std::vector<std::string>& paths,
                       const std::string& description);

/// The argument MODEL: a folder, or a name on the Hugging Face hub (OWNER/NAME[@REVISION]) that is
/// in the local cache; `value` becomes the folder.
template <typename T>  // std::string or std::filesystem::path
CLI::Option* add_model(CLI::App& command, T& value, const std::string& description) {
  return add_path(
      command, "MODEL",
      [&value](const std::string& name) { value = find_checkpoint(name).string(); },
      description + " Or a hub name in the local cache, as OWNER/NAME[@REVISION].");
}

/// What a fact set is read from: the file, or the files of a ParaRel folder.
std::vector<NamedPath> fact_inputs(const std::string& facts);

/// Refuses, by whatever names and links they go, outputs that would replace an input or each other
/// (UsageError), and outputs that cannot be written (FileError). An input that is a folder stands
/// for the files in it.
void check_outputs(const std::vector<NamedPath>& outputs, const std::vector<NamedPath>& inputs);

}  // namespace engram::cli
