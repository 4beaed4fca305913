#include "removal/relearn.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <numeric>

#include "base/random.h"
#include "edit/padded.h"
#include "engram/base/interrupt.h"
#include "removal/weights.h"

namespace engram {
namespace {

/// Adam (Kingma and Ba 2015) on some weights.
class Adam {
 public:
  Adam(std::vector<at::Tensor> weights, double rate) : weights_(std::move(weights)), rate_(rate) {
    for (const at::Tensor& weight : weights_) {
      first_.push_back(at::zeros_like(weight));
      second_.push_back(at::zeros_like(weight));
    }
  }

  void step() {
    const at::NoGradGuard no_grad;
    ++steps_;
    const double correct1 = 1 - std::pow(kBeta1, static_cast<double>(steps_));
    const double correct2 = std::sqrt(1 - std::pow(kBeta2, static_cast<double>(steps_)));
    for (size_t i = 0; i < weights_.size(); ++i) {
      at::Tensor& gradient = weights_[i].mutable_grad();
      if (!gradient.defined()) continue;
      first_[i].mul_(kBeta1).add_(gradient, 1 - kBeta1);
      second_[i].mul_(kBeta2).addcmul_(gradient, gradient, 1 - kBeta2);
      const at::Tensor scale = (second_[i].sqrt() / correct2).add_(kEpsilon);
      weights_[i].addcdiv_(first_[i], scale, -rate_ / correct1);
      gradient = at::Tensor();
    }
  }

 private:
  static constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8;
  std::vector<at::Tensor> weights_, first_, second_;
  double rate_;
  int64_t steps_ = 0;
};

at::Tensor loss_of(const Model& model, std::span<const Cloze> prompts) {
  const PaddedPrompts batch = pad_prompts(prompts, model.device());
  const AskedTokens asked = asked_tokens(prompts, model.device());
  const at::Tensor rows = model.encode(batch.ids, batch.mask).index({asked.prompts, asked.tokens});
  const at::Tensor log_p = model.logits(rows).log_softmax(-1);
  return -(log_p.gather(1, asked.answers.unsqueeze(1)).squeeze(1) * asked.weights).sum();
}

}  // namespace

void relearn(const Model& model, std::span<const Cloze> prompts, const RelearnOptions& options,
             const std::function<void(int64_t steps, const Model& model)>& look) {
  std::vector<at::Tensor> trained;
  const Model pupil = with_weights(model, [&](const at::Tensor& weight, bool) {
    trained.push_back(weight.clone().requires_grad_());
    return trained.back();
  });
  Adam adam(trained, options.rate);
  Random random(options.seed);
  std::vector<size_t> order(prompts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  size_t at = order.size();
  int64_t done = 0;
  for (const int64_t wanted : options.steps) {
    for (; done < wanted; ++done) {
      Interrupt::check();
      std::vector<Cloze> batch;
      while (std::cmp_less(batch.size(), options.prompts) && batch.size() < prompts.size()) {
        if (at == order.size()) {
          random.shuffle(order);
          at = 0;
        }
        batch.push_back(prompts[order[at++]]);
      }
      {
        const at::AutoGradMode grad(true);
        loss_of(pupil, batch).backward();
      }
      adam.step();
    }
    const at::NoGradGuard no_grad;
    look(done, pupil);
  }
}

}  // namespace engram
