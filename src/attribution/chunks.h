#pragma once

// Which prompts go together.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace engram {

struct PromptSize {
  int64_t tokens = 0;
  int64_t masks = 0;
  double share = 0;  ///< the part of a chunk that the prompt fills; more than 1: it goes alone
  double work = 0;   ///< what it takes beside others, in any unit
};

/// Indices of prompts in chunks: equally many masks, about equal lengths, shares that add up to at
/// most 1. Chunks of one number of masks are about equally full, and where prompts have tokens
/// enough there are some for four workers. Those with the most work come first, so that no worker
/// is left with a thick one at the end. The cut depends on nothing but `prompts`.
std::vector<std::vector<size_t>> cut_chunks(std::span<const PromptSize> prompts);

}  // namespace engram
