#include "engram/reading/values.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <limits>
#include <tuple>

#include "engram/error.h"
#include "engram/reading/activity.h"

namespace engram {
namespace {

const LayerWeights& layer_of(const Model& model, int64_t layer) {
  return model.weights().layers[static_cast<size_t>(layer)];
}

double length(const at::Tensor& x) { return x.to(at::kDouble).norm().item<double>(); }

/// Cosines [rows] float64 of the rows of `matrix` with `vector`.
at::Tensor cosines(const at::Tensor& matrix, const at::Tensor& vector) {
  const at::Tensor lengths = matrix.norm(2, 1).to(at::kCPU, at::kDouble) * length(vector);
  const at::Tensor products = matrix.mv(vector).to(at::kCPU, at::kDouble);
  return at::where(lengths > 0, products / lengths, at::zeros_like(products));
}

/// The `count` nearest of all that were offered.
class Nearest {
 public:
  Nearest(NeuronId self, int64_t count) : self_(self), count_(static_cast<size_t>(count)) {}

  void offer(int64_t layer, const at::Tensor& cosine) {
    const at::Tensor held = cosine.contiguous();
    const double* value = held.const_data_ptr<double>();
    for (int64_t i = 0; i < held.numel(); ++i) {
      const NeuronId id{static_cast<int32_t>(layer), static_cast<int32_t>(i)};
      if (id != self_) found_.push_back({id, value[i]});
    }
    const size_t keep = std::min(count_, found_.size());
    std::partial_sort(found_.begin(), found_.begin() + static_cast<int64_t>(keep), found_.end(),
                      [](const Neighbour& a, const Neighbour& b) {
                        return std::tuple(-a.cosine, a.neuron) < std::tuple(-b.cosine, b.neuron);
                      });
    found_.resize(keep);
  }
  [[nodiscard]] std::vector<Neighbour> take() { return std::move(found_); }

 private:
  NeuronId self_;
  size_t count_;
  std::vector<Neighbour> found_;
};

}  // namespace

at::Tensor read_vectors(const Model& model, const at::Tensor& vectors) {
  const c10::InferenceMode guard;
  const at::Tensor zeros = at::zeros({1, vectors.size(1)}, vectors.options());
  return model.logits(vectors) - model.logits(zeros);
}

at::Tensor value_vectors(const Model& model, int64_t layer, const std::vector<int64_t>& index) {
  const c10::InferenceMode guard;
  const at::Tensor columns = at::tensor(index, at::kLong).to(model.device());
  return layer_of(model, layer).ffn_out_weight.index_select(1, columns).t().contiguous();
}

Neighbours nearest_neurons(const Model& model, NeuronId neuron, int64_t count) {
  const c10::InferenceMode guard;
  check_neuron(model.config(), neuron);
  const bool gated = model.config().gated_ffn;
  const LayerWeights& own = layer_of(model, neuron.layer);
  const at::Tensor key = own.ffn_in_weight[neuron.neuron];
  const at::Tensor gate = gated ? own.ffn_gate_weight[neuron.neuron] : at::Tensor();
  const at::Tensor value = own.ffn_out_weight.select(1, neuron.neuron).contiguous();
  Nearest by_key(neuron, count);
  Nearest by_value(neuron, count);
  for (int64_t layer = 0; layer < model.config().layers; ++layer) {
    const LayerWeights& w = layer_of(model, layer);
    at::Tensor keys = cosines(w.ffn_in_weight, key);
    if (gated) keys = (keys + cosines(w.ffn_gate_weight, gate)) / 2;
    by_key.offer(layer, keys);
    by_value.offer(layer, cosines(w.ffn_out_weight.t(), value));
  }
  return {by_key.take(), by_value.take()};
}

NeuronNorms neuron_norms(const Model& model, NeuronId neuron) {
  const c10::InferenceMode guard;
  check_neuron(model.config(), neuron);
  const LayerWeights& w = layer_of(model, neuron.layer);
  NeuronNorms norms;
  norms.key = length(w.ffn_in_weight[neuron.neuron]);
  norms.gate = w.ffn_gate_weight.defined() ? length(w.ffn_gate_weight[neuron.neuron])
                                           : std::numeric_limits<double>::quiet_NaN();
  norms.value = length(w.ffn_out_weight.select(1, neuron.neuron));
  return norms;
}

}  // namespace engram
