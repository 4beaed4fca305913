#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace engram {

/// An FFN neuron: coordinate `neuron` of the activation of `layer`, both from 0.
struct NeuronId {
  int32_t layer = 0;
  int32_t neuron = 0;
  friend auto operator<=>(const NeuronId&, const NeuronId&) = default;
};

/// "11:1754", as the command writes and reads it.
inline std::string neuron_name(NeuronId id) {
  return std::to_string(id.layer) + ":" + std::to_string(id.neuron);
}

}  // namespace engram

template <>
struct std::hash<engram::NeuronId> {
  std::size_t operator()(const engram::NeuronId& id) const noexcept {
    const auto key = (static_cast<std::uint64_t>(static_cast<std::uint32_t>(id.layer)) << 32) |
                     static_cast<std::uint32_t>(id.neuron);
    return static_cast<std::size_t>(key * 0x9E3779B97F4A7C15ULL >> 8);
  }
};
