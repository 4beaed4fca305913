#pragma once

#include <cstdint>
#include <string_view>

#include "base/random.h"
#include "engram/text/facts.h"

namespace engram {

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
