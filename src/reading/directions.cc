#include "reading/directions.h"

#include <cmath>
#include <numbers>

#include "reading/seeds.h"

namespace engram {
namespace {

double gaussian(Random& random) {                     // Box and Muller 1958
  constexpr double kUnit = 1.0 / 9007199254740992.0;  // 2^-53
  const double u = (static_cast<double>(random.next() >> 11U) + 0.5) * kUnit;
  const double v = static_cast<double>(random.next() >> 11U) * kUnit;
  return std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v);
}

/// Rows in random directions, as long as those of `like` [n, d_model].
at::Tensor random_rows(const at::Tensor& like, Random& random) {
  const at::Tensor rows = at::empty(like.sizes(), at::kFloat);
  auto* data = rows.mutable_data_ptr<float>();
  for (int64_t i = 0; i < rows.numel(); ++i) data[i] = static_cast<float>(gaussian(random));
  return (rows / rows.norm(2, 1, true)).to(like.device()) * like.norm(2, 1, true);
}

}  // namespace

Directions random_directions(const Model& model, int64_t layer, const std::vector<int64_t>& keys,
                             uint64_t seed) {
  const LayerWeights& w = model.weights().layers[static_cast<size_t>(layer)];
  const at::Tensor index = at::tensor(keys, at::kLong).to(model.device());
  Random random(seed_of(seed, "directions", layer));
  Directions made;
  made.in = random_rows(w.ffn_in_weight.index_select(0, index), random);
  if (model.config().gated_ffn) {
    made.gate = random_rows(w.ffn_gate_weight.index_select(0, index), random);
  }
  return made;
}

}  // namespace engram
