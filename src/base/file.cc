#include "engram/base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

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

/// A file descriptor that is closed on every way out.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int number() const { return number_; }

 private:
  int number_;
};

/// Opens a regular file for reading and tells its size.
int open_regular(const std::filesystem::path& path, size_t& size) {
  // O_NONBLOCK: a named pipe without a writer would hold the program up before it is refused.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) throw_file_error(path, "cannot open", errno);
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) {
    const int error = errno;
    ::close(descriptor);
    throw_file_error(path, "cannot read its state", error);
  }
  if (!S_ISREG(status.st_mode)) {
    ::close(descriptor);
    throw FileError(path.string() + ": got " +
                    (S_ISDIR(status.st_mode) ? "a folder" : "no regular file") +
                    ", expected a regular file");
  }
  size = static_cast<size_t>(status.st_size);
  return descriptor;
}

/// What `git clone` leaves in place of a large file when git-lfs is not set up: refused by name, as
/// the text would be taken for a broken file of its kind.
void refuse_lfs_pointer(const std::filesystem::path& path, std::string_view bytes) {
  if (!bytes.starts_with("version https://git-lfs.github.com/spec/")) return;
  throw InputError(path.string() +
                   ": got a Git LFS pointer, expected the file itself: run \"git lfs pull\" in its "
                   "repository");
}

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

}  // namespace

std::string read_file(const std::filesystem::path& path, std::uintmax_t max_bytes) {
  size_t size = 0;
  const Descriptor descriptor(open_regular(path, size));
  if (size > max_bytes) {
    throw InputError(path.string() + ": got " + std::to_string(size) + " bytes, expected at most " +
                     std::to_string(max_bytes));
  }
  std::string text(size, '\0');
  size_t done = 0;
  while (done < size) {
    const ssize_t count = ::read(descriptor.number(), text.data() + done, size - done);
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
  const Descriptor descriptor(open_regular(path, size));
}

void AtomicFile::check_writable(const std::filesystem::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) {
    if (!S_ISREG(status.st_mode)) {
      throw FileError(path.string() + ": exists and is no regular file; refusing to replace it");
    }
  } else if (errno != ENOENT) {
    throw_file_error(path, "cannot write", errno);
  }
  const std::filesystem::path folder = folder_of(path);
  if (::stat(folder.c_str(), &status) != 0)
    throw_file_error(folder, "cannot write into this folder", errno);
  if (!S_ISDIR(status.st_mode)) throw FileError(folder.string() + ": is no folder");
  if (::access(folder.c_str(), W_OK | X_OK) != 0) {
    throw_file_error(folder, "cannot write into this folder", errno);
  }
}

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  check_writable(path_);
  std::string pattern = (folder_of(path_) / ("." + path_.filename().string() + ".XXXXXX")).string();
  descriptor_ = ::mkostemp(pattern.data(), O_CLOEXEC);
  if (descriptor_ < 0) throw_file_error(path_, "cannot create a file beside it", errno);
  temporary_ = pattern;
  const mode_t mask = ::umask(0);
  ::umask(mask);
  ::fchmod(descriptor_, 0666 & ~mask);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!committed_ && !temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::string_view bytes) {
  buffer_.append(bytes);
  if (buffer_.size() >= kBufferBytes) flush();
}

void AtomicFile::flush() {
  size_t done = 0;
  while (done < buffer_.size()) {
    const ssize_t count = ::write(descriptor_, buffer_.data() + done, buffer_.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_file_error(path_, "cannot write", errno);
    done += static_cast<size_t>(count);
  }
  buffer_.clear();
}

void AtomicFile::commit() {
  flush();
  if (::fsync(descriptor_) != 0) throw_file_error(path_, "cannot write", errno);
  const int descriptor = std::exchange(descriptor_, -1);
  if (::close(descriptor) != 0) throw_file_error(path_, "cannot write", errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0)
    throw_file_error(path_, "cannot rename into place", errno);
  committed_ = true;
}

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  const Descriptor descriptor(open_regular(path, size_));
  if (size_ == 0) return;
  void* map = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor.number(), 0);
  if (map == MAP_FAILED) throw_file_error(path, "cannot map into memory", errno);
  data_ = static_cast<const std::byte*>(map);
  try {
    refuse_lfs_pointer(path, {static_cast<const char*>(map), size_});
  } catch (...) {
    ::munmap(map, size_);
    throw;
  }
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) {
    ::munmap(const_cast<std::byte*>(data_),
             size_);  // NOLINT(cppcoreguidelines-pro-type-const-cast)
  }
}

}  // namespace engram
