#pragma once

#include <ATen/ATen.h>

#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

// Tensors as the bytes of a run's table: float32, little-endian, rows one after the other.
namespace engram {

inline std::vector<std::byte> bytes_of(const at::Tensor& values) {
  const at::Tensor plain = values.to(at::kCPU, at::kFloat).contiguous();
  std::vector<std::byte> bytes(static_cast<size_t>(plain.nbytes()));
  std::memcpy(bytes.data(), plain.const_data_ptr<float>(), bytes.size());
  return bytes;
}

inline std::vector<float> floats_of(std::span<const std::byte> bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

}  // namespace engram
