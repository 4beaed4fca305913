#include "edit/fine_tune.h"

#include <ATen/core/grad_mode.h>

#include <cmath>
#include <string>

#include "edit/adam.h"
#include "edit/padded.h"
#include "engram/base/interrupt.h"
#include "engram/error.h"

namespace engram {

ValueEdit fine_tuned_values(const Model& model, int64_t layer, std::span<const Cloze> prompts,
                            const FineTuneOptions& options) {
  const ModelConfig& config = model.config();
  if (prompts.empty()) throw InputError("got no prompt to train on, expected one or more");
  if (layer < 0 || layer >= config.layers) {
    throw InputError("got layer " + std::to_string(layer) + ", the model has 0.." +
                     std::to_string(config.layers - 1));
  }
  const PaddedPrompts batch = pad_prompts(prompts, model.device());
  const AskedTokens asked = asked_tokens(prompts, model.device());
  Model pupil = model;
  at::Tensor weight =
      model.weights().layers[static_cast<size_t>(layer)].ffn_out_weight.detach().clone();
  pupil.replace_values(layer, weight);
  at::Tensor below;
  at::Tensor attended;
  {
    const at::NoGradGuard no_grad;
    below = model.embed(batch.ids);
    for (int64_t l = 0; l < layer; ++l) {
      below = model.feed(l, below, model.attend(l, below, batch.mask));
    }
    attended = model.attend(layer, below, batch.mask);
  }
  const at::AutoGradMode grad(true);
  weight.requires_grad_();
  Adam adam({weight}, options.rate);
  for (int64_t step = 0; step < options.steps; ++step) {
    Interrupt::check();
    at::Tensor x = pupil.feed(layer, below, attended);
    for (int64_t l = layer + 1; l < config.layers; ++l) {
      x = pupil.feed(l, x, pupil.attend(l, x, batch.mask));
    }
    const at::Tensor loss = answer_loss(pupil, x, asked);
    const double now = loss.item<double>();
    if (!std::isfinite(now)) {
      throw InputError("the training has left the finite numbers: got a loss of " +
                       std::to_string(now) + ", a smaller rate may help");
    }
    if (now < options.enough) break;
    loss.backward();
    adam.step();
  }
  ValueEdit edit;
  edit.values = weight.detach().t().to(at::kCPU, at::kFloat).contiguous();
  for (int64_t i = 0; i < config.d_ff; ++i) {
    edit.neurons.push_back({static_cast<int32_t>(layer), static_cast<int32_t>(i)});
  }
  return edit;
}

}  // namespace engram
