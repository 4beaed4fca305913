#include "cli/ranking.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <tuple>

namespace engram::cli {

std::vector<RankedNeuron> rank_neurons(const Attribution& attribution, int64_t top, RankBy by) {
  const at::Tensor scores = attribution.scores.contiguous();
  const at::Tensor activations = attribution.activations.contiguous();
  const float* score = scores.const_data_ptr<float>();
  const float* activation = activations.const_data_ptr<float>();
  const int64_t d_ff = scores.size(1);
  std::vector<int64_t> order(static_cast<size_t>(scores.numel()));
  std::iota(order.begin(), order.end(), int64_t{0});
  const auto before = [&](int64_t a, int64_t b) {
    const float x = by == RankBy::kScore ? score[a] : std::fabs(score[a]);
    const float y = by == RankBy::kScore ? score[b] : std::fabs(score[b]);
    return std::tuple(-x, a) < std::tuple(-y, b);
  };
  const auto count = std::min<int64_t>(top, scores.numel());
  std::partial_sort(order.begin(), order.begin() + count, order.end(), before);
  std::vector<RankedNeuron> ranked;
  ranked.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t at = order[static_cast<size_t>(i)];
    ranked.push_back({at / d_ff, at % d_ff, score[at], activation[at]});
  }
  return ranked;
}

}  // namespace engram::cli
