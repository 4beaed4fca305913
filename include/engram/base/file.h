#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

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

/// Flushes the entries of a folder to the disk ("" is the one that the program runs in), so that a
/// file renamed into it is found under its new name after a loss of power. Where the folder may not
/// be read or its file system cannot do it, nothing is done. Throws FileError.
void sync_folder(const std::filesystem::path& folder);

/// A file that is made beside its final place, as .NAME.XXXXXX, and renamed into place by commit().
/// Without commit() nothing remains.
class FileInMaking {
 public:
  /// What commit() does with a file that is there already.
  enum class Existing { kReplace, kRefuse };
  /// Throws FileError when `path` is there and may not be replaced, or its folder cannot be
  /// written. The new file's permissions are those that open() would give it.
  explicit FileInMaking(std::filesystem::path path, Existing existing = Existing::kReplace);
  ~FileInMaking();
  FileInMaking(const FileInMaking&) = delete;
  FileInMaking& operator=(const FileInMaking&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  [[nodiscard]] const std::filesystem::path& temporary() const noexcept { return temporary_; }
  /// Writes all of `bytes` from byte `offset` on. Throws FileError (disk full and the like).
  void write_at(std::string_view bytes, std::int64_t offset) const;
  /// Flushes the file to the disk, renames it, and flushes its folder. Throws FileError.
  void commit();

  /// The check that the constructor makes, without creating anything: for refusing before work.
  static void check_writable(const std::filesystem::path& path,
                             Existing existing = Existing::kReplace);

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  Existing existing_;
  int descriptor_ = -1;
  bool committed_ = false;
};

/// Writes a file from its beginning to its end, beside its place until commit(): a reader sees the
/// old content or the whole new one.
class AtomicFile {
 public:
  /// Throws FileError when `path` exists and is not a regular file, or its folder cannot be
  /// written.
  explicit AtomicFile(std::filesystem::path path) : file_(std::move(path)) {}

  /// Throws FileError (disk full and the like).
  void write(std::string_view bytes);
  /// Flushes to the disk and renames. Throws FileError.
  void commit();

  /// FileInMaking::check_writable.
  static void check_writable(const std::filesystem::path& path) {
    FileInMaking::check_writable(path);
  }

 private:
  FileInMaking file_;
  std::int64_t written_ = 0;
  std::string buffer_;
  void flush();
};

/// A read-only memory map of a whole regular file. Throws FileError, and InputError for a Git LFS
/// pointer. A file that is cut short while it is mapped has no bytes to give: reading them raises
/// SIGBUS, which report_lost_maps() turns into a message.
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

/// Installs a SIGBUS handler for programs: where a mapped file was cut short or its disk cannot be
/// read, it writes one line "PROGRAM: error: PATH: ..." to stderr and ends the process with
/// ExitCode::kFile. SIGBUS for any other reason ends the process as before. `program` is kept, not
/// copied: it has to live as long as the maps.
void report_lost_maps(const char* program);

}  // namespace engram
