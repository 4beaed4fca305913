#include "edit/padded.h"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace engram {

PaddedPrompts pad_prompts(std::span<const Cloze> clozes, const at::Device& device) {
  size_t tokens = 0;
  size_t fewest = SIZE_MAX;
  for (const Cloze& cloze : clozes) {
    tokens = std::max(tokens, cloze.ids.size());
    fewest = std::min(fewest, cloze.ids.size());
  }
  const std::vector<int64_t> shape = {std::ssize(clozes), static_cast<int64_t>(tokens)};
  PaddedPrompts batch;
  batch.ids = at::zeros(shape, at::kLong);
  at::Tensor mask = at::zeros(shape, at::kBool);
  for (int64_t i = 0; i < shape[0]; ++i) {
    const Cloze& cloze = clozes[static_cast<size_t>(i)];
    const int64_t length = std::ssize(cloze.ids);
    batch.ids[i].narrow(0, 0, length).copy_(at::tensor(cloze.ids, at::kLong));
    mask[i].narrow(0, 0, length).fill_(true);
  }
  batch.ids = batch.ids.to(device);
  if (fewest < tokens) batch.mask = mask.to(device);
  return batch;
}

AskedTokens asked_tokens(std::span<const Cloze> clozes, const at::Device& device) {
  std::vector<int64_t> prompts, tokens, answers;
  std::vector<float> weights;
  for (size_t i = 0; i < clozes.size(); ++i) {
    const Cloze& cloze = clozes[i];
    for (size_t k = 0; k < cloze.positions.size(); ++k) {
      prompts.push_back(static_cast<int64_t>(i));
      tokens.push_back(cloze.positions[k]);
      answers.push_back(cloze.answer.at(k));
      weights.push_back(1 / static_cast<float>(clozes.size() * cloze.positions.size()));
    }
  }
  const auto there = [&](const std::vector<int64_t>& values) {
    return at::tensor(values, at::kLong).to(device);
  };
  return {there(prompts), there(tokens), there(answers), at::tensor(weights).to(device)};
}

at::Tensor answer_loss(const Model& model, const at::Tensor& encoded, const AskedTokens& asked) {
  const at::Tensor rows = encoded.index({asked.prompts, asked.tokens});
  const at::Tensor log_p = model.logits(rows).log_softmax(-1);
  return -(log_p.gather(1, asked.answers.unsqueeze(1)).squeeze(1) * asked.weights).sum();
}

}  // namespace engram
