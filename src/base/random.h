#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace engram {

/// A small generator whose numbers are the same on every machine and library (SplitMix64, Steele
/// et al. 2014), unlike the distributions of <random>.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    state_ += 0x9E3779B97F4A7C15ULL;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }
  /// Uniform in 0..count-1. REQUIRES: count > 0.
  uint64_t below(uint64_t count) {
    // Numbers of the last, incomplete round are drawn again.
    const uint64_t limit = UINT64_MAX - UINT64_MAX % count;
    uint64_t value = next();
    while (value >= limit) value = next();
    return value % count;
  }
  template <typename T>
  void shuffle(std::vector<T>& values) {
    for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[below(i)]);
  }
  /// `count` different numbers of 0..from-1 (all if there are fewer), in random order.
  std::vector<uint64_t> sample(uint64_t from, uint64_t count);
  /// How often each of `count` things comes up when as many are drawn with replacement.
  std::vector<double> resample(uint64_t count);

 private:
  uint64_t state_;
};

/// FNV-1a of `text`, continuing `hash`: seeds that belong to a fact, whatever else is in the set.
inline uint64_t hash_text(std::string_view text, uint64_t hash = 0xCBF29CE484222325ULL) {
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  return (hash ^ 0xFFU) * 0x100000001B3ULL;  // ends the text, so that "ab","c" is not "a","bc"
}

}  // namespace engram
