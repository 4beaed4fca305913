#include "engram/neurons/matched.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "base/random.h"
#include "engram/error.h"

namespace engram {
namespace {

constexpr double kFewestNeighbours = 5;

/// A layer's covariates, each with mean 0 and standard deviation 1; empty: not given.
using LayerCovariates = std::array<std::vector<double>, kCovariates>;

std::vector<double> standardised(const at::Tensor& values, int64_t layer) {
  if (!values.defined()) return {};
  const at::Tensor row = values.select(0, layer).to(at::kCPU, at::kDouble).contiguous();
  std::vector<double> z(row.const_data_ptr<double>(), row.const_data_ptr<double>() + row.numel());
  const auto count = static_cast<double>(z.size());
  double mean = 0;
  for (const double value : z) mean += value / count;
  double variance = 0;
  for (const double value : z) variance += (value - mean) * (value - mean) / count;
  const double scale = variance > 0 ? 1 / std::sqrt(variance) : 0;
  for (double& value : z) value = (value - mean) * scale;
  return z;
}

/// The neurons that may stand for one. It is drawn among the first `pool`; then follow the next
/// nearest ones, as many as a set can take, should all of those be taken.
struct Neighbours {
  std::vector<int32_t> order;
  size_t pool = 0;
};

/// A neighbour that the set does not have yet, or -1.
int32_t pick(const Neighbours& neighbours, int32_t layer, const std::vector<NeuronId>& taken,
             Random& random) {
  const auto is_free = [&](int32_t neuron) {
    return std::ranges::find(taken, NeuronId{layer, neuron}) == taken.end();
  };
  std::vector<int32_t> free;
  std::ranges::copy_if(std::span(neighbours.order).first(neighbours.pool), std::back_inserter(free),
                       is_free);
  if (!free.empty()) return free[random.below(free.size())];
  const auto rest = std::span(neighbours.order).subspan(neighbours.pool);
  const auto next = std::ranges::find_if(rest, is_free);
  return next == rest.end() ? -1 : *next;
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

MatchedSampler::MatchedSampler(const Model& model, std::unordered_set<NeuronId> never)
    : layers_(model.config().layers), d_ff_(model.config().d_ff), never_(std::move(never)) {
  std::vector<at::Tensor> norms;
  for (const LayerWeights& layer : model.weights().layers) {
    norms.push_back(layer.ffn_out_weight.detach().to(at::kCPU, at::kFloat).norm(2, 0));
  }
  value_norms_ = at::stack(norms);
}

bool MatchedSampler::barred(NeuronId id, std::span<const NeuronId> neurons) const {
  return never_.contains(id) || std::ranges::find(neurons, id) != neurons.end();
}

MatchedSets MatchedSampler::draw(std::span<const NeuronId> neurons, MatchStrength strength,
                                 const at::Tensor& activation, const at::Tensor& product,
                                 int64_t draws, uint64_t seed) const {
  std::map<int32_t, LayerCovariates> covariates;
  std::map<int32_t, std::vector<int32_t>> candidates;
  for (const NeuronId id : neurons) {
    if (id.layer < 0 || id.layer >= layers_ || id.neuron < 0 || id.neuron >= d_ff_) {
      throw InputError("neuron " + std::to_string(id.layer) + ":" + std::to_string(id.neuron) +
                       " does not exist in the model");
    }
    if (covariates.contains(id.layer)) continue;
    covariates[id.layer] = {standardised(activation, id.layer),
                            standardised(value_norms_, id.layer), standardised(product, id.layer)};
    std::vector<int32_t>& free = candidates[id.layer];
    for (int32_t i = 0; i < static_cast<int32_t>(d_ff_); ++i) {
      if (!barred({id.layer, i}, neurons)) free.push_back(i);
    }
  }
  const size_t used = strength == MatchStrength::kLayer        ? 0
                      : strength == MatchStrength::kActivation ? 2
                                                               : kCovariates;
  // As near as can be: so few that twice as many sets as are drawn can be made of them.
  const auto sets = 2 * static_cast<double>(std::max<int64_t>(draws, 1));
  const auto size = static_cast<double>(std::max<size_t>(neurons.size(), 1));
  const auto nearest =
      static_cast<size_t>(std::max(std::ceil(std::pow(sets, 1 / size) - 1e-9), kFewestNeighbours));
  std::vector<Neighbours> neighbours;
  std::vector<double> distance(static_cast<size_t>(d_ff_));
  for (const NeuronId id : neurons) {
    Neighbours& of = neighbours.emplace_back(Neighbours{candidates.at(id.layer), 0});
    if (used == 0) {
      of.pool = of.order.size();
      continue;
    }
    const LayerCovariates& z = covariates.at(id.layer);
    for (size_t c = 0; c < used; ++c) {
      if (z[c].empty()) throw InternalError("matching lacks a covariate");
    }
    for (const int32_t other : of.order) {
      double sum = 0;
      for (size_t c = 0; c < used; ++c) {
        const double d = z[c][static_cast<size_t>(id.neuron)] - z[c][static_cast<size_t>(other)];
        sum += d * d;
      }
      distance[static_cast<size_t>(other)] = sum;
    }
    of.pool = std::min(nearest, of.order.size());
    const size_t ordered = std::min(of.order.size(), nearest + neurons.size());
    std::ranges::partial_sort(of.order, of.order.begin() + static_cast<std::ptrdiff_t>(ordered),
                              [&](int32_t a, int32_t b) {
                                const double x = distance[static_cast<size_t>(a)];
                                const double y = distance[static_cast<size_t>(b)];
                                return x != y ? x < y : a < b;
                              });
  }
  MatchedSets result;
  Random random(seed);
  double pairs = 0;
  for (int64_t draw = 0; draw < draws; ++draw) {
    std::vector<NeuronId> set;
    for (size_t i = 0; i < neurons.size(); ++i) {
      const NeuronId id = neurons[i];
      const int32_t chosen = pick(neighbours[i], id.layer, set, random);
      if (chosen < 0) {
        if (draw == 0) ++result.missing;
        continue;
      }
      set.push_back({id.layer, chosen});
      pairs += 1;
      const LayerCovariates& z = covariates.at(id.layer);
      for (size_t c = 0; c < kCovariates; ++c) {
        if (z[c].empty()) continue;
        result.difference[c] +=
            z[c][static_cast<size_t>(id.neuron)] - z[c][static_cast<size_t>(chosen)];
      }
    }
    std::ranges::sort(set);
    result.draws.push_back(std::move(set));
  }
  const std::array<bool, kCovariates> given = {activation.defined(), true, product.defined()};
  for (size_t c = 0; c < kCovariates; ++c) {
    result.difference[c] = given[c] && pairs > 0 ? result.difference[c] / pairs
                                                 : std::numeric_limits<double>::quiet_NaN();
  }
  return result;
}

std::vector<NeuronId> MatchedSampler::next(std::span<const NeuronId> neurons,
                                           const at::Tensor& product) const {
  std::map<int32_t, size_t> wanted;
  for (const NeuronId id : neurons) ++wanted[id.layer];
  const at::Tensor values = product.to(at::kCPU, at::kFloat).contiguous();
  std::vector<NeuronId> found;
  for (const auto& [layer, count] : wanted) {
    const float* row = values.const_data_ptr<float>() + layer * d_ff_;
    std::vector<int32_t> order;
    for (int32_t i = 0; i < static_cast<int32_t>(d_ff_); ++i) {
      if (!barred({layer, i}, neurons)) order.push_back(i);
    }
    const size_t take = std::min(count, order.size());
    std::ranges::partial_sort(
        order, order.begin() + static_cast<std::ptrdiff_t>(take),
        [&](int32_t a, int32_t b) { return row[a] != row[b] ? row[a] > row[b] : a < b; });
    for (size_t i = 0; i < take; ++i) found.push_back({layer, order[i]});
  }
  std::ranges::sort(found);
  return found;
}

std::vector<NeuronId> largest_neurons(const at::Tensor& values, size_t count) {
  const at::Tensor all = values.to(at::kCPU, at::kFloat).contiguous();
  const float* value = all.const_data_ptr<float>();
  std::vector<int64_t> order(static_cast<size_t>(all.numel()));
  std::iota(order.begin(), order.end(), 0);
  const size_t take = std::min(count, order.size());
  std::ranges::partial_sort(
      order, order.begin() + static_cast<std::ptrdiff_t>(take),
      [&](int64_t a, int64_t b) { return value[a] != value[b] ? value[a] > value[b] : a < b; });
  std::vector<NeuronId> found;
  for (size_t i = 0; i < take; ++i) {
    found.push_back({static_cast<int32_t>(order[i] / all.size(1)),
                     static_cast<int32_t>(order[i] % all.size(1))});
  }
  std::ranges::sort(found);
  return found;
}

}  // namespace engram
