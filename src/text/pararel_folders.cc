#include "text/pararel_folders.h"

#include <algorithm>
#include <array>
#include <vector>

#include "engram/error.h"

namespace engram {
namespace {

namespace fs = std::filesystem;

/// Facts and patterns below a common folder.
struct Layout {
  const char* facts;
  const char* patterns;
};
constexpr std::array<Layout, 3> kLayouts = {
    Layout{"facts", "patterns"},
    {"data/trex_lms_vocab", "data/pattern_data/graphs_json"},
    {"data/LAMA/raw_data/TREx", "data/PARAREL/raw_data/patterns"}};

/// True when `part` is `path` or a folder on the way to it from where it begins.
bool leads_to(const fs::path& part, const fs::path& path) {
  return std::mismatch(part.begin(), part.end(), path.begin(), path.end()).first == part.end();
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

/// Calls `use` with every base folder in which `folder` can lie by some layout, nearest first, and
/// with its path from there (empty: itself); ends when it returns true.
template <typename Use>
void for_bases(const fs::path& folder, const Use& use) {
  if (use(folder, fs::path())) return;
  fs::path base = fs::absolute(folder).lexically_normal();
  if (!base.has_filename()) base = base.parent_path();
  fs::path inside;
  while (base.has_relative_path()) {
    inside = inside.empty() ? base.filename() : base.filename() / inside;
    base = base.parent_path();
    if (use(base, inside)) return;
  }
}

}  // namespace

PararelPlace pararel_folder(const fs::path& folder) {
  std::optional<PararelPlace> found;
  std::string missing;
  size_t missing_length = 0;  // "patterns" ends two layouts: the one with more of the path is meant
  for_bases(folder, [&](const fs::path& base, const fs::path& inside) {
    for (const Layout& layout : kLayouts) {
      if (!leads_to(inside, layout.facts) && !leads_to(inside, layout.patterns)) continue;
      const PararelPlace place{base / layout.facts, base / layout.patterns, ""};
      const bool facts = is_folder(place.facts);
      const bool patterns = is_folder(place.patterns);
      if (facts && patterns) {
        found = place;
        return true;
      }
      const size_t length = inside.native().size();
      if (facts != patterns && (missing.empty() || length > missing_length)) {
        missing_length = length;
        missing = folder.string() + ": got " +
                  (facts ? "facts in " + place.facts.string() + " without their patterns"
                         : "patterns in " + place.patterns.string() + " without their facts") +
                  ", expected these in " + (facts ? place.patterns : place.facts).string() + "/";
      }
    }
    return false;
  });
  if (found) return *found;
  if (!missing.empty()) throw InputError(missing);
  throw InputError(folder.string() +
                   ": got a folder without facts/ and patterns/, expected a ParaRel folder with "
                   "both, a checkout of ParaRel or of the paper's code with its data, or a .jsonl "
                   "file");
}

std::optional<PararelPlace> pararel_file(const fs::path& file) {
  const std::optional<std::string> relation = relation_of(file);
  if (!relation) return std::nullopt;
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  std::optional<PararelPlace> found;
  for_bases(folder, [&](const fs::path& base, const fs::path& inside) {
    for (const Layout& layout : kLayouts) {
      if (inside != layout.facts && inside != layout.patterns) continue;
      const PararelPlace place{base / layout.facts, base / layout.patterns, *relation};
      if (is_folder(place.facts) && is_folder(place.patterns)) found = place;
    }
    return found.has_value();
  });
  return found;
}

std::optional<std::string> relation_of(const fs::path& file) {
  constexpr auto kPackers = std::to_array<std::string_view>(
      {".xz", ".gz", ".zst", ".bz2", ".zip", ".lz4", ".lzma", ".7z"});
  fs::path name = file.filename();
  if (std::ranges::find(kPackers, name.extension().string()) != kPackers.end()) {
    name = name.stem();
  }
  if (name.extension() != ".jsonl" || name.stem().empty()) return std::nullopt;
  return name.stem().string();
}

std::map<std::string, fs::path> relation_files(const fs::path& folder) {
  std::error_code failed;
  fs::directory_iterator entries(folder, failed);
  if (failed) throw FileError(folder.string() + ": cannot read the folder: " + failed.message());
  std::vector<fs::path> paths;
  for (; entries != fs::directory_iterator(); entries.increment(failed)) {
    std::error_code unknown;
    if (!entries->is_directory(unknown)) paths.push_back(entries->path());
  }
  if (failed) throw FileError(folder.string() + ": cannot read the folder: " + failed.message());
  std::ranges::sort(paths);
  std::map<std::string, fs::path> files;
  for (const fs::path& path : paths) {
    const std::optional<std::string> relation = relation_of(path);
    if (!relation) continue;
    const auto [first, added] = files.try_emplace(*relation, path);
    if (!added) {
      throw InputError(folder.string() + ": got " + first->second.filename().string() + " and " +
                       path.filename().string() + ", expected one of them");
    }
  }
  return files;
}

}  // namespace engram
