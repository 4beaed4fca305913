#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engram/model/config.h"
#include "engram/model/safetensors.h"

namespace engram {

/// Bytes of one element; REQUIRES: not kOther.
inline std::size_t storage_width(Storage storage) { return storage == Storage::kF32 ? 4 : 2; }

/// How a family stores the second FFN matrix of a layer.
struct ValueNames {
  std::vector<std::string> names;  ///< that it may have in files
  bool by_rows = false;            ///< [d_ff, d_model] (GPT-2); otherwise [d_model, d_ff]
};

/// By layer.
std::vector<ValueNames> value_tensor_names(const ModelConfig& config);

/// The second FFN matrix of a layer as stored: a neuron's value vector is a column of it, or a row.
struct ValueMatrix {
  StoredTensor tensor;
  bool by_rows = false;
  [[nodiscard]] int64_t d_model() const { return tensor.shape[by_rows ? 1 : 0]; }
  [[nodiscard]] int64_t d_ff() const { return tensor.shape[by_rows ? 0 : 1]; }
};

/// Those of a checkpoint folder by layer. Throws as open_checkpoint() and Model::load() for what is
/// wrong with them.
std::vector<ValueMatrix> value_tensors(const std::filesystem::path& directory);

/// The value vectors of `neurons` as stored, [neurons, d_model]. REQUIRES: the neurons exist.
std::vector<std::byte> read_values(const ValueMatrix& matrix, std::span<const int32_t> neurons);

/// Is every element finite? `bytes` holds elements of `storage`.
bool all_finite(Storage storage, std::span<const std::byte> bytes);

}  // namespace engram
