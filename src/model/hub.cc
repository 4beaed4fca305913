#include "engram/model/hub.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "engram/base/file.h"
#include "engram/error.h"

namespace engram {
namespace {

namespace fs = std::filesystem;

/// A part of a repository's name, as the hub allows them.
bool is_name_part(std::string_view part) {
  const auto allowed = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.';
  };
  return !part.empty() && part.front() != '.' && part.front() != '-' && part.back() != '.' &&
         part.back() != '-' && part.find("--") == std::string_view::npos &&
         part.find("..") == std::string_view::npos && std::ranges::all_of(part, allowed);
}

/// A revision names a file below refs/ or a folder of snapshots/, and nothing outside of them.
bool is_revision(std::string_view revision) {
  if (revision.empty() || revision.front() == '/' || revision.back() == '/') return false;
  return revision.find("..") == std::string_view::npos &&
         std::ranges::none_of(
             revision, [](char c) { return std::iscntrl(static_cast<unsigned char>(c)) != 0; });
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// The folder of a repository in the cache.
fs::path cached_repository(const fs::path& cache, const std::string& repository) {
  std::string folder = "models--" + repository;
  if (const size_t slash = folder.find('/'); slash != std::string::npos) {
    folder.replace(slash, 1, "--");
  }
  return cache / folder;
}

/// The commit that a reference names; empty: there is no such reference.
std::string commit_of(const fs::path& repository, const std::string& revision) {
  // "refs/pr/1" is stored as refs/refs/pr/1.
  const fs::path reference = repository / "refs" / revision;
  std::error_code ignored;
  if (!fs::is_regular_file(reference, ignored)) return "";
  constexpr size_t kLongest = 256;
  std::string commit = read_file(reference, kLongest);
  while (!commit.empty() && std::isspace(static_cast<unsigned char>(commit.back())) != 0) {
    commit.pop_back();
  }
  return is_name_part(commit) ? commit : "";
}

std::string download_line(const HubName& name) {
  return "hf download " + name.repository +
         (name.revision == "main" ? "" : " --revision " + name.revision);
}

}  // namespace

std::optional<HubName> parse_hub_name(std::string_view text) {
  HubName name;
  if (const size_t at = text.find('@'); at != std::string_view::npos) {
    name.revision = text.substr(at + 1);
    if (!is_revision(name.revision)) return {};
    text = text.substr(0, at);
  }
  const size_t slash = text.find('/');
  if (slash != std::string_view::npos && !is_name_part(text.substr(0, slash))) return {};
  if (!is_name_part(slash == std::string_view::npos ? text : text.substr(slash + 1))) return {};
  name.repository = text;
  return name;
}

fs::path hub_cache() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (std::string value = variable(name); !value.empty()) return value;
  }
  if (const std::string home = variable("HF_HOME"); !home.empty()) return fs::path(home) / "hub";
  const fs::path below = fs::path("huggingface") / "hub";
  if (const std::string base = variable("XDG_CACHE_HOME"); !base.empty()) {
    return fs::path(base) / below;
  }
  if (const std::string home = variable("HOME"); !home.empty()) {
    return fs::path(home) / ".cache" / below;
  }
  return {};
}

fs::path find_checkpoint(const std::string& name) {
  std::error_code ignored;
  if (fs::exists(name, ignored)) return name;
  const std::optional<HubName> hub = parse_hub_name(name);
  const fs::path cache = hub_cache();
  if (!hub || cache.empty()) return name;
  const fs::path repository = cached_repository(cache, hub->repository);
  if (!is_folder(repository)) {
    // One word may well be a mistyped folder; the reader says that there is none.
    if (hub->repository.find('/') == std::string::npos) return name;
    throw FileError(name + ": no such folder, and no such model in the Hugging Face cache (" +
                    cache.string() + "): download it with `" + download_line(*hub) + "`");
  }
  std::string commit = commit_of(repository, hub->revision);
  if (commit.empty()) commit = hub->revision;
  const fs::path snapshot = repository / "snapshots" / commit;
  if (!is_folder(snapshot)) {
    throw FileError(name + ": the Hugging Face cache has the model (" + repository.string() +
                    "), but not its revision \"" + hub->revision + "\": download it with `" +
                    download_line(*hub) + "`");
  }
  return snapshot;
}

}  // namespace engram
