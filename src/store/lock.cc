#include "store/lock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "engram/base/file.h"
#include "engram/base/utf8.h"
#include "engram/error.h"

namespace engram {
namespace {

/// The same for every name of the run.
std::filesystem::path lock_path(const std::filesystem::path& run) {
  std::error_code none;
  std::filesystem::path real = std::filesystem::weakly_canonical(run, none);
  if (none) real = run;
  return real += "-lock";
}

struct flock whole_file(short kind) {
  struct flock lock {};
  lock.l_type = kind;
  lock.l_whence = SEEK_SET;
  return lock;
}

std::string content(int descriptor) {
  std::array<char, 256> text{};
  const ssize_t count = ::pread(descriptor, text.data(), text.size(), 0);
  std::string line(text.data(), count > 0 ? static_cast<size_t>(count) : 0);
  line.resize(std::min(line.size(), line.find('\n')));
  return line.empty() ? "unknown process" : line;
}

}  // namespace

std::string this_process() {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '?';
  return std::string(host.data()) + ":" + std::to_string(::getpid());
}

// Locks of the open file description (OFD), not of the process: they also keep two objects of one
// process apart, and closing another descriptor of the file does not drop them.
WriterLock::WriterLock(const std::filesystem::path& run) : path_(lock_path(run)) {
  for (;;) {
    descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (descriptor_ < 0)
      throw FileError(path_.string() + ": cannot open: " + system_message(errno));
    struct flock lock = whole_file(F_WRLCK);
    if (::fcntl(descriptor_, F_OFD_SETLK, &lock) != 0) {
      const int error = errno;
      const std::string who = content(descriptor_);
      ::close(descriptor_);
      if (error != EAGAIN && error != EACCES) {
        throw FileError(path_.string() + ": cannot lock: " + system_message(error));
      }
      throw FileError(run.string() + ": is being written by another process (" + printable(who) +
                      "), expected to be its only writer");
    }
    // The holder before may have removed the file between open and lock.
    struct stat ours {
    }, named{};
    if (::fstat(descriptor_, &ours) == 0 && ::stat(path_.c_str(), &named) == 0 &&
        ours.st_ino == named.st_ino && ours.st_dev == named.st_dev) {
      break;
    }
    ::close(descriptor_);
  }
  const std::string line = this_process() + "\n";
  // Who holds it is a remark for people: the lock stands without.
  if (::ftruncate(descriptor_, 0) != 0 || ::pwrite(descriptor_, line.data(), line.size(), 0) < 0) {
    errno = 0;
  }
}

WriterLock::~WriterLock() {
  ::unlink(path_.c_str());
  ::close(descriptor_);
}

std::optional<std::string> WriterLock::holder(const std::filesystem::path& run) {
  const std::filesystem::path path = lock_path(run);
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (descriptor < 0) {
    if (errno == ENOENT) return {};
    throw FileError(path.string() + ": cannot open: " + system_message(errno));
  }
  struct flock lock = whole_file(F_WRLCK);
  const int result = ::fcntl(descriptor, F_OFD_GETLK, &lock);
  const int error = errno;
  std::string who = content(descriptor);
  ::close(descriptor);
  if (result != 0)
    throw FileError(path.string() + ": cannot look at its lock: " + system_message(error));
  if (lock.l_type == F_UNLCK) return {};
  return who;
}

}  // namespace engram
