// Scores that need no quadrature: the activation, gradient x activation, and exact ablation.
#include <algorithm>
#include <cmath>

#include "engram/error.h"
#include "integrate.h"

namespace engram {
namespace {

/// F(a) - F(a with one neuron alone at zero), for every neuron of a layer and every prompt.
void ablate_layer(Passes& passes, const Model& model, const Base& base, int64_t layer,
                  int64_t bytes, std::vector<Attribution>& results) {
  const ModelConfig& config = model.config();
  const int64_t k = base.chunk.targets;
  const Base::Layer& at_layer = base.layers[static_cast<size_t>(layer)];
  // Values as rows: zeroing neuron i takes a_i times its value out of the FFN sum.
  const at::Tensor values =
      model.weights().layers[static_cast<size_t>(layer)].ffn_out_weight.t();  // [d_ff, d_model]
  for (int64_t prompt = 0; prompt < base.chunk.prompts; ++prompt) {
    const at::Tensor a = at_layer.a.narrow(0, prompt * k, k);  // [k, d_ff]
    const at::Tensor sum = at_layer.resting.narrow(0, prompt * k, k) +
                           at_layer.fed.narrow(0, prompt * k, k);  // [k, d_model]
    auto* scores = results[static_cast<size_t>(prompt)].scores.select(0, layer).data_ptr<float>();
    const std::vector<int64_t> layers(static_cast<size_t>(config.d_ff), layer);
    in_parts(config, base.chunk, layers, Reach::kExact, false, bytes,
             [&](int64_t first, int64_t count) {
               Items items;
               items.prompt.assign(static_cast<size_t>(count), prompt);
               items.layer.assign(static_cast<size_t>(count), layer);
               // [count, k, d_model]
               items.sum = (sum.unsqueeze(0) - a.narrow(1, first, count).t().unsqueeze(2) *
                                                   values.narrow(0, first, count).unsqueeze(1))
                               .reshape({count * k, config.d_model})
                               .contiguous();  // with one mask the transposed values show through
               const Outcome outcome = passes.run(base, items, Reach::kExact, /*gradient=*/false);
               for (int64_t i = 0; i < count; ++i) {
                 scores[first + i] = static_cast<float>(base.f[static_cast<size_t>(prompt)] -
                                                        outcome.f[static_cast<size_t>(i)]);
               }
             });
  }
}

}  // namespace

std::vector<Attribution> score_directly(Passes& passes, const Model& model, const Chunk& chunk,
                                        const AttributionOptions& options, int64_t bytes) {
  const ModelConfig& config = model.config();
  const bool gradient = options.score == Score::kGradientXActivation;
  const Base base = passes.run_base(chunk, gradient);
  std::vector<Attribution> results = begin_attributions(model, base);
  const std::vector<double> without = without_neurons(passes, model, base, bytes);
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    const Base::Layer& at_layer = base.layers[static_cast<size_t>(layer)];
    if (options.score == Score::kAblation) {
      ablate_layer(passes, model, base, layer, bytes, results);
    } else if (gradient) {
      const at::Tensor scores =
          scores_of(model, layer, at_layer.gradient, at_layer.a, chunk.targets).to(at::kCPU);
      for (int64_t prompt = 0; prompt < chunk.prompts; ++prompt) {
        results[static_cast<size_t>(prompt)].scores.select(0, layer).copy_(
            scores.select(0, prompt));
      }
    } else {
      for (Attribution& result : results) {
        result.scores.select(0, layer).copy_(result.activations.select(0, layer));
      }
    }
    for (int64_t prompt = 0; prompt < chunk.prompts; ++prompt) {
      Attribution& result = results[static_cast<size_t>(prompt)];
      LayerReport& report = result.layers[static_cast<size_t>(layer)];
      report.delta = result.f - without[static_cast<size_t>(layer * chunk.prompts + prompt)];
      report.sum = result.scores.select(0, layer).sum(at::kDouble).item<double>();
      report.gap = std::fabs(report.sum - report.delta);
    }
  }
  return results;
}

}  // namespace engram
