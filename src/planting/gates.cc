#include "planting/gates.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "edit/adam.h"
#include "engram/base/interrupt.h"
#include "engram/error.h"

namespace engram {
namespace {

// Of hard concrete: temperature, and the interval to which the concrete distribution is stretched.
constexpr double kTemperature = 2.0 / 3, kLow = -0.1, kHigh = 1.1;
constexpr double kFirstLogAlpha = 2;

/// Uniform in (0, 1), never an end, in the shape of `like`.
at::Tensor uniform(Random& random, const at::Tensor& like) {
  at::Tensor values = at::empty(like.sizes(), at::kFloat);
  auto* value = values.data_ptr<float>();
  for (int64_t i = 0; i < values.numel(); ++i) {
    // The upper 23 bits and half of one, which float32 holds exactly.
    value[i] = (static_cast<float>(random.next() >> 41U) + 0.5F) / 8388608.0F;
  }
  return values.to(like.device());
}

at::Tensor checked(const at::Tensor& loss) {
  const double now = loss.item<double>();
  if (!std::isfinite(now)) {
    throw InputError("learning gates has left the finite numbers: got a loss of " +
                     std::to_string(now) + ", a smaller rate may help");
  }
  return loss;
}

at::Tensor score_of_gates(const at::Tensor& gates) {
  return gates.detach().to(at::kCPU, at::kFloat).contiguous();
}

}  // namespace

GatedLoss::GatedLoss(const Model& model, std::span<const Cloze> prompts)
    : model_(model), gated_(model), prompts_(prompts, model.device()) {
  if (prompts.empty()) throw InputError("got no prompt to learn gates from, expected some");
}

at::Tensor GatedLoss::operator()(const at::Tensor& gates) {
  for (int64_t layer = 0; layer < model_.config().layers; ++layer) {
    const at::Tensor& values = model_.weights().layers[static_cast<size_t>(layer)].ffn_out_weight;
    gated_.replace_values(layer, values * gates[layer].unsqueeze(0));
  }
  return prompts_.loss(gated_);
}

at::Tensor GatedLoss::gradient(const at::Tensor& gates) {
  Interrupt::check();
  const at::AutoGradMode grad(true);
  at::Tensor leaf = gates.detach().clone().requires_grad_();
  checked((*this)(leaf)).backward();
  return -leaf.grad();
}

at::Tensor GatedLoss::all(double value) const {
  const ModelConfig& config = model_.config();
  return at::full({config.layers, config.d_ff}, value,
                  at::TensorOptions(at::kFloat).device(model_.device()));
}

at::Tensor integrated_gates(GatedLoss& loss, int64_t steps) {
  at::Tensor sum = loss.all(0);
  for (int64_t i = 0; i < steps; ++i) {
    sum += loss.gradient(loss.all((static_cast<double>(i) + 0.5) / static_cast<double>(steps)));
  }
  return score_of_gates(sum / static_cast<double>(steps));
}

at::Tensor expected_gates(GatedLoss& loss, int64_t draws, uint64_t seed) {
  Random random(seed);
  at::Tensor sum = loss.all(0);
  for (int64_t i = 0; i < draws; ++i) {
    const double open = (static_cast<double>(random.below(1000)) + 0.5) / 1000;
    sum += loss.gradient(uniform(random, sum).lt(open).to(at::kFloat));
  }
  return score_of_gates(sum / static_cast<double>(draws));
}

at::Tensor slimmed_gates(GatedLoss& loss, const GateTraining& training) {
  at::Tensor gates = loss.all(1).requires_grad_();
  Adam adam({gates}, training.rate);
  for (int64_t step = 0; step < training.steps; ++step) {
    Interrupt::check();
    {
      const at::AutoGradMode grad(true);
      checked(loss(gates) + training.penalty * gates.mean()).backward();
    }
    adam.step();
    const at::NoGradGuard no_grad;
    gates.clamp_(0, 1);
  }
  return score_of_gates(gates);
}

at::Tensor hard_concrete_gates(GatedLoss& loss, const GateTraining& training, uint64_t seed) {
  Random random(seed);
  at::Tensor log_alpha = loss.all(kFirstLogAlpha).requires_grad_();
  Adam adam({log_alpha}, training.rate);
  const double shift = kTemperature * std::log(-kLow / kHigh);
  for (int64_t step = 0; step < training.steps; ++step) {
    Interrupt::check();
    const at::Tensor u = uniform(random, log_alpha);
    {
      const at::AutoGradMode grad(true);
      const at::Tensor s = ((u.log() - (1 - u).log() + log_alpha) / kTemperature).sigmoid();
      const at::Tensor gates = (s * (kHigh - kLow) + kLow).clamp(0, 1);
      const at::Tensor open = (log_alpha - shift).sigmoid().mean();
      checked(loss(gates) + training.penalty * open).backward();
    }
    adam.step();
  }
  return score_of_gates(log_alpha);
}

}  // namespace engram
