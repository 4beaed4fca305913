#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <map>
#include <string>

#include "engram/model/config.h"
#include "engram/model/safetensors.h"

namespace engram {

/// The tensors that a model is loaded from, wherever they lie.
struct TensorSource {
  std::string place;  ///< for messages: a folder
  std::map<std::string, StoredTensor> tensors;
};

/// Those of a checkpoint folder; throws as open_checkpoint().
TensorSource checkpoint_source(const std::filesystem::path& directory);
/// Those of a program: float32, float16 or bfloat16 tensors by the names that a checkpoint would
/// have. Contiguous ones on the CPU are not copied.
TensorSource memory_source(const std::map<std::string, at::Tensor>& tensors);

/// Says that a checkpoint has the body and nothing of the LM head; "" where that is not so.
std::string missing_head(const ModelConfig& config, const TensorSource& source);

}  // namespace engram
