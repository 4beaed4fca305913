// Activations and gradients of single neurons, for matching others with located ones.
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include "engram/error.h"
#include "engram/intervention/measure.h"
#include "intervention/batch.h"
#include "model/parallel.h"

namespace engram {
namespace {

constexpr int64_t kBatchTokens = 256;

/// Adds a zero to every layer's activations at the masks: its gradient is dF/da.
class LeafHook : public ActivationHook {
 public:
  LeafHook(const ModelConfig& config, const ProbeBatch& batch) : config_(config), batch_(batch) {}
  at::Tensor on_activation(int64_t layer, const at::Tensor& a) override {
    const bool top = layer == config_.layers - 1;
    const at::Tensor leaf =
        at::zeros({batch_.prompts(), batch_.masks(), config_.d_ff}, a.options()).requires_grad_();
    leaves.push_back(leaf);
    activations.push_back((top ? a : rows_at(a, batch_.positions)).detach());
    if (top) return a + leaf;
    return a.scatter_add(1, batch_.positions.unsqueeze(-1).expand_as(leaf), leaf);
  }
  std::vector<at::Tensor> leaves;       ///< per layer [prompts, k, d_ff]
  std::vector<at::Tensor> activations;  ///< per layer [prompts, k, d_ff]

 private:
  const ModelConfig& config_;
  const ProbeBatch& batch_;
};

}  // namespace

ActivationProfile activation_profiles(const Model& model, std::span<const Probe> probes,
                                      std::span<const int64_t> group, int64_t groups,
                                      const MeasureOptions& options) {
  check_probes(model.config(), probes);
  if (group.size() != probes.size()) {
    throw InternalError("activation_profiles: one group per prompt is needed");
  }
  const ModelConfig& config = model.config();
  const std::vector<std::vector<size_t>> tasks = cut_batches(probes, kBatchTokens);
  const std::vector<bool> keep(static_cast<size_t>(config.layers), false);
  // Prompts are added up in their own order, whoever finishes first.
  std::vector<at::Tensor> activation(probes.size());
  std::vector<at::Tensor> gradient(probes.size());
  std::vector<at::Tensor> product(probes.size());

  // The graph keeps a dozen tensors of each size per layer.
  const auto bytes = static_cast<int64_t>(sizeof(float)) *
                     (kBatchTokens * config.layers * (6 * config.d_ff + 14 * config.d_model) +
                      kBatchTokens * 2 * config.vocabulary / 4);
  const int64_t fitting = std::max<int64_t>(1, memory_budget(options.memory_bytes) / bytes);
  const int workers =
      model.device().is_cpu()
          ? static_cast<int>(std::min<int64_t>(fitting, worker_count(options.threads)))
          : 1;
  run_tasks(tasks.size(), workers, [&](size_t task) {
    const at::AutoGradMode grad(true);
    const ProbeBatch batch = make_batch(model, probes, tasks[task]);
    LeafHook hook(config, batch);
    const SharedRun run = run_shared(model, batch, &hook, keep);
    const at::Tensor log_p = answer_log_p(model, run.final, batch.answer);  // [prompts, k]
    const at::Tensor f = batch.masks() == 1 ? log_p.exp() : log_p.mean(1);
    const std::vector<at::Tensor> gradients =
        torch::autograd::grad({f.sum()}, {hook.leaves.begin(), hook.leaves.end()});
    const at::Tensor all_a = at::stack(hook.activations, 1);  // [prompts, layers, k, d_ff]
    const at::Tensor all_g = at::stack(gradients, 1);
    const at::Tensor a = all_a.mean(2).to(at::kCPU);
    const at::Tensor g = all_g.mean(2).to(at::kCPU);
    const at::Tensor ag = (all_a * all_g).mean(2).to(at::kCPU);
    for (size_t b = 0; b < batch.index.size(); ++b) {
      const auto row = static_cast<int64_t>(b);
      activation[batch.index[b]] = a.select(0, row);
      gradient[batch.index[b]] = g.select(0, row);
      product[batch.index[b]] = ag.select(0, row);
    }
  });

  ActivationProfile profile;
  profile.activation = at::zeros({groups, config.layers, config.d_ff}, at::kFloat);
  profile.gradient = at::zeros_like(profile.activation);
  profile.product = at::zeros_like(profile.activation);
  std::vector<int64_t> members(static_cast<size_t>(groups), 0);
  for (size_t i = 0; i < probes.size(); ++i) {
    profile.activation.select(0, group[i]).add_(activation[i]);
    profile.gradient.select(0, group[i]).add_(gradient[i]);
    profile.product.select(0, group[i]).add_(product[i]);
    ++members[static_cast<size_t>(group[i])];
  }
  for (int64_t g = 0; g < groups; ++g) {
    const auto count = members[static_cast<size_t>(g)];
    if (count == 0) continue;
    profile.activation.select(0, g).div_(static_cast<double>(count));
    profile.gradient.select(0, g).div_(static_cast<double>(count));
    profile.product.select(0, g).div_(static_cast<double>(count));
  }
  return profile;
}

}  // namespace engram
