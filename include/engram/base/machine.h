#pragma once

#include <cstdint>
#include <filesystem>

namespace engram {

/// Where the kernel tells what a process may use. Another root is for tests.
struct MachineFiles {
  std::filesystem::path root = "/";
};

/// Cores that this process may use, at least 1: those of its affinity mask, or fewer where a
/// control group (cgroup v1 or v2, so a container or a batch system) limits its share of time. A
/// share of 2.5 cores counts as 2.
int usable_cores(const MachineFiles& files = {});

/// Bytes that this process can still take without pushing others out: MemAvailable of the kernel,
/// or less where a control group or RLIMIT_AS (`ulimit -v`) leaves less. 2 GiB where the kernel
/// does not say.
int64_t usable_memory(const MachineFiles& files = {});

}  // namespace engram
