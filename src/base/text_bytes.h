#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>

namespace engram {

/// The bytes of a text file as they were before somebody packed it.
class TextBytes {
 public:
  TextBytes() = default;
  virtual ~TextBytes() = default;
  TextBytes(const TextBytes&) = delete;
  TextBytes& operator=(const TextBytes&) = delete;

  /// The next bytes, into the start of `buffer`; returns how many. 0: the end.
  virtual size_t read(std::string& buffer) = 0;
};

/// Opens a regular file or a pipe. What it is decides its content, not its name: plain text, or
/// .xz, .gz and .zst, also of several streams behind one another. Throws FileError (missing, a
/// folder or device), InputError (another packed or binary file, by name) and Interrupted; so does
/// read(), with one message for what is damaged or breaks off.
std::unique_ptr<TextBytes> open_text(const std::filesystem::path& path);

}  // namespace engram
