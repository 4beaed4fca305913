#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>

namespace engram {

/// The operating system's words for an `errno` value.
std::string system_message(int error);
/// Throws FileError "PATH: what: the operating system's words for `error`".
[[noreturn]] void throw_file_error(const std::filesystem::path& path, std::string_view what,
                                   int error);

/// Reads a whole regular file. Throws FileError (missing, a directory, unreadable) or InputError
/// when it is larger than `max_bytes` or a Git LFS pointer stands in its place.
std::string read_file(const std::filesystem::path& path, std::uintmax_t max_bytes = 1ULL << 30);

/// Throws the FileError that read_file would throw for `path`, without reading it.
void check_readable(const std::filesystem::path& path);

/// Writes a file beside its final place and renames it into place on commit(), so that a reader
/// sees the old content or the whole new one. Without commit() nothing remains.
class AtomicFile {
 public:
  /// Throws FileError when `path` exists and is no regular file, or its folder cannot be written.
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Throws FileError (disk full and the like).
  void write(std::string_view bytes);
  /// Flushes to the disk and renames. Throws FileError.
  void commit();

  /// The check that the constructor makes, without creating anything: for refusing before work.
  static void check_writable(const std::filesystem::path& path);

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
  bool committed_ = false;
  std::string buffer_;
  void flush();
};

/// A read-only memory map of a whole regular file. Throws FileError, and InputError for a Git LFS
/// pointer.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  [[nodiscard]] const std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace engram
