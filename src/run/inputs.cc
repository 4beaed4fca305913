#include "run/inputs.h"

#include <algorithm>
#include <system_error>
#include <vector>

#include "base/sha256.h"
#include "engram/error.h"
#include "engram/text/facts.h"

namespace engram {

std::string hash_of_input(const std::filesystem::path& path) {
  std::error_code failed;
  if (!std::filesystem::is_directory(path, failed)) return "sha256:" + sha256_file(path);
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path, failed)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  if (failed) throw FileError(path.string() + ": " + failed.message());
  std::ranges::sort(files);
  std::string list;
  for (const std::filesystem::path& file : files) {
    list += file.lexically_relative(path).string() + " " + sha256_file(file) + "\n";
  }
  return "sha256:" + sha256_hex(list);
}

std::string hash_of_facts(const std::filesystem::path& path) {
  std::string list;
  for (const std::filesystem::path& place : fact_places(path)) list += hash_of_input(place) + "\n";
  return "sha256:" + sha256_hex(list);
}

}  // namespace engram
