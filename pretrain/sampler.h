#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "pretrain/dataset.h"

namespace engram::pretrain {

/// What the batches are made of.
struct SamplerOptions {
  double sentence_share = 0.48;   ///< of the sequences: sentences that hold a fact
  double prompt_share = 0.35;     ///< of the sequences: our phrasings; the rest is general text
  double sentence_masked = 0.70;  ///< of the sentences: the object is masked, else like text
  double masked = 0.15;           ///< of the tokens of text: to be predicted
  double few_masked = 0.3;        ///< of the texts: only 1 to 3 tokens are to be predicted
  double answer_weight = 3;       ///< of a fact's answer in the loss, against 1 for other tokens
  double prompt_dressed = 0.25;   ///< of the prompts: with an opener or closer
  double prompt_paired = 0.25;    ///< of the prompts: two different facts in one sequence
  int64_t sequences_per_step = 32;
  int64_t batch_tokens = 640;  ///< of a micro-batch, about
  int64_t max_tokens = 128;    ///< of a sequence, special tokens included
  uint64_t seed = 0;
};

/// One micro-batch: rectangular, sequences of about the same length.
struct MicroBatch {
  int64_t rows = 0, columns = 0;
  std::vector<int64_t> ids;       ///< [rows, columns]
  std::vector<uint8_t> real;      ///< [rows, columns]: 0 at padding
  bool padded = false;            ///< some `real` is 0
  std::vector<int64_t> targets;   ///< where to predict: index into rows * columns, ascending
  std::vector<int64_t> expected;  ///< the token there
  std::vector<float> weights;     ///< of the targets in the loss
  int64_t tokens = 0;             ///< without padding
};

/// Makes the batches of any step out of (data, options, step) alone, so a run can start again
/// anywhere. Sequences are drawn in pools of many steps, sorted by length and cut into
/// micro-batches, of which every step gets short and long ones. Facts are visited equally often,
/// each in a new order in every round. Not thread-safe: it keeps the last pool.
class Sampler {
 public:
  /// `data` must outlive the sampler. Throws UsageError (shares), InputError (a kind that has a
  /// share has no sequence).
  Sampler(const Dataset& data, const SamplerOptions& options);

  /// The micro-batches of step 0, 1, ...
  std::vector<MicroBatch> step(int64_t step);

 private:
  struct Item {
    std::vector<int64_t> ids;
    std::vector<int64_t> targets;  ///< positions
    std::vector<int64_t> expected;
    std::vector<float> weights;
  };
  Item draw_sentence(uint64_t index, uint64_t bits) const;
  Item draw_text(uint64_t index, uint64_t bits) const;
  Item draw_prompt(uint64_t index, uint64_t bits) const;
  void add_prompt(Item& item, uint64_t fact, uint64_t bits) const;
  void mask_tokens(Item& item, uint64_t bits) const;
  [[nodiscard]] MicroBatch pack(std::span<const Item> items) const;
  void fill_pool(int64_t pool);

  const Dataset& data_;
  SamplerOptions options_;
  std::vector<uint64_t> sentence_begin_;  ///< per fact, one more at the end
  std::vector<uint64_t> prompt_begin_;
  int64_t pool_ = -1;
  std::vector<std::vector<MicroBatch>> batches_;  ///< of the steps of pool_
};

}  // namespace engram::pretrain
