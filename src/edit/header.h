#pragma once

#include <nlohmann/json.hpp>

#include "engram/base/file.h"

namespace engram {

/// The __metadata__ of a .safetensors file that the crate has read, an object of texts; null where
/// it has none. Throws JsonFault.
nlohmann::json file_metadata(const MappedFile& file);

}  // namespace engram
