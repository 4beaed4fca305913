// Memory maps of files, and what happens when a file vanishes under one.
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>

#include "base/handle.h"
#include "engram/base/file.h"
#include "engram/error.h"

namespace engram {
namespace {

/// A map as the signal handler sees it. `begin` is written last and cleared first, so that a
/// handler reads a whole entry or none.
struct LiveMap {
  std::atomic<std::uintptr_t> begin{0};
  std::atomic<size_t> size{0};
  std::atomic<const char*> path{nullptr};
};

constexpr size_t kMaps = 1024;  // a checkpoint has up to a few hundred files
std::array<LiveMap, kMaps> live_maps;
const char* program_name = "";

void add_map(const std::byte* data, size_t size, const char* path) {
  for (LiveMap& map : live_maps) {
    const char* expected = nullptr;
    if (!map.path.compare_exchange_strong(expected, path)) continue;
    map.size.store(size);
    map.begin.store(reinterpret_cast<std::uintptr_t>(data));
    return;
  }
}

void remove_map(const std::byte* data) {
  for (LiveMap& map : live_maps) {
    if (map.begin.load() != reinterpret_cast<std::uintptr_t>(data)) continue;
    map.begin.store(0);
    map.path.store(nullptr);
    return;
  }
}

void say(const char* text) {
  const ssize_t ignored = ::write(STDERR_FILENO, text, std::strlen(text));
  static_cast<void>(ignored);
}

/// Only calls that are safe in a signal handler (signal-safety(7)).
void on_bus_error(int number, siginfo_t* info, void* /*context*/) {
  const auto at = reinterpret_cast<std::uintptr_t>(info->si_addr);
  for (const LiveMap& map : live_maps) {
    const std::uintptr_t begin = map.begin.load();
    if (begin == 0 || at < begin || at - begin >= map.size.load()) continue;
    say(program_name);
    say(": error: ");
    say(map.path.load());
    say(": its bytes are gone: the file was cut short while it was in use, or its disk cannot be "
        "read; what a run has kept is kept, start the command again with the file whole\n");
    ::_exit(static_cast<int>(ExitCode::kFile));
  }
  // Not ours: the handler is reset (SA_RESETHAND), so the signal ends the process as it would have.
  ::raise(number);
}

}  // namespace

void report_lost_maps(const char* program) {
  program_name = program;
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO | static_cast<int>(SA_RESETHAND);
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, nullptr);
}

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  const Handle file = open_regular(path, size_);
  if (size_ == 0) return;
  void* map = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.number(), 0);
  if (map == MAP_FAILED) throw_file_error(path, "cannot map into memory", errno);
  data_ = static_cast<const std::byte*>(map);
  add_map(data_, size_, path_.c_str());
  try {
    refuse_lfs_pointer(path, {static_cast<const char*>(map), size_});
  } catch (...) {
    remove_map(data_);
    ::munmap(map, size_);
    throw;
  }
}

MappedFile::~MappedFile() {
  if (data_ == nullptr) return;
  remove_map(data_);
  ::munmap(const_cast<std::byte*>(data_),  // NOLINT(cppcoreguidelines-pro-type-const-cast)
           size_);
}

}  // namespace engram
