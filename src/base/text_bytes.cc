#include "base/text_bytes.h"

#include <fcntl.h>
#include <lzma.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>
#define ZLIB_CONST  // of its input
#include <zlib.h>
#include <zstd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <string_view>
#include <utility>

#include "engram/base/file.h"
#include "engram/base/interrupt.h"
#include "engram/error.h"

namespace engram {
namespace {

constexpr size_t kPackedChunk = size_t{1} << 16U;
// Dictionaries of `xz -9` take 65 MiB, windows of `zstd --ultra -22` 128 MiB; a file that asks for
// far more is no text of anybody's.
constexpr int kMostWindowLog = 29;
constexpr uint64_t kMostMemory = uint64_t{1} << static_cast<unsigned>(kMostWindowLog);
// So many bytes tell what a file is.
constexpr size_t kStart = 64;

/// A regular file or a pipe, as it is.
class Stream : public TextBytes {
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
  ~Stream() override { ::close(descriptor_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  size_t read(std::string& buffer) override {
    if (!start_.empty()) {
      const size_t count = start_.copy(buffer.data(), buffer.size());
      start_.erase(0, count);
      return count;
    }
    return read_into(buffer.data(), buffer.size());
  }

  /// The first bytes, which read() will give again; fewer than kStart: all there are.
  std::string_view start() {
    std::array<char, kStart> bytes{};
    while (start_.size() < kStart) {
      const size_t count = read_into(bytes.data(), kStart - start_.size());
      if (count == 0) break;
      start_.append(bytes.data(), count);
    }
    return start_;
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  size_t read_into(char* into, size_t size) {
    ssize_t count = 0;
    do {
      if (pipe_) wait_for_writer();
      Interrupt::check();
      count = ::read(descriptor_, into, size);
    } while (count < 0 && (errno == EINTR || errno == EAGAIN));
    if (count < 0) throw_file_error(path_, "cannot read", errno);
    return static_cast<size_t>(count);
  }
  /// Until the pipe has something to read or its writer has left it.
  void wait_for_writer() const {
    constexpr int kMilliseconds = 100;
    pollfd waiting{descriptor_, POLLIN, 0};
    while (::poll(&waiting, 1, kMilliseconds) <= 0) Interrupt::check();
  }

  std::filesystem::path path_;
  std::string start_;
  int descriptor_ = -1;
  bool pipe_ = false;
};

/// What all three kinds of packed files share: a buffer of packed bytes, and the messages.
class Packed : public TextBytes {
 public:
  Packed(std::unique_ptr<Stream> from, std::string ending)
      : from_(std::move(from)), ending_(std::move(ending)), packed_(kPackedChunk, '\0') {}

 protected:
  /// More packed bytes; none: the file ends here.
  std::string_view fill() { return std::string_view(packed_).substr(0, from_->read(packed_)); }
  [[noreturn]] void damaged(const std::string& why) const {
    throw InputError(from_->path().string() + ": got a damaged or truncated " + ending_ +
                     " file (" + why + ")");
  }
  [[noreturn]] void too_much(const std::string& needs) const {
    throw InputError(from_->path().string() + ": this " + ending_ + " file needs " + needs +
                     " to be unpacked, expected at most " + std::to_string(kMostMemory >> 20U) +
                     " MiB");
  }

 private:
  std::unique_ptr<Stream> from_;
  std::string ending_;
  std::string packed_;
};

class XzFile : public Packed {
 public:
  explicit XzFile(std::unique_ptr<Stream> from) : Packed(std::move(from), ".xz") {
    if (lzma_stream_decoder(&stream_, kMostMemory, LZMA_CONCATENATED) != LZMA_OK) {
      throw InternalError("liblzma cannot be set up");
    }
  }
  ~XzFile() override { lzma_end(&stream_); }
  XzFile(const XzFile&) = delete;
  XzFile& operator=(const XzFile&) = delete;

  size_t read(std::string& buffer) override {
    if (ended_) return 0;
    stream_.next_out = reinterpret_cast<uint8_t*>(buffer.data());
    stream_.avail_out = buffer.size();
    while (stream_.avail_out == buffer.size()) {
      if (stream_.avail_in == 0 && action_ == LZMA_RUN) {
        const std::string_view more = fill();
        stream_.avail_in = more.size();
        stream_.next_in = reinterpret_cast<const uint8_t*>(more.data());
        if (more.empty()) action_ = LZMA_FINISH;
      }
      const lzma_ret result = lzma_code(&stream_, action_);
      if (result == LZMA_STREAM_END) {
        ended_ = true;
        break;
      }
      if (result == LZMA_MEMLIMIT_ERROR) {
        too_much(std::to_string(lzma_memusage(&stream_) >> 20U) + " MiB");
      }
      if (result == LZMA_BUF_ERROR) damaged("it breaks off");
      if (result != LZMA_OK) {
        damaged("liblzma error " + std::to_string(static_cast<int>(result)));
      }
    }
    return buffer.size() - stream_.avail_out;
  }

 private:
  lzma_stream stream_ = LZMA_STREAM_INIT;
  lzma_action action_ = LZMA_RUN;
  bool ended_ = false;
};

class GzipFile : public Packed {
 public:
  explicit GzipFile(std::unique_ptr<Stream> from) : Packed(std::move(from), ".gz") {
    constexpr int kGzipOnly = 16 + MAX_WBITS;
    if (inflateInit2(&stream_, kGzipOnly) != Z_OK) throw InternalError("zlib cannot be set up");
  }
  ~GzipFile() override { inflateEnd(&stream_); }
  GzipFile(const GzipFile&) = delete;
  GzipFile& operator=(const GzipFile&) = delete;

  size_t read(std::string& buffer) override {
    stream_.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream_.avail_out = static_cast<uInt>(buffer.size());
    while (stream_.avail_out == buffer.size()) {
      if (stream_.avail_in == 0 && !refill()) {
        if (!between_) damaged("it breaks off");
        return 0;
      }
      if (between_ && !next_member()) continue;
      const int result = inflate(&stream_, Z_NO_FLUSH);
      if (result == Z_STREAM_END) {
        between_ = true;
      } else if (result != Z_OK && result != Z_BUF_ERROR) {
        damaged(stream_.msg == nullptr ? "zlib error " + std::to_string(result)
                                       : std::string(stream_.msg));
      }
    }
    return buffer.size() - stream_.avail_out;
  }

 private:
  bool refill() {
    const std::string_view more = fill();
    stream_.avail_in = static_cast<uInt>(more.size());
    stream_.next_in = reinterpret_cast<const Bytef*>(more.data());
    return !more.empty();
  }
  /// Behind a member zeros fill up a block of a tape, or another member follows.
  bool next_member() {
    while (stream_.avail_in > 0 && *stream_.next_in == 0 && members_ > 0) {
      ++stream_.next_in;
      --stream_.avail_in;
    }
    if (stream_.avail_in == 0) return false;
    if (members_ > 0 && inflateReset(&stream_) != Z_OK) {
      throw InternalError("zlib cannot be reset");
    }
    ++members_;
    between_ = false;
    return true;
  }

  z_stream stream_{};
  int64_t members_ = 0;
  bool between_ = true;  ///< no member is begun
};

class ZstdFile : public Packed {
 public:
  explicit ZstdFile(std::unique_ptr<Stream> from)
      : Packed(std::move(from), ".zst"), stream_(ZSTD_createDStream()) {
    if (stream_ == nullptr ||
        ZSTD_isError(ZSTD_DCtx_setParameter(stream_, ZSTD_d_windowLogMax, kMostWindowLog)) != 0U) {
      throw InternalError("libzstd cannot be set up");
    }
  }
  ~ZstdFile() override { ZSTD_freeDStream(stream_); }
  ZstdFile(const ZstdFile&) = delete;
  ZstdFile& operator=(const ZstdFile&) = delete;

  size_t read(std::string& buffer) override {
    ZSTD_outBuffer out{buffer.data(), buffer.size(), 0};
    while (out.pos == 0) {
      if (in_.pos == in_.size) {
        const std::string_view more = fill();
        if (more.empty()) {
          if (!between_) damaged("it breaks off");
          return 0;
        }
        in_ = {more.data(), more.size(), 0};
      }
      const size_t result = ZSTD_decompressStream(stream_, &out, &in_);
      if (ZSTD_isError(result) != 0U) {
        const std::string why = ZSTD_getErrorName(result);
        if (why.find("too much memory") != std::string::npos) too_much("more memory");
        damaged(why);
      }
      between_ = result == 0;
    }
    return out.pos;
  }

 private:
  ZSTD_DStream* stream_;
  ZSTD_inBuffer in_{nullptr, 0, 0};
  bool between_ = true;  ///< no frame is begun
};

/// A file that is no text, known by its first bytes.
struct OtherKind {
  std::string_view start;
  const char* name;
  const char* instead;
};
constexpr const char* kUnpack = "plain text, or text in an .xz, .gz or .zst file";
constexpr const char* kUtf8 = "text in UTF-8";
using namespace std::string_view_literals;
constexpr auto kOtherKinds = std::to_array<OtherKind>({
    {"BZh"sv, "a bzip2 file", kUnpack},
    {"PK\x03\x04"sv, "a zip file", kUnpack},
    {"7z\xBC\xAF\x27\x1C"sv, "a 7z file", kUnpack},
    {"\x04\x22\x4D\x18"sv, "an lz4 file", kUnpack},
    {"\x5D\x00\x00"sv, "an .lzma file", kUnpack},
    {"LZIP"sv, "an lzip file", kUnpack},
    {"\x1F\x9D"sv, "a file of `compress`", kUnpack},
    {"PAR1"sv, "a Parquet file", kUnpack},
    {"ARROW1"sv, "an Arrow file", kUnpack},
    {"SQLite format 3\0"sv, "a SQLite file", kUnpack},
    {"\x93NUMPY"sv, "a NumPy file", kUnpack},
    {"%PDF-"sv, "a PDF file", kUnpack},
    {"\xFF\xFE"sv, "text in UTF-16", kUtf8},
    {"\xFE\xFF"sv, "text in UTF-16", kUtf8},
    {"version https://git-lfs.github.com/spec/"sv, "a pointer of Git LFS",
     "the file itself: run `git lfs pull`"},
});

void refuse_other_kinds(const std::filesystem::path& path, std::string_view start) {
  const auto refuse = [&](const std::string& got, const std::string& instead) {
    throw InputError(path.string() + ": got " + got + ", expected " + instead);
  };
  for (const OtherKind& kind : kOtherKinds) {
    if (start.starts_with(kind.start)) refuse(kind.name, kind.instead);
  }
  if (start.find('\0') != std::string_view::npos) refuse("a binary file", kUnpack);
}

}  // namespace

std::unique_ptr<TextBytes> open_text(const std::filesystem::path& path) {
  auto file = std::make_unique<Stream>(path);
  const std::string_view start = file->start();
  if (start.starts_with("\xFD"
                        "7zXZ\0"sv)) {
    return std::make_unique<XzFile>(std::move(file));
  }
  if (start.starts_with("\x1F\x8B")) return std::make_unique<GzipFile>(std::move(file));
  const bool skippable = start.size() >= 4 && start.substr(1, 3) == "\x2A\x4D\x18" &&
                         (static_cast<unsigned char>(start[0]) & 0xF0U) == 0x50U;
  if (start.starts_with("\x28\xB5\x2F\xFD") || skippable) {
    return std::make_unique<ZstdFile>(std::move(file));
  }
  refuse_other_kinds(path, start);
  return file;
}

}  // namespace engram
