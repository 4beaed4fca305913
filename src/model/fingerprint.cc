#include "engram/model/fingerprint.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "base/sha256.h"
#include "engram/error.h"

namespace engram {
namespace {

/// What load() and the tokenizer read beside *.safetensors.
constexpr std::array<std::string_view, 9> kFiles = {"config.json",
                                                    "model.safetensors.index.json",
                                                    "tokenizer.json",
                                                    "tokenizer_config.json",
                                                    "special_tokens_map.json",
                                                    "added_tokens.json",
                                                    "vocab.txt",
                                                    "vocab.json",
                                                    "merges.txt"};

bool belongs(const std::string& name) {
  return name.ends_with(".safetensors") || std::ranges::find(kFiles, name) != kFiles.end();
}

}  // namespace

std::string model_fingerprint(const std::filesystem::path& directory) {
  std::error_code failed;
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory, failed)) {
    const std::string name = entry.path().filename().string();
    if (belongs(name)) names.push_back(name);
  }
  if (failed) throw FileError(directory.string() + ": " + failed.message());
  std::ranges::sort(names);
  std::string list;
  for (const std::string& name : names) list += name + " " + sha256_file(directory / name) + "\n";
  return "sha256:" + sha256_hex(list);
}

bool is_fingerprint(std::string_view text) {
  constexpr std::string_view kStart = "sha256:";
  return text.size() == kStart.size() + 64 && text.starts_with(kStart) &&
         text.find_first_not_of("0123456789abcdef", kStart.size()) == std::string_view::npos;
}

}  // namespace engram
