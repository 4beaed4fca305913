#include "edit/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "engram/base/file.h"
#include "engram/base/interrupt.h"
#include "engram/error.h"

namespace engram {
namespace {

namespace fs = std::filesystem;

constexpr size_t kCopyBytes = 16 << 20;  // between two looks at Ctrl-C

Handle open_file(const fs::path& path, int flags, const std::string& what) {
  const int number = ::open(path.c_str(), flags | O_CLOEXEC, 0666);  // NOLINT(*-vararg)
  if (number < 0) throw_file_error(path, what, errno);
  return Handle(number);
}

void read_at(const Handle& file, const fs::path& path, std::span<std::byte> bytes, off_t offset) {
  while (!bytes.empty()) {
    const ssize_t count = ::pread(file.number(), bytes.data(), bytes.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_file_error(path, "cannot read", errno);
    if (count == 0) throw FileError(path.string() + ": became shorter while it was edited");
    bytes = bytes.subspan(static_cast<size_t>(count));
    offset += count;
  }
}

void write_at(const Handle& file, const fs::path& path, std::span<const std::byte> bytes,
              off_t offset) {
  while (!bytes.empty()) {
    const ssize_t count = ::pwrite(file.number(), bytes.data(), bytes.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_file_error(path, "cannot write", errno);
    bytes = bytes.subspan(static_cast<size_t>(count));
    offset += count;
  }
}

/// The way of copying that every file system has.
void copy_by_buffer(const Handle& from, const Handle& to, const fs::path& source,
                    const fs::path& target) {
  std::vector<std::byte> buffer(1 << 20);
  off_t offset = 0;
  while (true) {
    Interrupt::check();
    const ssize_t count = ::pread(from.number(), buffer.data(), buffer.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_file_error(source, "cannot read", errno);
    if (count == 0) return;
    write_at(to, target, std::span(buffer).first(static_cast<size_t>(count)), offset);
    offset += count;
  }
}

void copy_one(const fs::path& source, const fs::path& target) {
  const Handle from = open_file(source, O_RDONLY | O_NONBLOCK, "cannot open");
  const Handle to = open_file(target, O_WRONLY | O_CREAT | O_EXCL, "cannot create");
  struct stat status {};
  if (::fstat(from.number(), &status) != 0)
    throw_file_error(source, "cannot read its state", errno);
  if (!S_ISREG(status.st_mode)) {
    throw FileError(source.string() + ": is not a regular file");
  }
  // In the kernel, and on some file systems without copying until one of the two is written to.
  off_t done = 0;
  while (done < status.st_size) {
    Interrupt::check();
    off_t in = done;
    off_t out = done;
    const ssize_t count = ::copy_file_range(from.number(), &in, to.number(), &out, kCopyBytes, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    done += count;
  }
  if (done < status.st_size) copy_by_buffer(from, to, source, target);
  flush_to_disk(to, target);
}

/// Writes value vectors that are columns: of each row the span from the first to the last neuron is
/// read, changed and written back, so that many neurons of a layer cost no more calls than one.
void write_columns(const Handle& file, const ValueMatrix& matrix, const DeltaLayer& layer,
                   const std::vector<std::byte>& values) {
  const fs::path& path = matrix.tensor.file->path();
  const size_t width = storage_width(layer.storage);
  const auto rows = static_cast<size_t>(matrix.d_model());
  const auto columns = static_cast<size_t>(matrix.d_ff());
  const auto first = static_cast<size_t>(layer.neurons.front());
  const auto last = static_cast<size_t>(layer.neurons.back());
  std::vector<std::byte> span((last - first + 1) * width);
  const auto start = static_cast<size_t>(matrix.tensor.data - matrix.tensor.file->data());
  for (size_t row = 0; row < rows; ++row) {
    const auto offset = static_cast<off_t>(start + (row * columns + first) * width);
    read_at(file, path, span, offset);
    for (size_t i = 0; i < layer.neurons.size(); ++i) {
      std::memcpy(&span[(static_cast<size_t>(layer.neurons[i]) - first) * width],
                  &values[(i * rows + row) * width], width);
    }
    write_at(file, path, span, offset);
  }
}

/// Writes value vectors that are rows.
void write_rows(const Handle& file, const ValueMatrix& matrix, const DeltaLayer& layer,
                const std::vector<std::byte>& values) {
  const size_t bytes = static_cast<size_t>(matrix.d_model()) * storage_width(layer.storage);
  const auto start = static_cast<size_t>(matrix.tensor.data - matrix.tensor.file->data());
  for (size_t i = 0; i < layer.neurons.size(); ++i) {
    write_at(file, matrix.tensor.file->path(), std::span(values).subspan(i * bytes, bytes),
             static_cast<off_t>(start + static_cast<size_t>(layer.neurons[i]) * bytes));
  }
}

void check_only_name(const Handle& file, const fs::path& path) {
  struct stat status {};
  if (::fstat(file.number(), &status) != 0) throw_file_error(path, "cannot read its state", errno);
  if (status.st_nlink == 1) return;
  throw InputError(path.string() + ": got a file with " + std::to_string(status.st_nlink) +
                   " names (hard links), expected one of its own: the others would be edited too");
}

}  // namespace

Handle lock_path(const fs::path& path, const std::string& what) {
  Handle handle = open_file(path, O_RDONLY | O_NONBLOCK, "cannot open");
  if (::flock(handle.number(), LOCK_EX | LOCK_NB) == 0) return handle;
  if (errno != EWOULDBLOCK) throw_file_error(path, "cannot lock", errno);
  throw FileError(what + ": another process is working on it");
}

void rename_file(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    throw_file_error(to, "cannot rename into place", errno);
  sync_folder(to.parent_path());
}

void remove_file(const fs::path& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT)
    throw_file_error(path, "cannot remove", errno);
  sync_folder(path.parent_path());
}

FolderInMaking::FolderInMaking(const fs::path& place) : place_(place) {
  partial_ = place.parent_path() / ("." + place.filename().string() + ".engram-partial");
  if (::mkdir(partial_.c_str(), 0777) != 0 && errno != EEXIST) {
    throw_file_error(place, "cannot create a folder beside it", errno);
  }
  lock_ = lock_path(partial_, place.string());
  struct stat mine {};
  struct stat there {};
  if (::fstat(lock_.number(), &mine) != 0 || ::lstat(partial_.c_str(), &there) != 0 ||
      mine.st_ino != there.st_ino || mine.st_dev != there.st_dev) {
    throw FileError(place.string() + ": another process has just made it");
  }
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(partial_, failed)) {
    fs::remove_all(entry.path(), failed);
    if (failed) break;
  }
  if (failed) throw FileError(partial_.string() + ": cannot be emptied: " + failed.message());
}

FolderInMaking::~FolderInMaking() {
  std::error_code ignored;
  if (!committed_) fs::remove_all(partial_, ignored);
}

void FolderInMaking::commit() {
  sync_folder(partial_);
  // An empty folder in the place is replaced, a full one is not.
  if (::rename(partial_.c_str(), place_.c_str()) != 0) {
    throw_file_error(place_, "cannot rename into place", errno);
  }
  committed_ = true;
  sync_folder(place_.parent_path());
}

void copy_files(const fs::path& from, const fs::path& to, const std::vector<std::string>& names) {
  for (const std::string& name : names) copy_one(from / name, to / name);
}

void write_values(const std::vector<ValueMatrix>& matrices, const Delta& delta, Side side) {
  std::map<fs::path, Handle> files;
  for (const DeltaLayer& layer : delta.layers) {
    const ValueMatrix& matrix = matrices[static_cast<size_t>(layer.layer)];
    const fs::path& path = matrix.tensor.file->path();
    auto file = files.find(path);
    if (file == files.end()) {
      file = files.emplace(path, open_file(path, O_RDWR | O_NOFOLLOW, "cannot write")).first;
      check_only_name(file->second, path);
    }
    const std::vector<std::byte>& values = side == Side::kAfter ? layer.after : layer.before;
    (matrix.by_rows ? write_rows : write_columns)(file->second, matrix, layer, values);
  }
  for (const auto& [path, file] : files) flush_to_disk(file, path);
}

}  // namespace engram
