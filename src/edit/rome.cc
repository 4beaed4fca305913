#include "engram/edit/rome.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "edit/adam.h"
#include "edit/padded.h"
#include "engram/base/interrupt.h"
#include "engram/error.h"

namespace engram {
namespace {

// Of the mean of C's diagonal, added to it: neurons that never fired leave it without an inverse.
constexpr double kRidge = 1e-6;

void check_request(const ModelConfig& config, const KeyMoments& moments,
                   const RomeRequest& request) {
  if (request.prompts.empty()) throw InputError("got no prompt to rewrite, expected one or more");
  const std::vector<int64_t> square = {config.d_ff, config.d_ff};
  if (moments.layer < 0 || moments.layer >= config.layers ||
      moments.moment.sizes() != at::IntArrayRef(square)) {
    throw InputError("got the second moment of layer " + std::to_string(moments.layer) + " and " +
                     std::to_string(moments.moment.size(0)) +
                     " neurons, expected that of one of the model's layers 0.." +
                     std::to_string(config.layers - 1) + " and its " + std::to_string(config.d_ff) +
                     " neurons");
  }
  const auto check = [&](const Cloze& cloze) {
    if (!cloze.neurons_at || cloze.positions.empty()) {
      throw InputError("a prompt to rewrite does not say where its subject stands");
    }
    if (moments.layer == config.layers - 1 &&
        std::ranges::find(cloze.positions, *cloze.neurons_at) == cloze.positions.end()) {
      throw InputError("got the last layer, " + std::to_string(moments.layer) +
                       ", expected one below: what it writes at the subject no other token reads");
    }
  };
  for (const Cloze& cloze : request.prompts) check(cloze);
  if (request.essence) check(*request.essence);
}

/// [prompts, tokens, 1] float32, 1 at the last token of each subject.
at::Tensor subjects_of(const std::vector<Cloze>& clozes, const at::Tensor& ids) {
  at::Tensor subject = at::zeros({ids.size(0), ids.size(1), 1}, at::kFloat);
  for (size_t i = 0; i < clozes.size(); ++i) {
    subject[static_cast<int64_t>(i)][*clozes[i].neurons_at].fill_(1);
  }
  return subject.to(ids.device());
}

/// Adds a vector to what one layer's FFN writes at the subjects: as further neurons, one for each
/// coordinate, that are active there alone. See with_unit_values().
class SubjectHook : public ActivationHook {
 public:
  SubjectHook(int64_t layer, at::Tensor subject) : layer_(layer), subject_(std::move(subject)) {}

  void set(const at::Tensor& delta) { delta_ = delta; }
  at::Tensor on_activation(int64_t layer, const at::Tensor& a) override {
    if (layer != layer_) return a;
    keys_ = (a * subject_).sum(1);
    return at::cat({a, subject_ * delta_}, -1);
  }
  /// [prompts, d_ff] activations at the subjects.
  [[nodiscard]] const at::Tensor& keys() const { return keys_; }

 private:
  int64_t layer_;
  at::Tensor subject_, delta_, keys_;
};

/// The model with d_model more neurons in `layer`, whose values are the unit vectors.
Model with_unit_values(const Model& model, int64_t layer) {
  Model wider = model;
  const at::Tensor& weight = model.weights().layers[static_cast<size_t>(layer)].ffn_out_weight;
  const at::Tensor units = at::eye(weight.size(0), weight.options());
  wider.replace_values(layer, at::cat({weight.detach(), units}, 1).contiguous());
  return wider;
}

/// The search for the value v* = v + delta by gradient.
class ValueSearch {
 public:
  ValueSearch(const Model& model, int64_t layer, const RomeRequest& request,
              const RomeOptions& options)
      : model_(with_unit_values(model, layer)),
        layer_(layer),
        options_(options),
        device_(model.device()),
        batch_(pad_prompts(all_of(request), device_)),
        hook_(layer, subjects_of(all_of(request), batch_.ids)) {
    ask(request);
    const at::NoGradGuard no_grad;
    below_ = model_.embed(batch_.ids);
    for (int64_t l = 0; l < layer; ++l) {
      below_ = model_.feed(l, below_, model_.attend(l, below_, batch_.mask));
    }
    attended_ = model_.attend(layer, below_, batch_.mask);
    const at::Tensor none = at::zeros({model_.config().d_model}, below_.options());
    const at::Tensor before = log_p(none);
    if (essence_) essence_before_ = before[-1].clone();
    keys_ = hook_.keys().clone();
    const LayerWeights& w = model.weights().layers[static_cast<size_t>(layer)];
    value_ = w.ffn_out_weight.detach().mv(keys_[0]);
    if (w.ffn_out_bias.defined()) value_ = value_ + w.ffn_out_bias;
    value_length_ = value_.norm().item<double>();
  }

