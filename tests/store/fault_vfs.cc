#include "store/fault_vfs.h"

#include <sqlite3.h>

#include <atomic>
#include <limits>
#include <thread>

namespace engram::testing {
namespace {

std::atomic<int64_t> writes_left{0};
std::atomic<int> fault_code{SQLITE_FULL};
std::atomic<bool> has_failed{false};
std::atomic<int64_t> delay_us{0};
sqlite3_vfs* real = nullptr;

/// A file of the real disk behind ours.
struct File {
  sqlite3_file base;
  sqlite3_file* inner() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};

sqlite3_file* inner(sqlite3_file* file) { return reinterpret_cast<File*>(file)->inner(); }
const sqlite3_io_methods* methods(sqlite3_file* file) { return inner(file)->pMethods; }

int faulty() {
  if (delay_us > 0) std::this_thread::sleep_for(std::chrono::microseconds(delay_us));
  if (writes_left.fetch_sub(1) > 0) return SQLITE_OK;
  has_failed = true;
  return fault_code;
}

int close_file(sqlite3_file* f) { return methods(f)->xClose(inner(f)); }
int vfs_read(sqlite3_file* f, void* to, int size, sqlite3_int64 at) {
  return methods(f)->xRead(inner(f), to, size, at);
}
int write_file(sqlite3_file* f, const void* from, int size, sqlite3_int64 at) {
  const int code = faulty();
  return code != SQLITE_OK ? code : methods(f)->xWrite(inner(f), from, size, at);
}
int truncate_file(sqlite3_file* f, sqlite3_int64 size) {
  return methods(f)->xTruncate(inner(f), size);
}
int sync_file(sqlite3_file* f, int flags) { return methods(f)->xSync(inner(f), flags); }
int size_file(sqlite3_file* f, sqlite3_int64* size) {
  return methods(f)->xFileSize(inner(f), size);
}
int lock_file(sqlite3_file* f, int kind) { return methods(f)->xLock(inner(f), kind); }
int unlock_file(sqlite3_file* f, int kind) { return methods(f)->xUnlock(inner(f), kind); }
int reserved(sqlite3_file* f, int* out) { return methods(f)->xCheckReservedLock(inner(f), out); }
int control(sqlite3_file* f, int op, void* arg) {
  return methods(f)->xFileControl(inner(f), op, arg);
}
int sector(sqlite3_file* f) { return methods(f)->xSectorSize(inner(f)); }
int device(sqlite3_file* f) { return methods(f)->xDeviceCharacteristics(inner(f)); }
int shm_map(sqlite3_file* f, int page, int size, int extend, void volatile** out) {
  return methods(f)->xShmMap(inner(f), page, size, extend, out);
}
int shm_lock(sqlite3_file* f, int offset, int n, int flags) {
  return methods(f)->xShmLock(inner(f), offset, n, flags);
}
void shm_barrier(sqlite3_file* f) { methods(f)->xShmBarrier(inner(f)); }
int shm_unmap(sqlite3_file* f, int remove) { return methods(f)->xShmUnmap(inner(f), remove); }

constexpr sqlite3_io_methods kMethods = {
    2,         close_file,  vfs_read,  write_file, truncate_file, sync_file, size_file,
    lock_file, unlock_file, reserved,  control,    sector,        device,    shm_map,
    shm_lock,  shm_barrier, shm_unmap, nullptr,    nullptr};

int open_file(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out) {
  file->pMethods = nullptr;
  const int code = real->xOpen(real, name, inner(file), flags, out);
  if (code == SQLITE_OK) file->pMethods = &kMethods;
  return code;
}

sqlite3_vfs* shim() {
  static sqlite3_vfs vfs;
  if (real == nullptr) {
    real = sqlite3_vfs_find(nullptr);
    vfs = *real;  // everything but files passes through
    vfs.zName = "faulty";
    vfs.szOsFile = static_cast<int>(sizeof(File)) + real->szOsFile;
    vfs.xOpen = open_file;
  }
  return &vfs;
}

}  // namespace

FaultyDisk::FaultyDisk(int64_t writes, int code) {
  writes_left = writes;
  fault_code = code;
  has_failed = false;
  delay_us = 0;
  sqlite3_vfs_register(shim(), /*makeDflt=*/1);
}

FaultyDisk::FaultyDisk(std::chrono::microseconds delay)
    : FaultyDisk(std::numeric_limits<int64_t>::max(), SQLITE_OK) {
  delay_us = delay.count();
}

FaultyDisk::~FaultyDisk() {
  sqlite3_vfs_unregister(shim());
  sqlite3_vfs_register(real, /*makeDflt=*/1);
}

bool FaultyDisk::failed() const { return has_failed; }

}  // namespace engram::testing
