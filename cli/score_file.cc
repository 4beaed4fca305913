#include "cli/score_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <string>

#include "engram/base/file.h"
#include "engram/error.h"

namespace engram::cli {
namespace {

constexpr int64_t kNumpyHeader = 128;        // numpy.lib.format 1.0 wants a multiple of 64
constexpr int64_t kSafetensorsHeader = 256;  // its length in front, padded with blanks

std::string numpy_header(const std::string& shape) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + shape + "), }";
  constexpr size_t kPrefix = 10;  // magic, version, length of the rest
  header.resize(static_cast<size_t>(kNumpyHeader) - kPrefix - 1, ' ');
  header.push_back('\n');
  return std::string("\x93NUMPY\x01\x00\x76\x00", kPrefix) + header;  // 0x76 = 128 - 10
}

std::string safetensors_header(const std::string& shape, int64_t bytes) {
  std::string header = R"({"__metadata__":{"format":"engram"},"scores":{"dtype":"F32","shape":[)" +
                       shape + R"(],"data_offsets":[0,)" + std::to_string(bytes) + "]}}";
  constexpr uint64_t kLength = kSafetensorsHeader - 8;
  header.resize(kLength, ' ');
  std::string prefix(8, '\0');
  std::memcpy(prefix.data(), &kLength, sizeof kLength);
  return prefix + header;
}

}  // namespace

static_assert(std::endian::native == std::endian::little, "the header says little-endian");

ScoreFile::ScoreFile(std::filesystem::path path, int64_t layers, int64_t d_ff)
    : path_(std::move(path)), layers_(layers), d_ff_(d_ff) {
  safetensors_ = path_.extension() == ".safetensors";
  AtomicFile::check_writable(path_);
  std::string pattern = path_.string() + ".XXXXXX";
  descriptor_ = ::mkstemp(pattern.data());
  temporary_ = pattern;
  if (descriptor_ < 0) throw_file_error(path_, "cannot be created", errno);
  const mode_t mask = ::umask(0);
  ::umask(mask);
  ::fchmod(descriptor_, 0666 & ~mask);  // mkstemp leaves the file to its owner only
}

ScoreFile::~ScoreFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

void ScoreFile::write_at(const void* bytes, size_t size, int64_t offset) const {
  const char* at = static_cast<const char*>(bytes);
  while (size > 0) {
    const ssize_t written = ::pwrite(descriptor_, at, size, offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      if (written == 0) errno = ENOSPC;
      throw_file_error(path_, "cannot be written", errno);
    }
    at += written;
    size -= static_cast<size_t>(written);
    offset += written;
  }
}

void ScoreFile::write_row(int64_t row, const at::Tensor& scores) {
  const at::Tensor values = scores.contiguous();
  if (values.scalar_type() != at::kFloat || values.numel() != layers_ * d_ff_) {
    throw InternalError("ScoreFile: scores must be float32 [layers, d_ff]");
  }
  const auto bytes = static_cast<int64_t>(sizeof(float)) * layers_ * d_ff_;
  write_at(values.const_data_ptr<float>(), static_cast<size_t>(bytes),
           (safetensors_ ? kSafetensorsHeader : kNumpyHeader) + row * bytes);
}

void ScoreFile::commit(int64_t rows, bool single) {
  if (single && rows != 1) throw InternalError("ScoreFile: a single row, and not one");
  const std::string shape = (single ? "" : std::to_string(rows) + ", ") + std::to_string(layers_) +
                            ", " + std::to_string(d_ff_);
  const auto bytes = static_cast<int64_t>(sizeof(float)) * rows * layers_ * d_ff_;
  const std::string whole = safetensors_ ? safetensors_header(shape, bytes) : numpy_header(shape);
  write_at(whole.data(), whole.size(), 0);
  if (::fsync(descriptor_) != 0) throw_file_error(path_, "cannot be written", errno);
  if (::close(descriptor_) != 0) {
    descriptor_ = -1;
    throw_file_error(path_, "cannot be written", errno);
  }
  descriptor_ = -1;
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int code = errno;
    ::unlink(temporary_.c_str());
    errno = code;
    throw_file_error(path_, "cannot be renamed into place", errno);
  }
}

}  // namespace engram::cli
