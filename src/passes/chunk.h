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
/// one after the other, without padding. A prompt's target rows are those at which its answer is
/// asked and, where they are apart, the one of its neurons.
struct Chunk {
  int64_t prompts = 0;
  int64_t targets = 0;               ///< target rows per prompt
  int64_t asked = 0;                 ///< k of them, at which the answer is asked
  std::vector<int64_t> ids;          ///< [rows]
  std::vector<int64_t> begin = {0};  ///< [prompts + 1] rows at which the prompts begin
  std::vector<int64_t> position;     ///< [prompts * targets] within its prompt, ascending
  std::vector<int64_t> asked_row;    ///< [prompts * asked] among the prompt's target rows; empty:
                                     ///< all of them
  std::vector<int64_t> neuron_row;  ///< [prompts] among the prompt's target rows, where neurons are
                                    ///< read and changed; empty: at all of them
  std::vector<int64_t> answer;      ///< [prompts * asked]
  std::vector<int64_t> contrast;    ///< [prompts * asked], empty unless the target needs it

  [[nodiscard]] int64_t tokens(int64_t prompt) const {
    return begin[static_cast<size_t>(prompt) + 1] - begin[static_cast<size_t>(prompt)];
  }
  [[nodiscard]] int64_t longest() const;  ///< tokens
  /// Whether no row of a prompt stands behind its first target but targets.
  [[nodiscard]] bool targets_last() const;
  /// Whether neurons are read and changed at target row `row` of `prompt`.
  [[nodiscard]] bool has_neurons(int64_t prompt, int64_t row) const {
    return neuron_row.empty() || neuron_row[static_cast<size_t>(prompt)] == row;
  }
  /// Those rows of `prompt` follow each other: the first one among all target rows, and how many.
  [[nodiscard]] int64_t first_neuron_row(int64_t prompt) const {
    return prompt * targets + (neuron_row.empty() ? 0 : neuron_row[static_cast<size_t>(prompt)]);
  }
  [[nodiscard]] int64_t neuron_rows() const { return neuron_row.empty() ? targets : 1; }
  /// Rows of a batch at which the answer is asked, of items with `targets` rows each: `prompt` says
  /// which prompt an item is of. [items * asked]
  [[nodiscard]] std::vector<int64_t> asked_rows(const std::vector<int64_t>& prompt) const;
  [[nodiscard]] int64_t rows() const { return begin.back(); }
};

/// The prompts of `clozes` at `index`, which have equally many masks.
Chunk make_chunk(std::span<const Cloze> clozes, const std::vector<size_t>& index);

struct PromptSize {
  int64_t tokens = 0;
  int64_t targets = 0;  ///< as Chunk::targets
  int64_t asked = 0;    ///< and Chunk::asked
  bool apart = false;   ///< neurons are at a row of their own
  bool last = false;    ///< as Chunk::targets_last()
  double share = 0;     ///< the part of a chunk that the prompt fills; more than 1: it goes alone
  double work = 0;      ///< what it takes beside others, in any unit
};

/// Sizes of prompts of which `most` tokens go together; their work is their tokens.
std::vector<PromptSize> sizes_of(std::span<const Cloze> clozes, int64_t most);

/// Indices of prompts in chunks: equally many target rows of each kind, about equal lengths, shares
/// that add up to at most 1. Chunks of one kind are about equally full, and where prompts have
/// tokens enough there are some for four workers. Those with the most work come first, so that no
/// worker is left with a thick one at the end. The cut depends on nothing but `prompts`.
std::vector<std::vector<size_t>> cut_chunks(std::span<const PromptSize> prompts);

}  // namespace engram