  /// [prompts, d_ff] keys of the prompts to rewrite.
  [[nodiscard]] at::Tensor keys() const {
    return essence_ ? keys_.narrow(0, 0, keys_.size(0) - 1) : keys_;
  }
  [[nodiscard]] double value_length() const { return value_length_; }

  at::Tensor run(std::vector<RomeStep>& steps,
                 const std::function<void(const RomeStep&)>& progress) {
    at::Tensor delta = at::zeros({model_.config().d_model}, below_.options());
    Adam adam({delta}, options_.rate);
    for (int64_t step = 0;; ++step) {
      Interrupt::check();
      const bool last = step == options_.steps;
      steps.push_back(look(delta, last ? nullptr : &delta.mutable_grad()));
      if (progress) progress(steps.back());
      if (last || steps.back().loss < options_.enough) return delta;
      adam.step();
      const double most = options_.clamp * value_length_;
      const double length = delta.norm().item<double>();
      if (length > most) delta.mul_(most / length);
    }
  }

 private:
  static std::vector<Cloze> all_of(const RomeRequest& request) {
    std::vector<Cloze> all = request.prompts;
    if (request.essence) all.push_back(*request.essence);
    return all;
  }

  /// Which rows are asked for which tokens; the essence's first position comes last.
  void ask(const RomeRequest& request) {
    AskedTokens asked = asked_tokens(request.prompts, device_);
    answers_ = asked.answers;
    weights_ = asked.weights;
    prompts_ = asked.prompts;
    tokens_ = asked.tokens;
    essence_ = request.essence.has_value();
    if (!essence_) return;
    const auto one = [&](int64_t value) { return at::full({1}, value, prompts_.options()); };
    prompts_ = at::cat({prompts_, one(std::ssize(request.prompts))});
    tokens_ = at::cat({tokens_, one(request.essence->positions.front())});
  }

  /// Log-probabilities [asked, vocabulary] with `delta` added at the subjects.
  at::Tensor log_p(const at::Tensor& delta) {
    hook_.set(delta);
    at::Tensor x = model_.feed(layer_, below_, attended_, &hook_);
    for (int64_t l = layer_ + 1; l < model_.config().layers; ++l) {
      x = model_.feed(l, x, model_.attend(l, x, batch_.mask));
    }
    return model_.logits(x.index({prompts_, tokens_})).log_softmax(-1);
  }

