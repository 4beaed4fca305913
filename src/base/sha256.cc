#include "base/sha256.h"

#include "engram/base/file.h"
#include "engram/base/interrupt.h"
#include "engram_crates.h"

namespace engram {
namespace {

constexpr std::size_t kPiece = std::size_t{16} << 20;  // bytes between looks at the interrupt

}  // namespace

struct Sha256::Impl {
  engram_crates_sha256* hash = engram_crates_sha256_new();
  Impl() = default;
  ~Impl() { engram_crates_sha256_free(hash); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
};

Sha256::Sha256() : impl_(std::make_unique<Impl>()) {}
Sha256::~Sha256() = default;

void Sha256::update(std::span<const std::byte> bytes) {
  engram_crates_sha256_update(impl_->hash, reinterpret_cast<const uint8_t*>(bytes.data()),
                              bytes.size());
}

void Sha256::update(std::string_view text) { update(std::as_bytes(std::span(text))); }

std::string Sha256::hex() const {
  char* text = engram_crates_sha256_hex(impl_->hash);
  std::string hex(text);
  engram_crates_free_text(text);
  return hex;
}

std::string sha256_hex(std::string_view text) {
  Sha256 hash;
  hash.update(text);
  return hash.hex();
}

std::string sha256_file(const std::filesystem::path& path) {
  const MappedFile file(path);
  Sha256 hash;
  for (std::size_t at = 0; at < file.size(); at += kPiece) {
    Interrupt::check();
    hash.update({file.data() + at, std::min(kPiece, file.size() - at)});
  }
  return hash.hex();
}

}  // namespace engram
