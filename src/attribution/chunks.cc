#include "chunks.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

namespace engram {
namespace {

constexpr double kRounding = 1e-9;  // of sums of shares
constexpr double kDealt = 4;        // chunks are dealt evenly to two workers, or to four
constexpr double kFewTokens = 48;   // chunks of fewer make products slow

/// Cuts prompts that may go together, in their order.
void cut_group(std::span<const PromptSize> prompts, const std::vector<size_t>& members,
               std::vector<std::vector<size_t>>& chunks) {
  double all = 0;
  double tokens = 0;
  for (const size_t i : members) {
    all += std::min(prompts[i].share, 1.0);
    tokens += static_cast<double>(prompts[i].tokens);
  }
  double count = std::ceil(std::max(all - kRounding, 1.0));
  count = std::max(count, std::min(kDealt, std::floor(tokens / kFewTokens)));
  if (count > 2) count = kDealt * std::ceil(count / kDealt);
  const double aim = all / count;
  double dealt = 0;   // of all
  double filled = 0;  // of the last chunk
  double full = aim;  // what is dealt when the last chunk is full
  chunks.emplace_back();
  for (const size_t i : members) {
    const double share = std::min(prompts[i].share, 1.0);
    const bool next = dealt >= full - kRounding || filled + share > 1 + kRounding;
    if (next && !chunks.back().empty()) {
      chunks.emplace_back();
      filled = 0;
      full += aim;
    }
    chunks.back().push_back(i);
    filled += share;
    dealt += share;
  }
}

}  // namespace

std::vector<std::vector<size_t>> cut_chunks(std::span<const PromptSize> prompts) {
  std::map<int64_t, std::vector<size_t>> by_masks;
  for (size_t i = 0; i < prompts.size(); ++i) by_masks[prompts[i].masks].push_back(i);
  std::vector<std::vector<size_t>> chunks;
  for (auto& [masks, members] : by_masks) {
    std::ranges::stable_sort(members, std::ranges::greater(),
                             [&](size_t i) { return prompts[i].tokens; });
    cut_group(prompts, members, chunks);
  }
  std::ranges::stable_sort(chunks, std::ranges::greater(), [&](const std::vector<size_t>& chunk) {
    return std::accumulate(chunk.begin(), chunk.end(), 0.0,
                           [&](double sum, size_t i) { return sum + prompts[i].work; });
  });
  return chunks;
}

}  // namespace engram
