#include "model/transposed.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>

#include <vector>

#include "engram/model/product.h"

namespace engram {

void TransposedCopies::make(const ModelWeights& weights) {
  std::call_once(once_, [&] {
    std::vector<at::Tensor> sources = {weights.head_weight, weights.decoder_weight,
                                       weights.embedding_project_weight};
    for (const LayerWeights& layer : weights.layers) {
      sources.insert(sources.end(), {layer.query_weight, layer.key_weight, layer.value_weight,
                                     layer.attention_out_weight, layer.ffn_in_weight,
                                     layer.ffn_gate_weight, layer.ffn_out_weight});
    }
    std::erase_if(sources, [](const at::Tensor& weight) {
      return !weight.defined() || !product_wants_columns(weight) || weight.requires_grad();
    });
    std::vector<at::Tensor> copies(sources.size());
    at::parallel_for(0, static_cast<int64_t>(sources.size()), 1, [&](int64_t begin, int64_t end) {
      const c10::InferenceMode normal(false);  // autograd may pass through them
      const at::NoGradGuard no_grad;
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
        copies[i] = sources[i].t().contiguous();
      }
    });
    for (size_t i = 0; i < sources.size(); ++i) {
      copies_.emplace(sources[i].unsafeGetTensorImpl(), Pair{sources[i], copies[i]});
    }
    made_.store(true, std::memory_order_release);
  });
}

at::Tensor TransposedCopies::of(const at::Tensor& weight) const {
  if (!made()) return {};
  const auto found = copies_.find(weight.unsafeGetTensorImpl());
  return found == copies_.end() ? at::Tensor() : found->second.copy;
}

void Model::prepare_products() const {
  if (transposed_ != nullptr) transposed_->make(weights_);
}

at::Tensor Model::columns(const at::Tensor& weight) const {
  const at::Tensor copy = transposed_ != nullptr ? transposed_->of(weight) : at::Tensor();
  return copy.defined() ? copy : weight.t();
}

ModelWeights& Model::mutable_weights() {
  transposed_.reset();
  return weights_;
}

void Model::replace_values(int64_t layer, const at::Tensor& weight) {
  weights_.layers.at(static_cast<size_t>(layer)).ffn_out_weight = weight;
  // Copies that are still to be made would be of these weights, and not of the sharing models'.
  if (transposed_ != nullptr && !transposed_->made()) {
    transposed_ = std::make_shared<TransposedCopies>();
  }
}

}  // namespace engram
