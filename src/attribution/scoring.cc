#include "scoring.h"

#include <algorithm>
#include <cmath>

#include "engram/model/product.h"

namespace engram {

std::vector<Attribution> begin_attributions(const Model& model, const Base& base) {
  const ModelConfig& config = model.config();
  std::vector<Attribution> results;
  for (int64_t prompt = 0; prompt < base.chunk.prompts; ++prompt) {
    Attribution result;
    result.scores = at::zeros({config.layers, config.d_ff}, at::kFloat);
    result.activations = at::empty({config.layers, config.d_ff}, at::kFloat);
    for (int64_t layer = 0; layer < config.layers; ++layer) {
      const at::Tensor rows = base.layers[static_cast<size_t>(layer)].a.narrow(
          0, base.chunk.first_neuron_row(prompt), base.chunk.neuron_rows());
      result.activations.select(0, layer).copy_(rows.mean(0));
    }
    result.p = base.p[static_cast<size_t>(prompt)];
    result.f = base.f[static_cast<size_t>(prompt)];
    for (int64_t j = 0; j < base.chunk.asked; ++j) {
      const kernels::TokenAnswer& token =
          base.answers[static_cast<size_t>(prompt * base.chunk.asked + j)];
      const bool finite = std::isfinite(token.log_p);
      result.rank = std::max(result.rank, finite ? 1 + token.larger : config.vocabulary);
    }
    result.layers.resize(static_cast<size_t>(config.layers));
    results.push_back(std::move(result));
  }
  return results;
}

std::vector<double> without_neurons(Passes& passes, const Model& model, const Base& base,
                                    int64_t bytes) {
  const ModelConfig& config = model.config();
  const int64_t k = base.chunk.targets;
  const Reach moving = Passes::moving(config, base.chunk, Reach::kExact);
  std::vector<int64_t> of_item;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    for (int64_t prompt = 0; prompt < base.chunk.prompts; ++prompt) {
      of_item.push_back(Passes::item_bytes(config, base.chunk.tokens(prompt), k, layer, moving,
                                           /*gradient=*/false));
    }
  }
  std::vector<double> result(of_item.size());
  in_parts(of_item, bytes, [&](int64_t first, int64_t count) {
    Items items;
    std::vector<at::Tensor> sums;
    for (int64_t i = first; i < first + count; ++i) {
      const int64_t prompt = i % base.chunk.prompts;
      const int64_t layer = i / base.chunk.prompts;
      items.prompt.push_back(prompt);
      items.layer.push_back(layer);
      sums.push_back(base.layers[static_cast<size_t>(layer)].resting.narrow(0, prompt * k, k));
    }
    items.sum = at::cat(sums);
    const Outcome outcome = passes.run(base, items, Reach::kExact, /*gradient=*/false);
    std::copy(outcome.f.begin(), outcome.f.end(), result.begin() + first);
  });
  return result;
}

void in_parts(std::span<const int64_t> of_item, int64_t bytes,
              const std::function<void(int64_t, int64_t)>& work) {
  const auto total = static_cast<int64_t>(of_item.size());
  const auto bytes_of = [&](int64_t i) { return of_item[static_cast<size_t>(i)]; };
  int64_t all = 0;
  for (int64_t i = 0; i < total; ++i) all += bytes_of(i);
  // Parts of about equal size: the last one should not be a thin one.
  const int64_t parts = std::max<int64_t>(1, (all + bytes - 1) / std::max<int64_t>(bytes, 1));
  const int64_t share = (all + parts - 1) / parts;
  int64_t first = 0;
  while (first < total) {
    int64_t last = first + 1;
    int64_t used = bytes_of(first);
    while (last < total && used + bytes_of(last) <= share) used += bytes_of(last++);
    work(first, last - first);
    first = last;
  }
}

at::Tensor scores_of(const Model& model, int64_t layer, const at::Tensor& integrated,
                     const at::Tensor& activations, int64_t targets) {
  const LayerWeights& w = model.weights().layers[static_cast<size_t>(layer)];
  at::Tensor scores =
      at::empty({integrated.size(0), w.ffn_out_weight.size(1)}, integrated.options());
  matrix_product(integrated, w.ffn_out_weight, scores, false);
  scores.mul_(activations);
  return targets == 1 ? scores : scores.view({-1, targets, scores.size(1)}).sum(1);
}

}  // namespace engram
