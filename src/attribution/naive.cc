// The yardstick: the definitions of METHOD section 2 with the model's own forward and autograd, one
// prompt, one layer, one node at a time. Shares no code with the fast path but the quadrature.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "arc.h"
#include "attribution/quadrature.h"
#include "engram/error.h"
#include "scoring.h"

namespace engram {
namespace {

/// Puts a leaf in the place of one layer's activations at some positions.
class ReplacingHook : public ActivationHook {
 public:
  ReplacingHook(int64_t layer, at::Tensor positions, at::Tensor replacement)
      : layer_(layer), positions_(std::move(positions)), replacement_(std::move(replacement)) {}
  at::Tensor on_activation(int64_t layer, const at::Tensor& a) override {
    if (layer != layer_) return a;
    return a.index_copy(1, positions_, replacement_.unsqueeze(0));
  }

 private:
  int64_t layer_;
  at::Tensor positions_, replacement_;
};

class Naive {
 public:
  Naive(const Model& model, const Cloze& cloze, const AttributionOptions& options)
      : model_(model),
        query_(cloze),
        options_(options),
        ids_(at::tensor(cloze.ids, at::kLong).unsqueeze(0)),
        positions_(at::tensor(cloze.positions, at::kLong)),
        places_(cloze.neurons_at ? at::tensor({*cloze.neurons_at}, at::kLong) : positions_),
        answer_(at::tensor(cloze.answer, at::kLong)) {}

  Attribution run() {
    const ModelConfig& config = model_.config();
    Attribution result;
    RecordingHook recording;
    const at::Tensor hidden = model_.encode(ids_, {}, &recording);
    result.f = value(hidden).item<double>();
    result.p = std::exp(mean_log_p(hidden).item<double>());
    result.scores = at::zeros({config.layers, config.d_ff});
    result.activations = at::zeros({config.layers, config.d_ff});
    for (int64_t layer = 0; layer < config.layers; ++layer) {
      const at::Tensor a =
          recording.activations()[static_cast<size_t>(layer)].select(0, 0).index_select(
              0, places_);  // [k, d_ff]
      LayerReport report;
      report.delta = result.f - value_at(layer, at::zeros_like(a)).item<double>();
      result.activations.select(0, layer).copy_(a.mean(0));
      result.scores.select(0, layer).copy_(scores(layer, a, result.f, report));
      report.sum = result.scores.select(0, layer).sum(at::kDouble).item<double>();
      report.gap = std::fabs(report.sum - report.delta);
      result.layers.push_back(report);
    }
    return result;
  }

 private:
  [[nodiscard]] at::Tensor logits(const at::Tensor& hidden) const {
    return model_.logits(hidden.select(0, 0).index_select(0, positions_));  // [k, vocabulary]
  }
  [[nodiscard]] at::Tensor mean_log_p(const at::Tensor& hidden) const {
    return at::log_softmax(logits(hidden), 1).gather(1, answer_.unsqueeze(1)).mean();
  }
  /// The target F of final hidden states [1, tokens, d_model].
  [[nodiscard]] at::Tensor value(const at::Tensor& hidden) const {
    if (options_.target == Target::kLogitDifference) {
      const at::Tensor row = logits(hidden).select(0, 0);
      return row[query_.answer.front()] - row[query_.contrast.front()];
    }
    const at::Tensor log_p = mean_log_p(hidden);
    const bool probability = options_.target == Target::kProbability && query_.answer.size() == 1;
    return probability ? at::exp(log_p) : log_p;
  }
  [[nodiscard]] at::Tensor value_at(int64_t layer, const at::Tensor& z) const {
    ReplacingHook hook(layer, places_, z);
    return value(model_.encode(ids_, {}, &hook));
  }

  /// dF/dz at z, [k, d_ff].
  [[nodiscard]] at::Tensor gradient(int64_t layer, const at::Tensor& z) const {
    const at::AutoGradMode with_gradient(true);
    const at::Tensor leaf = z.detach().clone().requires_grad_(true);
    return torch::autograd::grad({value_at(layer, leaf)}, {leaf}).front();
  }

