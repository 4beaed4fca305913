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

/// The names that the second FFN matrices may have in files, by layer.
std::vector<std::vector<std::string>> value_tensor_names(const ModelConfig& config);

/// The second FFN matrices of a checkpoint folder by layer, [d_model, d_ff] each: a column is a
/// neuron's value vector. Throws as open_checkpoint() and Model::load() for what is wrong with
/// them.
std::vector<StoredTensor> value_tensors(const std::filesystem::path& directory);

/// The value vectors of `neurons` as stored, [neurons, d_model]. REQUIRES: the neurons exist.
std::vector<std::byte> read_columns(const StoredTensor& matrix, std::span<const int32_t> neurons);

/// Is every element finite? `bytes` holds elements of `storage`.
bool all_finite(Storage storage, std::span<const std::byte> bytes);

}  // namespace engram
