#include "engram/model/interventions.h"

#include <string>

#include "engram/error.h"

namespace engram {

InterventionHook::InterventionHook(const std::vector<ActivationChange>& interventions,
                                   int64_t layers, int64_t d_ff)
    : by_layer_(static_cast<size_t>(layers)) {
  for (const ActivationChange& one : interventions) {
    if (one.layer < 0 || one.layer >= layers || one.neuron < 0 || one.neuron >= d_ff) {
      throw InputError("neuron " + std::to_string(one.layer) + ":" + std::to_string(one.neuron) +
                       " does not exist: the model has layers 0.." + std::to_string(layers - 1) +
                       " of neurons 0.." + std::to_string(d_ff - 1));
    }
    by_layer_[static_cast<size_t>(one.layer)].push_back(one);
  }
}

at::Tensor InterventionHook::on_activation(int64_t layer, const at::Tensor& a) {
  const std::vector<ActivationChange>& here = by_layer_[static_cast<size_t>(layer)];
  if (here.empty()) return a;
  at::Tensor changed = a.clone();
  for (const ActivationChange& one : here) {
    if (one.prompt >= a.size(0) || one.token >= a.size(1)) {
      throw InternalError("an intervention names a prompt or token outside the batch");
    }
    at::Tensor place = changed.select(2, one.neuron);  // [prompts, tokens]
    if (one.prompt != ActivationChange::kEveryPrompt) place = place.narrow(0, one.prompt, 1);
    if (one.token != ActivationChange::kEveryToken) place = place.narrow(1, one.token, 1);
    switch (one.kind) {
      case ActivationChange::Kind::kSet:
        place.fill_(one.value);
        break;
      case ActivationChange::Kind::kScale:
        place.mul_(one.value);
        break;
      case ActivationChange::Kind::kAdd:
        place.add_(one.value);
        break;
    }
  }
  return changed;
}

at::Tensor RecordingHook::on_activation(int64_t layer, const at::Tensor& a) {
  activations_.resize(static_cast<size_t>(layer));  // a second forward starts anew
  activations_.push_back(a.detach().clone());
  return a;
}

}  // namespace engram
