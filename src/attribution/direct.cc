// Scores that need no quadrature.
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <deque>
#include <limits>

#include "methods.h"
#include "model/parallel.h"
#include "scoring.h"

namespace engram {
namespace {

/// Neurons of one layer that are put to zero one by one, for one prompt.
struct Part {
  int64_t prompt = 0;
  int64_t layer = 0;
  int64_t first = 0;
  int64_t count = 0;
};

/// F(a) - F(a with one neuron alone at zero, or at its value in `to`), for every neuron of a part.
void ablate(Passes& passes, const Model& model, const Base& base, const Part& part,
            const at::Tensor& to, Attribution& result) {
  const int64_t k = base.chunk.targets;
  const int64_t width = model.config().d_model;
  const Base::Layer& at_layer = base.layers[static_cast<size_t>(part.layer)];
  const at::Tensor a = at_layer.a.narrow(0, part.prompt * k, k).narrow(1, part.first, part.count);
  const at::Tensor sum = at_layer.resting.narrow(0, part.prompt * k, k) +
                         at_layer.fed.narrow(0, part.prompt * k, k);  // [k, d_model]
  // Values as rows: zeroing neuron i takes a_i times its value out of the FFN sum.
  at::Tensor taken = a;
  if (to.defined()) {
    taken = a - to.select(0, part.layer).narrow(0, part.first, part.count).to(a.device());
  }
  const at::Tensor values =
      model.weights().layers[static_cast<size_t>(part.layer)].ffn_out_weight.t().narrow(
          0, part.first, part.count);  // [count, d_model]
  Items items;
  items.prompt.assign(static_cast<size_t>(part.count), part.prompt);
  items.layer.assign(static_cast<size_t>(part.count), part.layer);
  items.sum =
      (sum.unsqueeze(0) - taken.t().unsqueeze(2) * values.unsqueeze(1))  // [count, k, d_model]
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
void ablate_all(const ChunkJob& job, const Base& base, std::vector<Attribution>& results) {
  const ModelConfig& config = job.model.config();
  std::vector<Part> parts;
  for (int64_t layer = 0; layer < config.layers; ++layer) {  // the lowest ones take longest
    for (int64_t prompt = 0; prompt < base.chunk.prompts; ++prompt) {
      const std::vector<int64_t> of_item(
          static_cast<size_t>(config.d_ff),
          Passes::item_bytes(config, base.chunk.tokens(prompt), base.chunk.targets, layer,
                             Passes::moving(config, base.chunk, Reach::kExact),
                             /*gradient=*/false));
      in_parts(of_item, job.bytes, [&](int64_t first, int64_t count) {
        parts.push_back({prompt, layer, first, count});
      });
    }
  }
  const auto ablate_part = [&](Passes& passes, const Part& part) {
    ablate(passes, job.model, base, part, job.options.ablate_to,
           results[static_cast<size_t>(part.prompt)]);
    if (job.options.on_ablated) job.options.on_ablated(part.count);
  };
  if (job.workers == 1) {
    for (const Part& part : parts) ablate_part(job.passes, part);
    return;
  }
  std::deque<Passes> passes;
  for (int i = 0; i < job.workers; ++i) passes.emplace_back(job.model, job.options.target);
  run_tasks(parts.size(), job.workers, 1, [&](size_t i, size_t worker) {
    const at::NoGradGuard no_grad;
    ablate_part(passes[worker], parts[i]);
  });
}

/// What the scores of a layer add up to, beside F(a) - F(0).
void report_sums(const ChunkJob& job, const Base& base, std::vector<Attribution>& results) {
  const std::vector<double> without = job.options.gap
                                          ? without_neurons(job.passes, job.model, base, job.bytes)
                                          : std::vector<double>();
  const auto prompts = static_cast<int64_t>(results.size());
  for (int64_t prompt = 0; prompt < prompts; ++prompt) {
    Attribution& result = results[static_cast<size_t>(prompt)];
    for (int64_t layer = 0; layer < job.model.config().layers; ++layer) {
      LayerReport& report = result.layers[static_cast<size_t>(layer)];
      report.delta = job.options.gap
                         ? result.f - without[static_cast<size_t>(layer * prompts + prompt)]
                         : std::numeric_limits<double>::quiet_NaN();
      report.sum = result.scores.select(0, layer).sum(at::kDouble).item<double>();
      report.gap = std::fabs(report.sum - report.delta);
    }
  }
}

/// Norms of a layer's value vectors, [d_ff] on the CPU.
at::Tensor value_norms(const Model& model, int64_t layer) {
  const at::Tensor& values = model.weights().layers[static_cast<size_t>(layer)].ffn_out_weight;
  return values.norm(2, 0).to(at::kCPU);  // of the columns of [d_model, d_ff]
}

/// Scores layer by layer; `of_layer(base, layer, activations)` gives [prompts, d_ff] on the CPU
/// (or [1, d_ff], the same for all) from the mean activations over the targets [prompts, d_ff].
template <typename OfLayer>
std::vector<Attribution> score_layers(const ChunkJob& job, Backward backward,
                                      const OfLayer& of_layer) {
  const Base base = job.passes.run_base(job.chunk, backward);
  std::vector<Attribution> results = begin_attributions(job.model, base);
  for (int64_t layer = 0; layer < job.model.config().layers; ++layer) {
    std::vector<at::Tensor> activations;
    for (const Attribution& result : results) {
      activations.push_back(result.activations.select(0, layer));
    }
    const at::Tensor scores = of_layer(base, layer, at::stack(activations));
    for (size_t prompt = 0; prompt < results.size(); ++prompt) {
      const auto row = scores.size(0) == 1 ? 0 : static_cast<int64_t>(prompt);
      results[prompt].scores.select(0, layer).copy_(scores.select(0, row));
    }
  }
  report_sums(job, base, results);
  return results;
}

/// a times the gradient, or the relevance, of every layer.
std::vector<Attribution> score_by_backward(const ChunkJob& job, Backward backward) {
  return score_layers(job, backward, [&](const Base& base, int64_t layer, const at::Tensor&) {
    const Base::Layer& at_layer = base.layers[static_cast<size_t>(layer)];
    return scores_of(job.model, layer, at_layer.gradient, at_layer.a, job.chunk.targets)
        .to(at::kCPU);
  });
}

}  // namespace

std::vector<Attribution> score_activation(const ChunkJob& job) {
  return score_layers(
      job, Backward::kNone,
      [](const Base&, int64_t, const at::Tensor& activations) { return activations; });
}

std::vector<Attribution> score_activation_norm(const ChunkJob& job) {
  return score_layers(job, Backward::kNone,
                      [&](const Base&, int64_t layer, const at::Tensor& activations) {
                        return activations.abs() * value_norms(job.model, layer);
                      });
}

std::vector<Attribution> score_value_norm(const ChunkJob& job) {
  return score_layers(job, Backward::kNone, [&](const Base&, int64_t layer, const at::Tensor&) {
    const at::Tensor norms = value_norms(job.model, layer);
    const at::Tensor away = norms - norms.median();
    // 1.4826 makes the median distance the standard deviation of a normal distribution. Where more
    // than half of the norms are equal there is no scale, and the distance itself stands.
    const auto spread = 1.4826 * away.abs().median().item<double>();
    return (spread > 0 ? away / spread : away).unsqueeze(0);
  });
}

std::vector<Attribution> score_gradient(const ChunkJob& job) {
  return score_by_backward(job, Backward::kGradient);
}

std::vector<Attribution> score_relevance(const ChunkJob& job) {
  return score_by_backward(job, Backward::kRelevance);
}

std::vector<Attribution> score_ablation(const ChunkJob& job) {
  const Base base = job.passes.run_base(job.chunk, Backward::kNone);
  std::vector<Attribution> results = begin_attributions(job.model, base);
  ablate_all(job, base, results);
  report_sums(job, base, results);
  return results;
}

}  // namespace engram
