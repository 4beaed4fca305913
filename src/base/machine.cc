#include "engram/base/machine.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace engram {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// A whole number at the start of `text`; none for "max" and for what is not there.
std::optional<int64_t> number_in(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end == text.data()) return std::nullopt;
  return value;
}

std::optional<int64_t> number_of(const fs::path& path) { return number_in(first_line(path)); }

/// The value of a line "KEY VALUE" or "KEY: VALUE".
std::optional<int64_t> value_of(const fs::path& path, std::string_view key) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (!line.starts_with(key)) continue;
    const size_t digits = line.find_first_not_of(": \t", key.size());
    if (digits == std::string::npos || digits == key.size()) continue;
    return number_in(std::string_view(line).substr(digits));
  }
  return std::nullopt;
}

/// A control group that this process is in, and its parents: every one of them limits it.
struct Group {
  std::vector<fs::path> folders;
  bool v2 = false;
};

/// `controller` of cgroup v1, and cgroup v2's only tree, as /proc/self/cgroup lists them:
/// "0::/PATH" for v2, "N:CONTROLLER[,CONTROLLER]:/PATH" for v1 (cgroups(7)). In a container the
/// path can be one outside of what it sees; then the root of the mount is its own group.
std::vector<Group> groups_of(const MachineFiles& files, std::string_view controller) {
  const fs::path mount = files.root / "sys/fs/cgroup";
  std::vector<Group> groups;
  std::ifstream file(files.root / "proc/self/cgroup");
  std::string line;
  while (std::getline(file, line)) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string names = line.substr(first + 1, second - first - 1);
    Group group;
    group.v2 = names.empty();
    fs::path top = mount;
    if (!group.v2) {
      if (("," + names + ",").find("," + std::string(controller) + ",") == std::string::npos) {
        continue;
      }
      std::error_code ignored;
      top = fs::is_directory(mount / names, ignored) ? mount / names : mount / controller;
    }
    fs::path relative = fs::path(line.substr(second + 1)).relative_path();
    for (; !relative.empty(); relative = relative.parent_path()) {
      group.folders.push_back(top / relative);
    }
    group.folders.push_back(top);
    groups.push_back(std::move(group));
  }
  return groups;
}

/// Cores' worth of time that a group may use; none without a limit.
std::optional<double> core_share(const fs::path& folder, bool v2) {
  std::optional<int64_t> quota;
  std::optional<int64_t> period;
  if (v2) {
    std::istringstream line(first_line(folder / "cpu.max"));  // "max 100000" or "250000 100000"
    std::string quota_text;
    std::string period_text;
    line >> quota_text >> period_text;
    quota = number_in(quota_text);
    period = number_in(period_text);
  } else {
    quota = number_of(folder / "cpu.cfs_quota_us");  // -1: no limit
    period = number_of(folder / "cpu.cfs_period_us");
  }
  if (!quota || !period || *quota <= 0 || *period <= 0) return std::nullopt;
  return static_cast<double>(*quota) / static_cast<double>(*period);
}

/// Bytes that a group may still take. Pages of files that are not in use are given up for them.
int64_t group_memory(const fs::path& folder, bool v2) {
  const auto limit = number_of(folder / (v2 ? "memory.max" : "memory.limit_in_bytes"));
  const auto used = number_of(folder / (v2 ? "memory.current" : "memory.usage_in_bytes"));
  if (!limit || !used) return kNoLimit;
  const auto spare = value_of(folder / "memory.stat", v2 ? "inactive_file" : "total_inactive_file");
  return std::max<int64_t>(0, *limit - std::max<int64_t>(0, *used - spare.value_or(0)));
}

/// Bytes of address space that `ulimit -v` leaves.
int64_t address_space_left() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return kNoLimit;
  const auto pages = number_of("/proc/self/statm");  // the first number: size, in pages
  const int64_t used = pages.value_or(0) * ::sysconf(_SC_PAGESIZE);
  return std::max<int64_t>(0, static_cast<int64_t>(limit.rlim_cur) - used);
}

}  // namespace

int usable_cores(const MachineFiles& files) {
  int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  for (const Group& group : groups_of(files, "cpu")) {
    for (const fs::path& folder : group.folders) {
      const std::optional<double> share = core_share(folder, group.v2);
      if (share && *share < cores) cores = std::max(1, static_cast<int>(*share));
    }
  }
  return cores;
}

int64_t usable_memory(const MachineFiles& files) {
  const auto kilobytes = value_of(files.root / "proc/meminfo", "MemAvailable");
  int64_t bytes = kilobytes ? *kilobytes * 1024 : int64_t{2} << 30;
  for (const Group& group : groups_of(files, "memory")) {
    for (const fs::path& folder : group.folders) {
      bytes = std::min(bytes, group_memory(folder, group.v2));
    }
  }
  return std::min(bytes, address_space_left());
}

}  // namespace engram
