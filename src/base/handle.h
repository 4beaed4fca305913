#pragma once

#include <cstddef>
#include <filesystem>
#include <string_view>

namespace engram {

/// An open file or folder that is closed on every way out.
class Handle {
 public:
  explicit Handle(int number = -1) : number_(number) {}
  ~Handle();
  Handle(Handle&& other) noexcept;
  Handle& operator=(Handle&& other) noexcept;
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  [[nodiscard]] int number() const { return number_; }

 private:
  int number_;
};

/// Opens a regular file for reading and tells its size in bytes. Throws FileError.
Handle open_regular(const std::filesystem::path& path, size_t& size);

/// fsync. Throws FileError.
void flush_to_disk(const Handle& file, const std::filesystem::path& path);

/// Refuses by name what `git clone` leaves in place of a large file when git-lfs is not set up:
/// the text would be taken for a broken file of its kind. Throws InputError.
void refuse_lfs_pointer(const std::filesystem::path& path, std::string_view bytes);

}  // namespace engram
