#include "engram/base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/handle.h"
#include "engram/error.h"

namespace engram {
std::string system_message(int error) {
  return std::strerror(error);  // NOLINT(concurrency-mt-unsafe)
}

void throw_file_error(const std::filesystem::path& path, std::string_view what, int error) {
  throw FileError(path.string() + ": " + std::string(what) + ": " + system_message(error));
}

namespace {

constexpr size_t kBufferBytes = 1 << 20;

}  // namespace

Handle open_regular(const std::filesystem::path& path, size_t& size) {
  // O_NONBLOCK: a named pipe without a writer would hold the program up before it is refused.
  Handle file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.number() < 0) throw_file_error(path, "cannot open", errno);
  struct stat status {};
  if (::fstat(file.number(), &status) != 0) {
    throw_file_error(path, "cannot read its state", errno);
  }
  if (!S_ISREG(status.st_mode)) {
    throw FileError(path.string() + ": got " +
                    (S_ISDIR(status.st_mode) ? "a folder" : "a device, pipe or socket") +
                    ", expected a regular file");
  }
  size = static_cast<size_t>(status.st_size);
  return file;
}

void refuse_lfs_pointer(const std::filesystem::path& path, std::string_view bytes) {
  if (!bytes.starts_with("version https://git-lfs.github.com/spec/")) return;
  throw InputError(path.string() +
                   ": got a Git LFS pointer, expected the file itself: run \"git lfs pull\" in its "
                   "repository");
}

namespace {

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

}  // namespace

std::string read_file(const std::filesystem::path& path, std::uintmax_t max_bytes) {
  size_t size = 0;
  const Handle file = open_regular(path, size);
  if (size > max_bytes) {
    throw InputError(path.string() + ": got " + std::to_string(size) + " bytes, expected at most " +
                     std::to_string(max_bytes));
  }
  std::string text(size, '\0');
  size_t done = 0;
  while (done < size) {
    const ssize_t count = ::read(file.number(), text.data() + done, size - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_file_error(path, "cannot read", errno);
    if (count == 0) break;  // the file shrank while it was read
    done += static_cast<size_t>(count);
  }
  text.resize(done);
  refuse_lfs_pointer(path, text);
  return text;
}

void check_readable(const std::filesystem::path& path) {
  size_t size = 0;
  const Handle file = open_regular(path, size);
}

Handle::~Handle() {
  if (number_ >= 0) ::close(number_);
}
Handle::Handle(Handle&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
Handle& Handle::operator=(Handle&& other) noexcept {
  std::swap(number_, other.number_);
  return *this;
}

void flush_to_disk(const Handle& file, const std::filesystem::path& path) {
  if (::fsync(file.number()) != 0) throw_file_error(path, "cannot write", errno);
}

void sync_folder(const std::filesystem::path& folder) {
  const std::filesystem::path named = folder.empty() ? "." : folder;
  const Handle file(::open(named.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // A folder that may be written and not read cannot be flushed, and on some file systems none can.
  if (file.number() < 0 && errno == EACCES) return;
  if (file.number() < 0) throw_file_error(named, "cannot open", errno);
  if (::fsync(file.number()) == 0 || errno == EINVAL || errno == ENOTSUP) return;
  throw_file_error(named, "cannot write", errno);
}

void FileInMaking::check_writable(const std::filesystem::path& path, Existing existing) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) {
    if (existing == Existing::kRefuse) {
      throw FileError(path.string() + ": exists, expected a new file");
    }
    if (!S_ISREG(status.st_mode)) {
      throw FileError(path.string() + ": exists and is not a regular file; refusing to replace it");
    }
  } else if (errno != ENOENT) {
    throw_file_error(path, "cannot write", errno);
  }
  const std::filesystem::path folder = folder_of(path);
  if (::stat(folder.c_str(), &status) != 0)
    throw_file_error(folder, "cannot write into this folder", errno);
  if (!S_ISDIR(status.st_mode)) throw FileError(folder.string() + ": is not a folder");
  if (::access(folder.c_str(), W_OK | X_OK) != 0) {
    throw_file_error(folder, "cannot write into this folder", errno);
  }
}

FileInMaking::FileInMaking(std::filesystem::path path, Existing existing)
    : path_(std::move(path)), existing_(existing) {
  check_writable(path_, existing_);
  std::string pattern = (folder_of(path_) / ("." + path_.filename().string() + ".XXXXXX")).string();
  descriptor_ = ::mkostemp(pattern.data(), O_CLOEXEC);
  if (descriptor_ < 0) throw_file_error(path_, "cannot create a file beside it", errno);
  temporary_ = pattern;
  // mkostemp leaves the file to its owner only. The mask can be read only by setting it.
  const mode_t mask = ::umask(0);
  ::umask(mask);
  ::fchmod(descriptor_, 0666 & ~mask);
}

FileInMaking::~FileInMaking() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!committed_ && !temporary_.empty()) ::unlink(temporary_.c_str());
}

void FileInMaking::write_at(std::string_view bytes, std::int64_t offset) const {
  while (!bytes.empty()) {
    const ssize_t count = ::pwrite(descriptor_, bytes.data(), bytes.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) throw_file_error(path_, "cannot write", count == 0 ? ENOSPC : errno);
    bytes.remove_prefix(static_cast<size_t>(count));
    offset += count;
  }
}

void FileInMaking::commit() {
  if (::fsync(descriptor_) != 0) throw_file_error(path_, "cannot write", errno);
  const int descriptor = std::exchange(descriptor_, -1);
  if (::close(descriptor) != 0) throw_file_error(path_, "cannot write", errno);
  const unsigned flags = existing_ == Existing::kRefuse ? RENAME_NOREPLACE : 0;
  int failed = ::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, path_.c_str(), flags);
  if (failed != 0 && (errno == EINVAL || errno == ENOSYS)) {  // a file system without the flag
    if (flags != 0) check_writable(path_, existing_);
    failed = ::rename(temporary_.c_str(), path_.c_str());
  }
  if (failed != 0 && errno == EEXIST) check_writable(path_, existing_);
  if (failed != 0) throw_file_error(path_, "cannot rename into place", errno);
  committed_ = true;
  sync_folder(folder_of(path_));
}

void AtomicFile::write(std::string_view bytes) {
  buffer_.append(bytes);
  if (buffer_.size() >= kBufferBytes) flush();
}

void AtomicFile::flush() {
  file_.write_at(buffer_, written_);
  written_ += static_cast<std::int64_t>(buffer_.size());
  buffer_.clear();
}

void AtomicFile::commit() {
  flush();
  file_.commit();
}

}  // namespace engram