  /// The loss at `delta` and, with `gradient`, its gradient.
  RomeStep look(const at::Tensor& delta, at::Tensor* gradient) {
    const at::AutoGradMode grad(gradient != nullptr);
    at::Tensor leaf = delta.detach().clone();
    if (gradient != nullptr) leaf.requires_grad_();
    const at::Tensor all = log_p(leaf);
    const at::Tensor asked = all.narrow(0, 0, answers_.size(0));
    const at::Tensor answer = asked.gather(1, answers_.unsqueeze(1)).squeeze(1);
    const at::Tensor nll = -(answer * weights_).sum();
    at::Tensor loss = nll;
    at::Tensor kl;
    if (essence_) {
      const at::Tensor now = all[-1];
      kl = options_.kl_factor * (now.exp() * (now - essence_before_)).sum();
      loss = loss + kl;
    }
    loss = loss + options_.weight_decay * leaf.norm() / (value_length_ * value_length_);
    if (gradient != nullptr) {
      loss.backward();
      *gradient = leaf.grad();
    }
    if (!std::isfinite(loss.item<double>())) {
      throw InputError("the search for the new value has left the finite numbers: got a loss of " +
                       std::to_string(loss.item<double>()) + ", a smaller rate may help");
    }
    return {loss.item<double>(), nll.item<double>(), kl.defined() ? kl.item<double>() : 0.0,
            delta.norm().item<double>()};
  }

  Model model_;
  int64_t layer_;
  RomeOptions options_;
  at::Device device_;
  PaddedPrompts batch_;
  SubjectHook hook_;
  at::Tensor prompts_, tokens_;  ///< [asked] rows that are read
  at::Tensor answers_;           ///< [asked, the essence's left out] token ids
  at::Tensor weights_;           ///< of each in the mean
  bool essence_ = false;
  at::Tensor below_, attended_;  ///< [prompts, tokens, d_model] of the edited layer
  at::Tensor essence_before_;    ///< [vocabulary] log-probabilities
  at::Tensor keys_;              ///< [prompts, d_ff]
  at::Tensor value_;             ///< [d_model]
  double value_length_ = 0;
};

/// C^-1 k, in double precision.
at::Tensor inverse_times(const KeyMoments& moments, const at::Tensor& key) {
  at::Tensor c = moments.moment.to(at::kDouble);
  c.diagonal().add_(kRidge * c.diagonal().mean());
  const auto [factor, info] = at::linalg_cholesky_ex(c);
  if (info.item<int64_t>() != 0) {
    throw InputError("the second moment of layer " + std::to_string(moments.layer) +
                     "'s keys has no inverse: it is of " + std::to_string(moments.tokens) +
                     " tokens, expected many times its " + std::to_string(c.size(0)) + " neurons");
  }
  return at::cholesky_solve(key.to(at::kCPU, at::kDouble).unsqueeze(1), factor).squeeze(1);
}

}  // namespace

int64_t usual_rome_layer(const ModelConfig& config) {
  return (17 * config.layers + 24) / 48;  // rounded
}

RomeEdit rome_edit(const Model& model, const KeyMoments& moments, const RomeRequest& request,
                   const RomeOptions& options,
                   const std::function<void(const RomeStep&)>& progress) {
  check_request(model.config(), moments, request);
  ValueSearch search(model, moments.layer, request, options);
  RomeEdit made;
  const at::Tensor mean = search.keys().mean(0);
  const at::Tensor towards = inverse_times(moments, mean);
  const at::Tensor own = search.keys()[0].to(at::kCPU, at::kDouble);
  const double projection = own.dot(towards).item<double>();
  if (!std::isfinite(projection) ||
      std::abs(projection) <= 1e-9 * (own.norm() * towards.norm()).item<double>()) {
    throw InputError("the subject's key is orthogonal to the direction of the edit");
  }
  const at::Tensor delta = search.run(made.steps, progress).detach().to(at::kCPU, at::kDouble);
  const at::Tensor weight =
      model.weights().layers[static_cast<size_t>(moments.layer)].ffn_out_weight.detach().to(
          at::kCPU, at::kDouble);
  made.edit.values = (weight + delta.outer(towards / projection)).t().to(at::kFloat).contiguous();
  for (int64_t i = 0; i < model.config().d_ff; ++i) {
    made.edit.neurons.push_back({static_cast<int32_t>(moments.layer), static_cast<int32_t>(i)});
  }
  made.key = mean.to(at::kCPU, at::kFloat);
  made.delta = delta.to(at::kFloat);
  made.value_length = search.value_length();
  return made;
}

}  // namespace engram
