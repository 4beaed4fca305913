#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace engram {

/// SHA-256 (FIPS 180-4) of what is fed to it.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void update(std::span<const std::byte> bytes);
  void update(std::string_view text);
  /// 64 lower-case hexadecimal digits of what was fed so far.
  [[nodiscard]] std::string hex() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Of a text.
std::string sha256_hex(std::string_view text);
/// Of a whole regular file. Throws FileError; Interrupted.
std::string sha256_file(const std::filesystem::path& path);

}  // namespace engram