  at::Tensor scores(int64_t layer, const at::Tensor& a, double f, LayerReport& report) const {
    switch (options_.score) {
      case Score::kActivation:
        return a.mean(0);
      case Score::kActivationNorm:
        return a.mean(0).abs() *
               model_.weights().layers[static_cast<size_t>(layer)].ffn_out_weight.norm(2, 0);
      case Score::kValueNorm:
        return value_norm(layer);
      case Score::kRelevance:
        throw UsageError("attribute_naive: relevance propagation has no plain path");
      case Score::kGradientXActivation:
        return (a * gradient(layer, a)).sum(0);
      case Score::kAblation: {
        at::Tensor result = at::zeros({a.size(1)});
        for (int64_t i = 0; i < a.size(1); ++i) {
          at::Tensor without = a.clone();
          without.select(1, i).fill_(
              options_.ablate_to.defined() ? options_.ablate_to[layer][i].item<double>() : 0);
          result[i] = f - value_at(layer, without).item<double>();
        }
        return result;
      }
      case Score::kIntegratedGradients:
        break;
    }
    if (!options_.integration.steps)
      throw UsageError("attribute_naive: integrated gradients need steps");
    if (options_.integration.rule == Rule::kControlVariate) {
      if (query_.neurons_at) {
        throw UsageError(
            "attribute_naive: the default rule takes neurons where the answer is asked");
      }
      return on_arc(layer, a, report);
    }
    const Quadrature rule = quadrature(options_.integration.rule, *options_.integration.steps);
    at::Tensor integral = at::zeros_like(a);
    for (size_t i = 0; i < rule.nodes.size(); ++i) {
      integral += rule.weights[i] * gradient(layer, rule.nodes[i] * a);
      ++report.nodes;
      if (rule.nodes[i] == 1) ++report.shared_nodes;
    }
    return (a * integral).sum(0);
  }

  /// Robust z of the value vectors' norms, (norm - median) / (1.4826 * median |norm - median|).
  [[nodiscard]] at::Tensor value_norm(int64_t layer) const {
    const at::Tensor& values = model_.weights().layers[static_cast<size_t>(layer)].ffn_out_weight;
    std::vector<double> norms;
    for (int64_t i = 0; i < values.size(1); ++i) {
      norms.push_back(values.select(1, i).to(at::kDouble).square().sum().sqrt().item<double>());
    }
    const auto median = [](std::vector<double> list) {
      std::sort(list.begin(), list.end());
      return list[(list.size() - 1) / 2];  // the lower one of two, as torch takes it
    };
    const double middle = median(norms);
    std::vector<double> away;
    for (const double norm : norms) away.push_back(std::fabs(norm - middle));
    const double spread = 1.4826 * median(away);
    for (double& norm : norms) norm = (norm - middle) / spread;
    return at::tensor(norms, at::kFloat);
  }

  // ---- the default rule, by its definition ------------------------------------------------------

  /// F (or G, where other rows stay at their unperturbed states) of the FFN sum y [k, d_model].
  [[nodiscard]] at::Tensor value_of_sum(int64_t layer, const at::Tensor& y,
                                        bool only_targets) const {
    const ModelConfig& config = model_.config();
    const LayerWeights& w = model_.weights().layers[static_cast<size_t>(layer)];
    const at::Tensor left = config.norm == NormPlacement::kPre
                                ? y
                                : at::layer_norm(y, {config.d_model}, w.ffn_norm_weight,
                                                 w.ffn_norm_bias, config.norm_epsilon);
    at::Tensor row = left.unsqueeze(0);
    at::Tensor resting = model_.embed(ids_);
    at::Tensor x;
    for (int64_t m = 0; m < config.layers; ++m) {
      if (m > layer) {
        const at::Tensor mixed = (only_targets ? resting : x).index_copy(1, positions_, row);
        x = model_.feed(m, mixed, model_.attend(m, mixed));
        row = x.index_select(1, positions_);
      }
      resting = model_.feed(m, resting, model_.attend(m, resting));
      if (m == layer) x = resting;
    }
    return value(resting.index_copy(1, positions_, row));
  }

