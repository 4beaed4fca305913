#include "edit/adam.h"

#include <ATen/core/grad_mode.h>

#include <cmath>
#include <utility>

namespace engram {
namespace {

constexpr double kFirstDecay = 0.9, kSecondDecay = 0.999, kSmallest = 1e-8;

}  // namespace

Adam::Adam(std::vector<at::Tensor> weights, double rate)
    : weights_(std::move(weights)), rate_(rate) {
  for (const at::Tensor& weight : weights_) {
    first_.push_back(at::zeros_like(weight));
    second_.push_back(at::zeros_like(weight));
  }
}

void Adam::step() {
  const at::NoGradGuard no_grad;
  ++steps_;
  const double correct1 = 1 - std::pow(kFirstDecay, static_cast<double>(steps_));
  const double correct2 = std::sqrt(1 - std::pow(kSecondDecay, static_cast<double>(steps_)));
  for (size_t i = 0; i < weights_.size(); ++i) {
    at::Tensor& gradient = weights_[i].mutable_grad();
    if (!gradient.defined()) continue;
    first_[i].mul_(kFirstDecay).add_(gradient, 1 - kFirstDecay);
    second_[i].mul_(kSecondDecay).addcmul_(gradient, gradient, 1 - kSecondDecay);
    const at::Tensor scale = (second_[i].sqrt() / correct2).add_(kSmallest);
    weights_[i].addcdiv_(first_[i], scale, -rate_ / correct1);
    gradient = at::Tensor();
  }
}

}  // namespace engram
