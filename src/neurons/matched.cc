#include "engram/neurons/matched.h"

#include <algorithm>
#include <numeric>

#include "engram/error.h"
#include "neurons/random.h"

namespace engram {
namespace {

/// A candidate that the set does not have yet, or -1.
int32_t pick(const std::vector<int32_t>& candidates, int32_t layer,
             const std::vector<NeuronId>& taken, Random& random) {
  const auto is_free = [&](int32_t neuron) {
    return std::ranges::find(taken, NeuronId{layer, neuron}) == taken.end();
  };
  std::vector<int32_t> free;
  std::ranges::copy_if(candidates, std::back_inserter(free), is_free);
  if (free.empty()) return -1;
  return free[random.below(free.size())];
}

}  // namespace

const char* match_name(MatchStrength strength) {
  switch (strength) {
    case MatchStrength::kLayer:
      return "layer";
    case MatchStrength::kActivation:
      return "activation";
    case MatchStrength::kGradient:
      return "gradient";
  }
  throw InternalError("match_name: unknown strength");
}

at::Tensor deciles(const at::Tensor& values) {
  const at::Tensor rows = values.to(at::kCPU, at::kFloat).contiguous();
  const int64_t width = rows.size(1);
  at::Tensor result = at::empty(rows.sizes(), at::kByte);
  std::vector<int32_t> order(static_cast<size_t>(width));
  for (int64_t row = 0; row < rows.size(0); ++row) {
    const float* value = rows.const_data_ptr<float>() + row * width;
    uint8_t* out = result.mutable_data_ptr<uint8_t>() + row * width;
    std::iota(order.begin(), order.end(), 0);
    std::ranges::sort(order, [&](int32_t a, int32_t b) {
      return value[a] != value[b] ? value[a] < value[b] : a < b;
    });
    for (int64_t rank = 0; rank < width; ++rank) {
      out[order[static_cast<size_t>(rank)]] = static_cast<uint8_t>(rank * 10 / width);
    }
  }
  return result;
}

MatchedSampler::MatchedSampler(const Model& model, std::unordered_set<NeuronId> located)
    : layers_(model.config().layers), d_ff_(model.config().d_ff), located_(std::move(located)) {
  std::vector<at::Tensor> norms;
  for (const LayerWeights& layer : model.weights().layers) {
    norms.push_back(layer.ffn_out_weight.detach().to(at::kCPU, at::kFloat).norm(2, 0));
  }
  value_deciles_ = deciles(at::stack(norms));
}

std::vector<int32_t> MatchedSampler::candidates(NeuronId neuron, MatchStrength strength,
                                                const at::Tensor& activation_deciles,
                                                const at::Tensor& gradient_deciles,
                                                std::span<const NeuronId> also_not) const {
  const int64_t row = neuron.layer * d_ff_;
  const uint8_t* value = value_deciles_.const_data_ptr<uint8_t>() + row;
  const uint8_t* activation = nullptr;
  const uint8_t* gradient = nullptr;
  if (strength != MatchStrength::kLayer) {
    activation = activation_deciles.const_data_ptr<uint8_t>() + row;
  }
  if (strength == MatchStrength::kGradient) {
    gradient = gradient_deciles.const_data_ptr<uint8_t>() + row;
  }
  std::vector<int32_t> found;
  for (int32_t i = 0; i < static_cast<int32_t>(d_ff_); ++i) {
    if (activation != nullptr &&
        (activation[i] != activation[neuron.neuron] || value[i] != value[neuron.neuron])) {
      continue;
    }
    if (gradient != nullptr && gradient[i] != gradient[neuron.neuron]) continue;
    const NeuronId id{neuron.layer, i};
    if (located_.contains(id) || std::ranges::find(also_not, id) != also_not.end()) continue;
    found.push_back(i);
  }
  return found;
}

MatchedSets MatchedSampler::draw(std::span<const NeuronId> neurons, MatchStrength strength,
                                 const at::Tensor& activation, const at::Tensor& gradient,
                                 int64_t draws, uint64_t seed) const {
  for (const NeuronId id : neurons) {
    if (id.layer < 0 || id.layer >= layers_ || id.neuron < 0 || id.neuron >= d_ff_) {
      throw InputError("neuron " + std::to_string(id.layer) + ":" + std::to_string(id.neuron) +
                       " does not exist in the model");
    }
  }
  MatchedSets result;
  const at::Tensor by_activation =
      strength == MatchStrength::kLayer ? at::Tensor() : deciles(activation);
  const at::Tensor by_gradient =
      strength == MatchStrength::kGradient ? deciles(gradient) : at::Tensor();
  // Candidates of each neuron from the wanted strength down to the weakest.
  std::vector<std::vector<std::vector<int32_t>>> pools(neurons.size());
  for (size_t i = 0; i < neurons.size(); ++i) {
    for (int s = static_cast<int>(strength); s >= 0; --s) {
      pools[i].push_back(candidates(neurons[i], static_cast<MatchStrength>(s), by_activation,
                                    by_gradient, neurons));
    }
  }
  Random random(seed);
  for (int64_t draw = 0; draw < draws; ++draw) {
    std::vector<NeuronId> set;
    for (size_t i = 0; i < neurons.size(); ++i) {
      int32_t chosen = -1;
      size_t level = 0;
      for (; level < pools[i].size() && chosen < 0; ++level) {
        chosen = pick(pools[i][level], neurons[i].layer, set, random);
      }
      if (draw == 0 && chosen < 0) ++result.missing;
      if (draw == 0 && chosen >= 0 && level > 1) ++result.weakened;
      if (chosen >= 0) set.push_back({neurons[i].layer, chosen});
    }
    std::ranges::sort(set);
    result.draws.push_back(std::move(set));
  }
  return result;
}

}  // namespace engram
