#pragma once

#include <ATen/core/grad_mode.h>

#include <vector>

#include "base/random.h"
#include "edit/padded.h"
#include "engram/model/model.h"
#include "engram/text/cloze.h"

namespace engram::testing {

/// Prompts of random tokens that ask for a random one, behind which a masked model has another.
inline std::vector<Cloze> random_prompts(const ModelConfig& config, uint64_t seed) {
  Random random(seed);
  const auto draw = [&] {
    return static_cast<int64_t>(random.below(static_cast<uint64_t>(config.vocabulary)));
  };
  std::vector<Cloze> prompts;
  const int64_t answer = draw();
  for (const int64_t tokens : {6, 9}) {
    Cloze& cloze = prompts.emplace_back();
    for (int64_t t = 0; t < tokens; ++t) cloze.ids.push_back(draw());
    cloze.positions = {config.causal() ? tokens - 1 : tokens - 2};
    cloze.answer = {answer};
  }
  return prompts;
}

/// A loss that planting reaches: the tiny masked model's head, whose norm bounds what it reads,
/// gives no answer much more than one half.
inline double reachable_loss(const ModelConfig& config) { return config.causal() ? 0.05 : 0.8; }

/// -log P of the answers, prompt by prompt, so that nothing is padded.
inline double plain_loss(const Model& model, const std::vector<Cloze>& prompts) {
  const at::NoGradGuard no_grad;
  double sum = 0;
  for (const Cloze& cloze : prompts) {
    const at::Tensor logits = model.logits_at(at::tensor(cloze.ids, at::kLong).unsqueeze(0),
                                              at::tensor(cloze.positions, at::kLong));
    sum -= logits[0].to(at::kDouble).log_softmax(0)[cloze.answer[0]].item<double>();
  }
  return sum / static_cast<double>(prompts.size());
}

}  // namespace engram::testing
