#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace engram {

/// The lines of a text file or of a text in memory, one at a time: the one way in which text is
/// read. A file may be packed as .xz, .gz or .zst, which its content tells, not its name; streams
/// behind one another are one text. Pipes are waited for in a way that Ctrl-C ends.
class LineReader {
 public:
  /// A line longer than this is cut: memory stays bounded whatever the file holds.
  static constexpr size_t kAnyLength = SIZE_MAX;

  /// Throws FileError (missing, a folder or device, unreadable), InputError for a file that is no
  /// text: packed in another way, binary, UTF-16, a pointer of Git LFS.
  explicit LineReader(const std::filesystem::path& path, size_t longest = kAnyLength);
  /// REQUIRES: `text` outlives the reader.
  static LineReader of_text(std::string_view text, size_t longest = kAnyLength);
  LineReader(LineReader&&) noexcept;
  LineReader& operator=(LineReader&&) noexcept;
  ~LineReader();

  /// The next line without its newline; false at the end. Of a line above `longest` bytes only the
  /// start is kept. Throws FileError (unreadable), InputError (damaged or truncated packed
  /// file), Interrupted.
  bool next(std::string& line);
  /// For text whose parts are not lines: bytes at hand that are not yet taken, none at the end;
  /// valid until the next call. At the start of a file at least its first 64 bytes.
  [[nodiscard]] std::string_view rest();
  /// Passes over so many of rest().
  void take(size_t bytes);
  /// Bytes of the last line as it stands in the file.
  [[nodiscard]] size_t length() const;

 private:
  struct Impl;
  explicit LineReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace engram
