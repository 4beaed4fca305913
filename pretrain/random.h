#pragma once

#include <cstdint>

namespace engram::pretrain {

/// Random numbers that are a function of what they are for, not of what was drawn before: a run
/// that starts again in the middle draws the same ones. (SplitMix64's finaliser, Steele et al.
/// 2014.)
inline uint64_t mix(uint64_t x) {
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27U)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31U);
}

inline uint64_t hash(uint64_t seed, uint64_t a, uint64_t b = 0, uint64_t c = 0) {
  return mix(mix(mix(mix(seed) ^ a) ^ b) ^ c);
}

/// In [0, 1).
inline double uniform(uint64_t bits) { return static_cast<double>(bits >> 11U) * 0x1.0p-53; }

/// In [0, n); n > 0. The bias is below n / 2^64.
inline uint64_t below(uint64_t bits, uint64_t n) { return bits % n; }

/// The `index`-th element of a walk over 0..n-1 that visits each once before any comes again, in
/// another order in every round.
inline uint64_t shuffled(uint64_t seed, uint64_t index, uint64_t n) {
  const uint64_t round = index / n;
  // A Feistel-free permutation: cycle-walking over the next power of two with an odd multiplier and
  // xor-shifts, all of which are bijections of that range.
  uint64_t bits = 1;
  while ((1ULL << bits) < n) ++bits;
  const uint64_t mask = (1ULL << bits) - 1;
  const uint64_t half = bits / 2 + 1;
  uint64_t x = index % n;
  do {
    for (uint64_t k = 0; k < 3; ++k) {
      const uint64_t key = hash(seed, round, k);
      x = (x * (key | 1U) + (key >> 32U)) & mask;
      x ^= x >> half;
    }
  } while (x >= n);
  return x;
}

}  // namespace engram::pretrain
