#include "planting/recall.h"

#include <cmath>
#include <limits>
#include <map>
#include <vector>

namespace engram {

double recall_of(const at::Tensor& scores, std::span<const NeuronId> planted, double share) {
  const auto top = static_cast<int64_t>(std::llround(share * static_cast<double>(scores.size(1))));
  const at::Tensor order = std::get<1>(scores.sort(/*stable=*/true, 1, /*descending=*/true));
  const at::Tensor taken = at::zeros_like(scores, at::kBool)
                               .scatter_(1, order.narrow(1, 0, top), at::Scalar(true))
                               .contiguous();
  const auto* found = taken.const_data_ptr<bool>();
  int64_t hits = 0;
  for (const NeuronId id : planted) hits += found[id.layer * scores.size(1) + id.neuron] ? 1 : 0;
  return static_cast<double>(hits) / static_cast<double>(planted.size());
}

double pair_auc(const at::Tensor& scores, std::span<const NeuronId> a,
                std::span<const NeuronId> b) {
  const at::Tensor plain = scores.contiguous();
  const auto score = [&](NeuronId id) {
    return plain.const_data_ptr<float>()[id.layer * plain.size(1) + id.neuron];
  };
  std::map<int32_t, std::vector<float>> others;
  for (const NeuronId id : b) others[id.layer].push_back(score(id));
  double won = 0;
  double pairs = 0;
  for (const NeuronId id : a) {
    const auto layer = others.find(id.layer);
    if (layer == others.end()) continue;
    for (const float other : layer->second) {
      won += score(id) > other ? 1 : score(id) == other ? 0.5 : 0;
      ++pairs;
    }
  }
  return pairs > 0 ? won / pairs : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace engram
