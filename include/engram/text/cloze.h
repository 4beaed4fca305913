#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace engram {

/// A prompt with its answer as token ids: which positions are asked, and for what.
struct Cloze {
  std::vector<int64_t> ids;        ///< [tokens] special tokens included
  std::vector<int64_t> positions;  ///< [k] whose logits predict the answer: the masks, ascending
  std::vector<int64_t> answer;     ///< [k] token ids
  /// [k] another answer, against which Target::kLogitDifference sets the first one; empty: none.
  std::vector<int64_t> contrast = {};
  /// The token at which neurons are read and changed; unset: at `positions`.
  std::optional<int64_t> neurons_at = std::nullopt;
};

}  // namespace engram
