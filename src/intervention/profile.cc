// Activations and gradients of single neurons, for matching others with located ones.
#include <ATen/ATen.h>

#include "engram/error.h"
#include "engram/intervention/measure.h"
#include "engram/model/product.h"
#include "intervention/batch.h"

namespace engram {
namespace {

/// Target rows [prompts*targets, width] averaged over those of a prompt at which neurons are, on
/// the CPU.
at::Tensor mean_over_rows(const at::Tensor& rows, const Chunk& chunk) {
  if (chunk.neuron_row.empty()) {
    return rows.view({-1, chunk.targets, rows.size(1)}).mean(1).to(at::kCPU);
  }
  std::vector<int64_t> index;
  for (int64_t i = 0; i < chunk.prompts; ++i) index.push_back(chunk.first_neuron_row(i));
  return rows.index_select(0, at::tensor(index, at::kLong).to(rows.device())).to(at::kCPU);
}

}  // namespace

at::Tensor mask_activations(const Model& model, std::span<const Cloze> clozes,
                            const MeasureOptions& options, std::vector<Answered>* answers) {
  const ModelConfig& config = model.config();
  if (answers != nullptr) answers->resize(clozes.size());
  at::Tensor all =
      at::empty({static_cast<int64_t>(clozes.size()), config.layers, config.d_ff}, at::kFloat);
  run_unchanged(model, clozes, options, Backward::kNone,
                [&](const std::vector<size_t>& index, const Base& base, Passes&) {
                  if (answers != nullptr) {
                    const std::vector<Answered> found =
                        joint_answers(base.answers, base.chunk.asked, config.vocabulary);
                    for (size_t b = 0; b < index.size(); ++b) (*answers)[index[b]] = found[b];
                  }
                  for (int64_t layer = 0; layer < config.layers; ++layer) {
                    const at::Tensor a =
                        mean_over_rows(base.layers[static_cast<size_t>(layer)].a, base.chunk);
                    for (size_t b = 0; b < index.size(); ++b) {
                      all.select(0, static_cast<int64_t>(index[b]))
                          .select(0, layer)
                          .copy_(a.select(0, static_cast<int64_t>(b)));
                    }
                  }
                });
  return all;
}

ActivationProfile activation_profiles(const Model& model, std::span<const Cloze> clozes,
                                      std::span<const int64_t> group, int64_t groups,
                                      const MeasureOptions& options) {
  if (group.size() != clozes.size()) {
    throw InternalError("activation_profiles: one group per prompt is needed");
  }
  const ModelConfig& config = model.config();
  // Prompts are added up in their own order, whoever finishes first.
  std::vector<at::Tensor> activation(clozes.size());
  std::vector<at::Tensor> gradient(clozes.size());
  std::vector<at::Tensor> product(clozes.size());
  run_unchanged(model, clozes, options, Backward::kGradient,
                [&](const std::vector<size_t>& index, const Base& base, Passes&) {
                  std::array<std::vector<at::Tensor>, 3> layers;  // [layers] of [prompts, d_ff]
                  for (size_t l = 0; l < base.layers.size(); ++l) {
                    const Base::Layer& layer = base.layers[l];
                    const at::Tensor g = at::empty_like(layer.a);
                    matrix_product(layer.gradient, model.weights().layers[l].ffn_out_weight, g,
                                   false);
                    layers[0].push_back(mean_over_rows(layer.a, base.chunk));
                    layers[1].push_back(mean_over_rows(g, base.chunk));
                    layers[2].push_back(mean_over_rows(layer.a * g, base.chunk));
                  }
                  const std::array<at::Tensor, 3> all = {
                      at::stack(layers[0], 1), at::stack(layers[1], 1), at::stack(layers[2], 1)};
                  for (size_t b = 0; b < index.size(); ++b) {
                    const auto row = static_cast<int64_t>(b);
                    activation[index[b]] = all[0].select(0, row);
                    gradient[index[b]] = all[1].select(0, row);
                    product[index[b]] = all[2].select(0, row);
                  }
                });

  ActivationProfile profile;
  profile.activation = at::zeros({groups, config.layers, config.d_ff}, at::kFloat);
  profile.gradient = at::zeros_like(profile.activation);
  profile.product = at::zeros_like(profile.activation);
  std::vector<int64_t> members(static_cast<size_t>(groups), 0);
  for (size_t i = 0; i < clozes.size(); ++i) {
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
