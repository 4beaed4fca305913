#include "engram/base/lines.h"

#include <fcntl.h>
#include <lzma.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "engram/base/file.h"
#include "engram/base/interrupt.h"
#include "engram/error.h"

namespace engram {
namespace {

constexpr size_t kChunk = size_t{1} << 16U;
// Dictionaries of `xz -9` take 65 MiB; a file that asks for far more is no text of anybody's.
constexpr uint64_t kMostMemory = uint64_t{512} << 20U;

/// Reads the bytes of a regular file or of a pipe.
class Stream {
 public:
  explicit Stream(const std::filesystem::path& path) : path_(path) {
    // Without O_NONBLOCK a named pipe would hold the program up, deaf to Ctrl-C.
    descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor_ < 0) throw_file_error(path_, "cannot open", errno);
    struct stat status {};
    const bool known = ::fstat(descriptor_, &status) == 0;
    pipe_ = known && S_ISFIFO(status.st_mode);
    if (!pipe_ && (!known || !S_ISREG(status.st_mode))) {  // a device may never end
      ::close(descriptor_);
      throw FileError(path_.string() + ": got " +
                      (known && S_ISDIR(status.st_mode) ? "a folder" : "a device or socket") +
                      ", expected a file or a pipe");
    }
  }
  ~Stream() { ::close(descriptor_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  /// The next bytes, into `buffer`; 0: the end.
  size_t read(std::string& buffer) {
    ssize_t count = 0;
    do {
      if (pipe_) wait_for_writer();
      Interrupt::check();
      count = ::read(descriptor_, buffer.data(), buffer.size());
    } while (count < 0 && (errno == EINTR || errno == EAGAIN));
    if (count < 0) throw_file_error(path_, "cannot read", errno);
    return static_cast<size_t>(count);
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  /// Until the pipe has something to read or its writer has left it.
  void wait_for_writer() const {
    constexpr int kMilliseconds = 100;
    pollfd waiting{descriptor_, POLLIN, 0};
    while (::poll(&waiting, 1, kMilliseconds) <= 0) Interrupt::check();
  }

  std::filesystem::path path_;
  int descriptor_ = -1;
  bool pipe_ = false;
};

/// What an .xz file holds.
class Unpacker {
 public:
  explicit Unpacker(Stream& from) : from_(from), packed_(kChunk, '\0') {
    if (lzma_stream_decoder(&stream_, kMostMemory, LZMA_CONCATENATED) != LZMA_OK) {
      throw InternalError("liblzma cannot be set up");
    }
  }
  ~Unpacker() { lzma_end(&stream_); }
  Unpacker(const Unpacker&) = delete;
  Unpacker& operator=(const Unpacker&) = delete;

  size_t read(std::string& buffer) {
    if (ended_) return 0;
    stream_.next_out = reinterpret_cast<uint8_t*>(buffer.data());
    stream_.avail_out = buffer.size();
    while (stream_.avail_out == buffer.size()) {
      if (stream_.avail_in == 0 && action_ == LZMA_RUN) {
        stream_.avail_in = from_.read(packed_);
        stream_.next_in = reinterpret_cast<const uint8_t*>(packed_.data());
        if (stream_.avail_in == 0) action_ = LZMA_FINISH;
      }
      const lzma_ret result = lzma_code(&stream_, action_);
      if (result == LZMA_STREAM_END) {
        ended_ = true;
        break;
      }
      if (result == LZMA_MEMLIMIT_ERROR) {
        throw InputError(from_.path().string() + ": this .xz file needs " +
                         std::to_string(lzma_memusage(&stream_) >> 20U) +
                         " MiB to be unpacked, expected at most " +
                         std::to_string(kMostMemory >> 20U));
      }
      if (result != LZMA_OK) {
        throw InputError(from_.path().string() + ": damaged or truncated .xz file (liblzma error " +
                         std::to_string(static_cast<int>(result)) + ")");
      }
    }
    return buffer.size() - stream_.avail_out;
  }

 private:
  Stream& from_;
  std::string packed_;
  lzma_stream stream_ = LZMA_STREAM_INIT;
  lzma_action action_ = LZMA_RUN;
  bool ended_ = false;
};

}  // namespace

struct LineReader::Impl {
  size_t longest = kAnyLength;
  std::unique_ptr<Stream> file;
  std::unique_ptr<Unpacker> xz;
  std::string buffer;
  std::string_view rest;  ///< what is read and not yet given out
  size_t length = 0;

  bool fill() {
    if (!file) return false;
    const size_t count = xz ? xz->read(buffer) : file->read(buffer);
    rest = std::string_view(buffer).substr(0, count);
    return count > 0;
  }
};

LineReader::LineReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LineReader::LineReader(LineReader&&) noexcept = default;
LineReader& LineReader::operator=(LineReader&&) noexcept = default;
LineReader::~LineReader() = default;

LineReader::LineReader(const std::filesystem::path& path, size_t longest)
    : impl_(std::make_unique<Impl>()) {
  impl_->longest = longest;
  impl_->file = std::make_unique<Stream>(path);
  if (path.extension() == ".xz") impl_->xz = std::make_unique<Unpacker>(*impl_->file);
  impl_->buffer.resize(kChunk);
}

LineReader LineReader::of_text(std::string_view text, size_t longest) {
  auto impl = std::make_unique<Impl>();
  impl->longest = longest;
  impl->rest = text;
  return LineReader(std::move(impl));
}

bool LineReader::next(std::string& line) {
  Impl& in = *impl_;
  line.clear();
  in.length = 0;
  while (true) {
    if (in.rest.empty() && !in.fill()) return in.length > 0;
    const size_t end = in.rest.find('\n');
    const std::string_view piece = in.rest.substr(0, end);
    line += piece.substr(0, in.longest - line.size());
    in.length += piece.size();
    if (end != std::string_view::npos) {
      in.rest.remove_prefix(end + 1);
      return true;
    }
    in.rest = {};
  }
}

size_t LineReader::length() const { return impl_->length; }

}  // namespace engram
