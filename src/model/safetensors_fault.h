#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace engram {

/// Why a file that the safetensors crate refused is wrong, in words that name the tensor, what was
/// got and what was expected; the crate's own say little. The file holds its whole header. Empty:
/// nothing was found. The text may repeat control characters of the file.
std::string safetensors_fault(std::span<const std::byte> file);

}  // namespace engram
