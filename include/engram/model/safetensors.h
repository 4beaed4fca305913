#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace engram {

class MappedFile;

/// Storage type of a tensor in a file.
enum class Storage { kF32, kF16, kBF16, kOther };

/// As the format writes it: "F32", "F16", "BF16"; "another type".
const char* storage_text(Storage storage);

/// One tensor of a checkpoint, as the file's header tells it. The bytes belong to `file`, or where
/// there is none to `owner`.
struct StoredTensor {
  std::string name;
  Storage storage = Storage::kOther;
  std::string storage_name;  ///< as the file writes it, for messages ("F32", "I64"...)
  std::vector<int64_t> shape;
  const std::byte* data = nullptr;  ///< row-major, little-endian, never changed
  std::size_t bytes = 0;
  std::shared_ptr<const MappedFile> file;
  std::shared_ptr<const void> owner;
};

/// All tensors of a checkpoint folder: model.safetensors, or the shards that
/// model.safetensors.index.json names. The files are memory-mapped and validated by the
/// `safetensors` crate; nothing is copied. Throws FileError (unreadable) and InputError (truncated,
/// header longer than the file, overlapping or out-of-range offsets, a shard that lacks a tensor of
/// the index: each message names the file and what was expected).
std::map<std::string, StoredTensor> open_checkpoint(const std::filesystem::path& directory);

/// The tensors of one .safetensors file.
std::map<std::string, StoredTensor> open_safetensors(const std::filesystem::path& file);

/// One tensor to be written: float32 or float16 or bfloat16 bytes, row-major.
struct TensorToWrite {
  std::string name;
  Storage storage = Storage::kF32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
};

/// Writes a .safetensors file (beside and renamed). `metadata` becomes __metadata__.
/// Throws FileError.
void write_safetensors(const std::filesystem::path& file, std::span<const TensorToWrite> tensors,
                       const std::map<std::string, std::string>& metadata);

}  // namespace engram
