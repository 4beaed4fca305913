#include "edit/value_tensors.h"

#include <cstring>

#include "engram/base/file.h"
#include "engram/error.h"
#include "engram/model/model.h"
#include "engram/model/tensor_table.h"

namespace engram {
namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (const int64_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

void check(const ValueMatrix& matrix, const ModelConfig& config) {
  const StoredTensor& tensor = matrix.tensor;
  const std::string where = tensor.file->path().string() + ": tensor \"" + tensor.name + "\"";
  if (tensor.storage == Storage::kOther) {
    throw InputError(where + ": got dtype " + tensor.storage_name + ", expected F32, F16 or BF16");
  }
  const std::vector<int64_t> shape = matrix.by_rows ? std::vector{config.d_ff, config.d_model}
                                                    : std::vector{config.d_model, config.d_ff};
  if (tensor.shape != shape) {
    throw InputError(where + ": got shape " + shape_text(tensor.shape) + ", expected " +
                     shape_text(shape) + " from config.json");
  }
}

}  // namespace

std::vector<ValueNames> value_tensor_names(const ModelConfig& config) {
  ModelWeights weights;
  const std::vector<TensorSpec> table = tensor_table(config, weights);
  std::vector<ValueNames> names;
  for (const LayerWeights& layer : weights.layers) {
    for (const TensorSpec& spec : table) {
      if (spec.destination != &layer.ffn_out_weight) continue;
      if (spec.layout.rows != 0) {
        throw InternalError("value_tensor_names: value vectors in a part of a tensor");
      }
      names.push_back({spec.names, spec.layout.transposed});
    }
  }
  if (names.size() != weights.layers.size()) {
    throw InternalError("value_tensor_names: a layer without a second FFN matrix");
  }
  return names;
}

std::vector<ValueMatrix> value_tensors(const std::filesystem::path& directory) {
  const ModelConfig config = read_config(directory);
  const std::map<std::string, StoredTensor> stored = open_checkpoint(directory);
  std::vector<ValueMatrix> matrices;
  for (const ValueNames& layer : value_tensor_names(config)) {
    const StoredTensor* found = nullptr;  // where a file has several of the names, the last counts
    for (const std::string& name : layer.names) {
      const auto place = stored.find(name);
      if (place != stored.end()) found = &place->second;
    }
    if (found == nullptr) {
      throw InputError(directory.string() + ": tensor \"" + layer.names.front() + "\" is missing");
    }
    matrices.push_back({*found, layer.by_rows});
    check(matrices.back(), config);
  }
  return matrices;
}

std::vector<std::byte> read_values(const ValueMatrix& matrix, std::span<const int32_t> neurons) {
  const size_t width = storage_width(matrix.tensor.storage);
  const auto d_model = static_cast<size_t>(matrix.d_model());
  const auto columns = static_cast<size_t>(matrix.tensor.shape[1]);
  std::vector<std::byte> bytes(neurons.size() * d_model * width);
  std::byte* out = bytes.data();
  for (const int32_t neuron : neurons) {
    const auto number = static_cast<size_t>(neuron);
    if (matrix.by_rows) {
      std::memcpy(out, matrix.tensor.data + number * columns * width, columns * width);
      out += columns * width;
      continue;
    }
    const std::byte* element = matrix.tensor.data + number * width;
    for (size_t row = 0; row < d_model; ++row, element += columns * width, out += width) {
      std::memcpy(out, element, width);
    }
  }
  return bytes;
}

bool all_finite(Storage storage, std::span<const std::byte> bytes) {
  // Infinite and NaN: all bits of the exponent are set.
  if (storage == Storage::kF32) {
    for (size_t i = 0; i + 4 <= bytes.size(); i += 4) {
      uint32_t bits = 0;
      std::memcpy(&bits, bytes.data() + i, sizeof bits);
      if ((bits & 0x7F800000U) == 0x7F800000U) return false;
    }
    return true;
  }
  const uint32_t exponent = storage == Storage::kF16 ? 0x7C00U : 0x7F80U;
  for (size_t i = 0; i + 2 <= bytes.size(); i += 2) {
    uint16_t bits = 0;
    std::memcpy(&bits, bytes.data() + i, sizeof bits);
    if ((bits & exponent) == exponent) return false;
  }
  return true;
}

}  // namespace engram
