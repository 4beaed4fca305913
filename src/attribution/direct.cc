// Scores that need no quadrature: the activation, gradient x activation, relevance, exact ablation.
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <deque>
#include <limits>

#include "integrate.h"
#include "model/parallel.h"

namespace engram {
namespace {

/// Neurons of one layer that are put to zero one by one, for one prompt.
struct Part {
  int64_t prompt = 0;
  int64_t layer = 0;
  int64_t first = 0;
  int64_t count = 0;
};

/// F(a) - F(a with one neuron alone at zero), for every neuron of a part.
void ablate(Passes& passes, const Model& model, const Base& base, const Part& part,
            Attribution& result) {
  const int64_t k = base.chunk.targets;
  const int64_t width = model.config().d_model;
  const Base::Layer& at_layer = base.layers[static_cast<size_t>(part.layer)];
  const at::Tensor a = at_layer.a.narrow(0, part.prompt * k, k).narrow(1, part.first, part.count);
  const at::Tensor sum = at_layer.resting.narrow(0, part.prompt * k, k) +
                         at_layer.fed.narrow(0, part.prompt * k, k);  // [k, d_model]
  // Values as rows: zeroing neuron i takes a_i times its value out of the FFN sum.
  const at::Tensor values =
      model.weights().layers[static_cast<size_t>(part.layer)].ffn_out_weight.t().narrow(
          0, part.first, part.count);  // [count, d_model]
  Items items;
  items.prompt.assign(static_cast<size_t>(part.count), part.prompt);
  items.layer.assign(static_cast<size_t>(part.count), part.layer);
  items.sum = (sum.unsqueeze(0) - a.t().unsqueeze(2) * values.unsqueeze(1))  // [count, k, d_model]
                  .reshape({part.count * k, width})
                  .contiguous();  // with one mask the transposed values show through
  const Outcome outcome = passes.run(base, items, Reach::kExact, /*gradient=*/false);
  auto* scores = result.scores.select(0, part.layer).data_ptr<float>() + part.first;
  for (int64_t i = 0; i < part.count; ++i) {
    scores[i] = static_cast<float>(base.f[static_cast<size_t>(part.prompt)] -
                                   outcome.f[static_cast<size_t>(i)]);
  }
}

/// Every neuron of every layer and prompt. The parts are the same for any number of workers.
void ablate_all(Passes& own, const Model& model, const Base& base,
                const AttributionOptions& options, int64_t bytes, int workers,
                std::vector<Attribution>& results) {
  const ModelConfig& config = model.config();
  std::vector<Part> parts;
  for (int64_t layer = 0; layer < config.layers; ++layer) {  // the lowest ones take longest
    for (int64_t prompt = 0; prompt < base.chunk.prompts; ++prompt) {
      const std::vector<int64_t> of_item(
          static_cast<size_t>(config.d_ff),
          Passes::item_bytes(config, base.chunk.tokens(prompt), base.chunk.targets, layer,
                             Passes::moving(config, base.chunk, Reach::kExact),
                             /*gradient=*/false));
      in_parts(of_item, bytes, [&](int64_t first, int64_t count) {
        parts.push_back({prompt, layer, first, count});
      });
    }
  }
  const auto ablate_part = [&](Passes& passes, const Part& part) {
    ablate(passes, model, base, part, results[static_cast<size_t>(part.prompt)]);
    if (options.on_ablated) options.on_ablated(part.count);
  };
  if (workers == 1) {
    for (const Part& part : parts) ablate_part(own, part);
    return;
  }
  std::deque<Passes> passes;
  for (int i = 0; i < workers; ++i) passes.emplace_back(model, options.target);
  run_tasks(parts.size(), workers, 1, [&](size_t i, size_t worker) {
    const at::NoGradGuard no_grad;
    ablate_part(passes[worker], parts[i]);
  });
}

}  // namespace

std::vector<Attribution> score_directly(Passes& passes, const Model& model, const Chunk& chunk,
                                        const AttributionOptions& options, int64_t bytes,
                                        int workers) {
  const ModelConfig& config = model.config();
  const bool relevance = options.score == Score::kRelevance;
  const bool gradient = relevance || options.score == Score::kGradientXActivation;
  const Base base = passes.run_base(chunk, relevance  ? Backward::kRelevance
                                           : gradient ? Backward::kGradient
                                                      : Backward::kNone);
  std::vector<Attribution> results = begin_attributions(model, base);
  const std::vector<double> without =
      options.gap ? without_neurons(passes, model, base, bytes) : std::vector<double>();
  if (options.score == Score::kAblation) {
    ablate_all(passes, model, base, options, bytes, workers, results);
  }
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    const Base::Layer& at_layer = base.layers[static_cast<size_t>(layer)];
    if (gradient) {
      const at::Tensor scores =
          scores_of(model, layer, at_layer.gradient, at_layer.a, chunk.targets).to(at::kCPU);
      for (int64_t prompt = 0; prompt < chunk.prompts; ++prompt) {
        results[static_cast<size_t>(prompt)].scores.select(0, layer).copy_(
            scores.select(0, prompt));
      }
    } else if (options.score == Score::kActivation) {
      for (Attribution& result : results) {
        result.scores.select(0, layer).copy_(result.activations.select(0, layer));
      }
    } else if (options.score == Score::kActivationNorm) {
      const at::Tensor norms = model.weights()
                                   .layers[static_cast<size_t>(layer)]
                                   .ffn_out_weight
                                   .norm(2, 0)  // [d_model, d_ff]: of the columns
                                   .to(at::kCPU);
      for (Attribution& result : results) {
        result.scores.select(0, layer).copy_(result.activations.select(0, layer).abs() * norms);
      }
    }
    for (int64_t prompt = 0; prompt < chunk.prompts; ++prompt) {
      Attribution& result = results[static_cast<size_t>(prompt)];
      LayerReport& report = result.layers[static_cast<size_t>(layer)];
      report.delta = options.gap
                         ? result.f - without[static_cast<size_t>(layer * chunk.prompts + prompt)]
                         : std::numeric_limits<double>::quiet_NaN();
      report.sum = result.scores.select(0, layer).sum(at::kDouble).item<double>();
      report.gap = std::fabs(report.sum - report.delta);
    }
  }
  return results;
}

}  // namespace engram
