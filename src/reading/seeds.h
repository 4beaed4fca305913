#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/random.h"

namespace engram {

/// A seed of its own for each purpose, and for each layer or so.
inline uint64_t seed_of(uint64_t seed, std::string_view purpose, int64_t number) {
  return hash_text(std::to_string(number), hash_text(purpose, hash_text(std::to_string(seed))));
}

}  // namespace engram