  /// Its gradient, [k * d_model].
  [[nodiscard]] std::vector<float> gradient_of_sum(int64_t layer, const at::Tensor& y,
                                                   bool only_targets) const {
    const at::AutoGradMode with_gradient(true);
    const at::Tensor leaf = y.detach().clone().requires_grad_(true);
    const at::Tensor g = torch::autograd::grad({value_of_sum(layer, leaf, only_targets)}, {leaf})
                             .front()
                             .contiguous();
    return {g.const_data_ptr<float>(), g.const_data_ptr<float>() + g.numel()};
  }

  at::Tensor on_arc(int64_t layer, const at::Tensor& a, LayerReport& report) const {
    const ModelConfig& config = model_.config();
    const LayerWeights& w = model_.weights().layers[static_cast<size_t>(layer)];
    at::Tensor x = model_.embed(ids_);
    for (int64_t m = 0; m < layer; ++m) x = model_.feed(m, x, model_.attend(m, x));
    at::Tensor rest = model_.attend(layer, x).select(0, 0).index_select(0, positions_);
    if (w.ffn_out_bias.defined()) rest = rest + w.ffn_out_bias;
    const at::Tensor fed = at::mm(a, w.ffn_out_weight.t());
    const auto host = [](const at::Tensor& rows) {
      return std::span<const float>(rows.const_data_ptr<float>(),
                                    static_cast<size_t>(rows.numel()));
    };
    const Arc arc(
        host(rest), host(fed), a.size(0),
        config.norm == NormPlacement::kPost ? std::optional(config.norm_epsilon) : std::nullopt);

    const int64_t n = *options_.integration.steps;
    report.nodes = n;
    const auto integral = [&](std::vector<double> s, bool only_targets) {
      s.push_back(1.0);
      std::vector<std::vector<float>> rows;
      for (const double node : s) {
        rows.push_back(gradient_of_sum(layer, rest + arc.t(node) * fed, only_targets));
        arc.free_of_scale(arc.t(node), rows.back());
      }
      return arc.integrate(s, rows);
    };
    std::vector<double> sum;
    if (n > 12) {
      const Quadrature rule = quadrature(Rule::kControlVariate, n);
      sum.assign(static_cast<size_t>(rest.numel()), 0.0);
      for (size_t q = 0; q < rule.nodes.size(); ++q) {
        const double s = rule.nodes[q];
        const std::vector<float> rows = gradient_of_sum(layer, rest + arc.t(s) * fed, false);
        const double weight = rule.weights[q] * arc.slope(s);
        for (size_t i = 0; i < sum.size(); ++i) sum[i] += weight * static_cast<double>(rows[i]);
      }
    } else {
      sum = integral(extended_nodes(arc_nodes(n)), true);
      const std::vector<double> exact = integral(arc_nodes(n), false);
      const std::vector<double> cheap = integral(arc_nodes(n), true);
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += exact[i] - cheap[i];
    }
    const at::Tensor integrated = at::tensor(sum, at::kDouble).to(at::kFloat).view(rest.sizes());
    return scores_of(model_, layer, integrated, a, a.size(0)).select(0, 0);
  }

  const Model& model_;
  const Cloze& query_;
  const AttributionOptions& options_;
  at::Tensor ids_, positions_;
  at::Tensor places_;  ///< of the neurons
  at::Tensor answer_;
};

}  // namespace

Attribution attribute_naive(const Model& model, const Cloze& cloze,
                            const AttributionOptions& options) {
  const at::NoGradGuard no_grad;
  return Naive(model, cloze, options).run();
}

}  // namespace engram
