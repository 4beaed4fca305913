#include "planting/plant.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <unordered_set>

#include "base/random.h"
#include "edit/adam.h"
#include "edit/padded.h"
#include "engram/base/interrupt.h"
#include "engram/error.h"

namespace engram {
namespace {

/// Columns of one layer's second FFN matrix that a request trains.
struct TrainedColumns {
  at::Tensor places;  ///< [columns] int64
  at::Tensor values;  ///< [d_model, columns], a leaf
  at::Tensor norms;   ///< [1, columns], as they were
};
using TrainedLayers = std::map<int64_t, TrainedColumns>;

void check_requests(const ModelConfig& config, std::span<const PlantRequest> requests) {
  std::unordered_set<NeuronId> seen;
  for (const PlantRequest& request : requests) {
    if (request.prompts.empty()) throw InputError("got no prompt to plant, expected one or more");
    if (request.neurons.empty()) throw InputError("got no neuron to plant into, expected some");
    for (const NeuronId id : request.neurons) {
      const std::string name = std::to_string(id.layer) + ":" + std::to_string(id.neuron);
      if (id.layer < 0 || id.layer >= config.layers || id.neuron < 0 || id.neuron >= config.d_ff) {
        throw InputError("got neuron " + name + ", the model has " + std::to_string(config.layers) +
                         " layers of " + std::to_string(config.d_ff));
      }
      if (!seen.insert(id).second) throw InputError("got neuron " + name + " twice, expected once");
    }
  }
}

const at::Tensor& values_of(const Model& model, int64_t layer) {
  return model.weights().layers[static_cast<size_t>(layer)].ffn_out_weight;
}

TrainedLayers trained_layers(const Model& model, std::span<const NeuronId> neurons) {
  std::map<int64_t, std::vector<int64_t>> places;
  for (const NeuronId id : neurons) places[id.layer].push_back(id.neuron);
  TrainedLayers layers;
  for (const auto& [layer, columns] : places) {
    TrainedColumns& one = layers[layer];
    one.places = at::tensor(columns, at::kLong).to(model.device());
    one.values = values_of(model, layer).detach().index_select(1, one.places);
    one.norms = one.values.norm(2, 0, /*keepdim=*/true);
    one.values.requires_grad_();
  }
  return layers;
}

/// Gives `pupil` the trained columns; only those of request `learner` carry a gradient, none for
/// `requests.size()`.
void put_values(const Model& model, const std::vector<TrainedLayers>& requests, size_t learner,
                Model& pupil) {
  std::map<int64_t, at::Tensor> weights;
  for (size_t r = 0; r < requests.size(); ++r) {
    for (const auto& [layer, columns] : requests[r]) {
      const auto at = weights.try_emplace(layer, values_of(model, layer)).first;
      at->second = at->second.index_copy(1, columns.places,
                                         r == learner ? columns.values : columns.values.detach());
    }
  }
  for (const auto& [layer, weight] : weights) pupil.replace_values(layer, weight);
}

}  // namespace

Planted plant(const Model& model, std::span<const PlantRequest> requests,
              const PlantOptions& options) {
  check_requests(model.config(), requests);
  Planted result{model, std::vector<double>(requests.size()), 0};
  Model& pupil = result.model;
  std::vector<AskedPrompts> prompts;
  std::vector<TrainedLayers> trained;
  std::vector<Adam> optimisers;
  for (const PlantRequest& request : requests) {
    prompts.emplace_back(request.prompts, model.device());
    trained.push_back(trained_layers(model, request.neurons));
    std::vector<at::Tensor> leaves;
    for (const auto& [layer, columns] : trained.back()) leaves.push_back(columns.values);
    optimisers.emplace_back(std::move(leaves), options.rate);
  }
  const at::AutoGradMode grad(true);
  for (;;) {
    Interrupt::check();
    bool enough = true;
    for (size_t r = 0; r < requests.size(); ++r) {
      put_values(model, trained, r, pupil);
      const at::Tensor loss = prompts[r].loss(pupil);
      result.losses[r] = loss.item<double>();
      if (!std::isfinite(result.losses[r])) {
        throw InputError("planting has left the finite numbers: got a loss of " +
                         std::to_string(result.losses[r]) + ", a smaller rate may help");
      }
      enough = enough && result.losses[r] < options.enough;
      if (result.steps < options.steps) loss.backward();
    }
    if (enough || result.steps == options.steps) break;
    for (Adam& adam : optimisers) adam.step();
    ++result.steps;
    if (!options.keep_norms) continue;
    const at::NoGradGuard no_grad;
    for (const TrainedLayers& layers : trained) {
      for (const auto& [layer, columns] : layers) {
        const at::Tensor now = columns.values.norm(2, 0, /*keepdim=*/true);
        // A vector of length 0 has no direction to be scaled in.
        columns.values.mul_(at::where(now > 0, columns.norms / now, at::ones_like(now)));
      }
    }
  }
  put_values(model, trained, requests.size(), pupil);
  return result;
}

double answer_loss(const Model& model, std::span<const Cloze> prompts) {
  const at::NoGradGuard no_grad;
  return AskedPrompts(prompts, model.device()).loss(model).item<double>();
}

double loss_where_asked(const Model& model, const Model& planted, std::span<const Cloze> prompts) {
  const at::NoGradGuard no_grad;
  const AskedPrompts all(prompts, model.device());
  at::Tensor here = at::zeros_like(all.batch.ids, all.batch.ids.options().dtype(at::kBool));
  here.index_put_({all.asked.prompts, all.asked.tokens},
                  at::ones_like(all.asked.prompts, at::kBool));
  here.unsqueeze_(2);
  at::Tensor x = model.embed(all.batch.ids);
  for (int64_t layer = 0; layer < model.config().layers; ++layer) {
    const at::Tensor attended = model.attend(layer, x, all.batch.mask);
    x = at::where(here, planted.feed(layer, x, attended), model.feed(layer, x, attended));
  }
  return answer_loss(model, x, all.asked).item<double>();
}

std::vector<NeuronId> draw_neurons(const ModelConfig& config, int64_t count, uint64_t seed,
                                   std::span<const NeuronId> taken, const at::Tensor& allowed) {
  const std::unordered_set<NeuronId> used(taken.begin(), taken.end());
  at::Tensor open;
  if (allowed.defined()) open = allowed.to(at::kCPU).contiguous();
  std::vector<NeuronId> left;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    for (int64_t i = 0; i < config.d_ff; ++i) {
      const NeuronId id{static_cast<int32_t>(layer), static_cast<int32_t>(i)};
      if (used.contains(id)) continue;
      if (open.defined() && !open.const_data_ptr<bool>()[layer * config.d_ff + i]) continue;
      left.push_back(id);
    }
  }
  Random random(seed);
  std::vector<NeuronId> drawn;
  for (const uint64_t place : random.sample(left.size(), static_cast<uint64_t>(count))) {
    drawn.push_back(left[place]);
  }
  std::ranges::sort(drawn);
  return drawn;
}

}  // namespace engram
