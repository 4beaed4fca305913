#include "reading/patterns.h"

#include <algorithm>
#include <tuple>

namespace engram {
namespace {

void add_grams(const std::vector<int64_t>& tokens, std::vector<Gram>& grams) {
  for (size_t begin = 0; begin < tokens.size(); ++begin) {
    const size_t most = std::min(tokens.size(), begin + static_cast<size_t>(kPatternGram));
    for (size_t end = begin + 1; end <= most; ++end) {
      grams.emplace_back(tokens.begin() + static_cast<int64_t>(begin),
                         tokens.begin() + static_cast<int64_t>(end));
    }
  }
}

}  // namespace

std::vector<Gram> grams_of(const Context& context) {
  std::vector<Gram> grams;
  add_grams(context.before, grams);
  add_grams(context.behind, grams);
  std::ranges::sort(grams);
  grams.erase(std::unique(grams.begin(), grams.end()), grams.end());
  return grams;
}

void GramCounts::add(const Context& context) {
  for (Gram& gram : grams_of(context)) ++counts_[std::move(gram)];
  ++contexts_;
}

bool GramCounts::rare(const Gram& gram) const {
  const auto found = counts_.find(gram);
  return found == counts_.end() ||
         static_cast<double>(found->second) <= kPatternRare * static_cast<double>(contexts_);
}

Pattern shared_pattern(std::span<const Context> contexts, const GramCounts& counts) {
  std::map<Gram, int64_t> held;
  for (const Context& context : contexts) {
    for (Gram& gram : grams_of(context)) ++held[std::move(gram)];
  }
  Pattern best;
  for (const auto& [gram, shared] : held) {  // ascending
    const bool more = std::tuple(shared, gram.size()) > std::tuple(best.shared, best.gram.size());
    if (more && counts.rare(gram)) best = {gram, shared};
  }
  return best;
}

}  // namespace engram
