#include "engram/reading/lens.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <tuple>

#include "engram/error.h"
#include "passes/chunk.h"
#include "passes/passes.h"

namespace engram {
namespace {

/// The residual stream at one position.
struct Stream {
  at::Tensor stages;   ///< [1 + 2 layers, d_model] float32
  at::Tensor written;  ///< [layers, d_model] float64: what the FFNs add, without their biases
};

Stream stream_of(const Model& model, const Cloze& cloze) {
  Passes passes(model, Target::kProbability);
  const Chunk chunk = make_chunk(std::span(&cloze, 1), {0});
  const Base base = passes.run_base(chunk, Backward::kNone);
  const int64_t row = base.target_rows().front();
  std::vector<at::Tensor> stages;
  std::vector<at::Tensor> written;
  for (size_t l = 0; l < base.layers.size(); ++l) {
    const Base::Layer& layer = base.layers[l];
    const at::Tensor& bias = model.weights().layers[l].ffn_out_bias;
    stages.push_back(layer.rows.x[row]);
    stages.push_back(bias.defined() ? layer.resting[0] - bias : layer.resting[0]);
    written.push_back(layer.fed[0]);
  }
  stages.push_back(base.final_rows[0]);
  return {at::stack(stages), at::stack(written).to(at::kCPU, at::kDouble)};
}

/// The likeliest rows of `p` [vocabulary] float64.
std::vector<LensToken> likeliest(const at::Tensor& p, int64_t top,
                                 const std::function<bool(int64_t)>& named) {
  const double* value = p.const_data_ptr<double>();
  std::vector<int64_t> order;
  for (int64_t id = 0; id < p.numel(); ++id) {
    if (!named || named(id)) order.push_back(id);
  }
  const int64_t count = std::min(top, static_cast<int64_t>(order.size()));
  std::partial_sort(order.begin(), order.begin() + count, order.end(),
                    [value](int64_t a, int64_t b) {
                      return std::tuple(-value[a], a) < std::tuple(-value[b], b);
                    });
  std::vector<LensToken> tokens;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t id = order[static_cast<size_t>(i)];
    tokens.push_back({id, value[id]});
  }
  return tokens;
}

/// Shares of the last logit. With the final norm's divisor held, the logit is a linear function of
/// the stream, which is a sum.
class LinearSplit {
 public:
  LinearSplit(const Model& model, const Stream& stream, int64_t answer)
      : model_(model), stages_(stream.stages.to(at::kCPU, at::kDouble)), written_(stream.written) {
    const ModelConfig& config = model.config();
    const ModelWeights& w = model.weights();
    const at::Tensor last = stages_[stages_.size(0) - 1];
    const at::Tensor spread = centred(last).square().mean();
    const at::Tensor row = wide(w.decoder_weight[answer]);
    direction_ = row * wide(w.final_norm_weight) / (spread + config.norm_epsilon).sqrt();
    if (w.final_norm_bias.defined()) bias_ += row.dot(wide(w.final_norm_bias)).item<double>();
    if (w.decoder_bias.defined()) bias_ += wide(w.decoder_bias[answer]).item<double>();
  }
  /// Whether the model's head is a norm and a matrix.
  static bool fits(const Model& model) {
    const ModelWeights& w = model.weights();
    return model.config().norm == NormPlacement::kPre && w.final_norm_weight.defined() &&
           !w.head_weight.defined();
  }

  void fill(Lens& lens) {
    lens.stages.front().share = of(stages_[0]);
    for (size_t l = 0; l < model_.weights().layers.size(); ++l) {
      const LayerWeights& w = model_.weights().layers[l];
      const auto i = static_cast<int64_t>(l);
      const double of_biases = of_bias(w.attention_out_bias);
      lens.stages[2 * l + 1].share = of(stages_[2 * i + 1] - stages_[2 * i]) - of_biases;
      lens.stages[2 * l + 2].share = of(written_[i]);
      bias_ += of_biases + of_bias(w.ffn_out_bias);
    }
    lens.bias_share = bias_;
  }

 private:
  static at::Tensor wide(const at::Tensor& x) { return x.to(at::kCPU, at::kDouble); }
  [[nodiscard]] at::Tensor centred(const at::Tensor& x) const {
    return model_.config().norm_kind == NormKind::kLayer ? x - x.mean() : x;
  }
  [[nodiscard]] double of(const at::Tensor& x) const {
    return centred(x).dot(direction_).item<double>();
  }
  [[nodiscard]] double of_bias(const at::Tensor& bias) const {
    return bias.defined() ? of(wide(bias)) : 0;
  }

  const Model& model_;
  at::Tensor stages_;
  at::Tensor written_;
  at::Tensor direction_;  ///< [d_model] float64
  double bias_ = 0;
};

}  // namespace

Lens logit_lens(const Model& model, const Cloze& cloze, int64_t top,
                const std::function<bool(int64_t)>& named) {
  const c10::InferenceMode guard;
  if (cloze.positions.empty() || cloze.answer.empty()) {
    throw InternalError("logit_lens: a cloze without a position or an answer");
  }
  Cloze first = cloze;
  first.positions.resize(1);
  first.answer.resize(1);
  first.contrast.clear();
  check_clozes(model.config(), std::span(&first, 1));
  const int64_t answer = first.answer.front();
  const Stream stream = stream_of(model, first);
  const at::Tensor logits = model.logits(stream.stages).to(at::kCPU, at::kDouble).contiguous();
  Lens lens;
  double before = 0;
  for (int64_t i = 0; i < logits.size(0); ++i) {
    LensStage& stage = lens.stages.emplace_back();
    if (i > 0) {
      stage.place = i % 2 == 1 ? LensPlace::kAttention : LensPlace::kFfn;
      stage.layer = (i - 1) / 2;
    }
    const at::Tensor log_p = logits[i].log_softmax(0);
    const at::Tensor p = log_p.exp();
    stage.logit = logits[i][answer].item<double>();
    stage.p = p[answer].item<double>();
    stage.rank = 1 + logits[i].gt(stage.logit).sum().item<int64_t>();
    stage.change = stage.logit - before;
    stage.share = std::numeric_limits<double>::quiet_NaN();
    stage.top = likeliest(p, top, named);
    before = stage.logit;
  }
  if (LinearSplit::fits(model)) LinearSplit(model, stream, answer).fill(lens);
  return lens;
}

}  // namespace engram
