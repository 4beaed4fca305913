#pragma once

#include <filesystem>
#include <string>

namespace engram {

/// "sha256:..." of a file, or of all files below a folder with their names. Throws FileError.
std::string hash_of_input(const std::filesystem::path& path);

/// The same of everything that read_facts() reads for `path`.
std::string hash_of_facts(const std::filesystem::path& path);

}  // namespace engram
