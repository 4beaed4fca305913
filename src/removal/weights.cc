#include "removal/weights.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "engram/error.h"
#include "engram/model/tensor_table.h"

namespace engram {
namespace {

constexpr int64_t kScaleInputs = 64;

bool of_vocabulary(const TensorSpec& spec) {
  return std::ranges::any_of(spec.axes, [](Axis axis) {
    return axis == Axis::kVocabulary || axis == Axis::kPositions || axis == Axis::kTokenTypes;
  });
}

at::Tensor rounded_columns(const at::Tensor& part, int bits) {
  const double levels = static_cast<double>((int64_t{1} << (bits - 1)) - 1);
  const at::Tensor scale = part.abs().amax(1, /*keepdim=*/true) / levels;
  return at::where(scale > 0, (part / scale).round() * scale, part);
}

}  // namespace

Model with_weights(const Model& model,
                   const std::function<at::Tensor(const at::Tensor& weight, bool matrix)>& change) {
  Model changed = model;
  ModelWeights& weights = changed.mutable_weights();
  for (const TensorSpec& spec : tensor_table(model.config(), weights)) {
    if (of_vocabulary(spec) || !spec.destination->defined()) continue;
    *spec.destination = change(spec.destination->detach(), spec.axes.size() == 2);
  }
  return changed;
}

Model rounded(const Model& model, int bits) {
  const at::NoGradGuard no_grad;
  return with_weights(model, [&](const at::Tensor& weight, bool matrix) {
    if (!matrix) return weight;
    std::vector<at::Tensor> parts;
    for (const at::Tensor& part : weight.split(kScaleInputs, 1)) {
      parts.push_back(rounded_columns(part, bits));
    }
    return at::cat(parts, 1);
  });
}

Model noisy(const Model& model, double share, uint64_t seed) {
  const at::NoGradGuard no_grad;
  auto generator = at::detail::createCPUGenerator(seed);
  return with_weights(model, [&](const at::Tensor& weight, bool matrix) {
    if (!matrix) return weight;
    const double size = weight.square().mean().sqrt().item<double>();
    const at::Tensor noise = at::randn(weight.sizes(), generator);
    return weight + share * size * noise.to(weight.device());
  });
}

Model between(const Model& from, const Model& to, double share) {
  const at::NoGradGuard no_grad;
  Model mixed = from;
  ModelWeights& weights = mixed.mutable_weights();
  Model other = to;
  const std::vector<TensorSpec> ours = tensor_table(from.config(), weights);
  const std::vector<TensorSpec> theirs = tensor_table(to.config(), other.mutable_weights());
  if (ours.size() != theirs.size()) throw InternalError("between: models of different families");
  const at::Tensor embedding = weights.token_embedding;
  const bool tied = weights.decoder_weight.is_same(embedding);
  for (size_t i = 0; i < ours.size(); ++i) {
    at::Tensor& mine = *ours[i].destination;
    const at::Tensor& their = *theirs[i].destination;
    if (!mine.defined() || mine.is_same(their)) continue;
    mine = mine.detach() + share * (their.detach() - mine.detach());
  }
  if (tied) weights.decoder_weight = weights.token_embedding;
  return mixed;
}

}  // namespace engram
