#pragma once

// Which prompts go together, and how they lie then.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engram/model/config.h"
#include "engram/text/cloze.h"

namespace engram {

/// Throws InputError when a prompt does not fit the model.
void check_clozes(const ModelConfig& config, std::span<const Cloze> clozes);

/// Prompts with equally many masks that go together. They may differ in length: their rows stand
/// one after the other, without padding.
struct Chunk {
  int64_t prompts = 0;
  int64_t targets = 0;               ///< k, positions asked per prompt
  std::vector<int64_t> ids;          ///< [rows]
  std::vector<int64_t> begin = {0};  ///< [prompts + 1] rows at which the prompts begin
  std::vector<int64_t> position;     ///< [prompts * k] within its prompt
  std::vector<int64_t> answer;       ///< [prompts * k]
  std::vector<int64_t> contrast;     ///< [prompts * k], empty unless the target needs it

  [[nodiscard]] int64_t tokens(int64_t prompt) const {
    return begin[static_cast<size_t>(prompt) + 1] - begin[static_cast<size_t>(prompt)];
  }
  [[nodiscard]] int64_t longest() const;  ///< tokens
  /// Whether no row of a prompt stands behind its first target but targets.
  [[nodiscard]] bool targets_last() const;
  [[nodiscard]] int64_t rows() const { return begin.back(); }
};

/// The prompts of `clozes` at `index`, which have equally many masks.
Chunk make_chunk(std::span<const Cloze> clozes, const std::vector<size_t>& index);

struct PromptSize {
  int64_t tokens = 0;
  int64_t masks = 0;
  double share = 0;  ///< the part of a chunk that the prompt fills; more than 1: it goes alone
  double work = 0;   ///< what it takes beside others, in any unit
};

/// Sizes of prompts of which `most` tokens go together; their work is their tokens.
std::vector<PromptSize> sizes_of(std::span<const Cloze> clozes, int64_t most);

/// Indices of prompts in chunks: equally many masks, about equal lengths, shares that add up to at
/// most 1. Chunks of one number of masks are about equally full, and where prompts have tokens
/// enough there are some for four workers. Those with the most work come first, so that no worker
/// is left with a thick one at the end. The cut depends on nothing but `prompts`.
std::vector<std::vector<size_t>> cut_chunks(std::span<const PromptSize> prompts);

}  // namespace engram
