#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>

#include "engram/text/facts.h"
#include "neurons/random.h"

namespace engram {

/// Facts of a relation that make one part of an experiment: what a crash can cost at most.
constexpr int64_t kPartFacts = 32;

/// The facts of a part. REQUIRES: part < ceil(facts / kPartFacts).
inline std::span<const int64_t> part_of(std::span<const int64_t> facts, int64_t part) {
  const auto begin = static_cast<size_t>(part * kPartFacts);
  return facts.subspan(begin, std::min(static_cast<size_t>(kPartFacts), facts.size() - begin));
}

/// Seeds of random choices that belong to a fact or relation and a purpose ("erase draws"),
/// whatever else is in the fact set and whichever part is done first.
inline uint64_t choice_seed(uint64_t seed, std::string_view purpose, std::string_view relation,
                            std::string_view subject = {}, std::string_view object = {}) {
  return hash_text(object, hash_text(subject, hash_text(relation, hash_text(purpose)))) +
         seed * 0x9E3779B97F4A7C15ULL;
}
inline uint64_t choice_seed(uint64_t seed, std::string_view purpose, const Fact& fact) {
  return choice_seed(seed, purpose, fact.relation, fact.subject, fact.object);
}

}  // namespace engram
