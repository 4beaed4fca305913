#include "base/random.h"

#include <algorithm>
#include <unordered_set>

namespace engram {

std::vector<uint64_t> Random::sample(uint64_t from, uint64_t count) {
  count = std::min(count, from);
  std::vector<uint64_t> chosen;
  chosen.reserve(count);
  std::unordered_set<uint64_t> seen;
  for (uint64_t i = from - count; i < from; ++i) {  // Floyd's way: no list of all numbers
    const uint64_t value = below(i + 1);
    chosen.push_back(seen.insert(value).second ? value : i);
    seen.insert(chosen.back());
  }
  shuffle(chosen);
  return chosen;
}

std::vector<double> Random::resample(uint64_t count) {
  std::vector<double> times(count, 0.0);
  for (uint64_t i = 0; i < count; ++i) times[below(count)] += 1;
  return times;
}

}  // namespace engram
