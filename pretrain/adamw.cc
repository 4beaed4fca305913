#include "pretrain/adamw.h"

#include <algorithm>
#include <cmath>

#include "engram/error.h"

namespace engram::pretrain {

AdamW::AdamW(std::vector<at::Tensor> parameters, const AdamWOptions& options)
    : parameters_(std::move(parameters)), options_(options) {
  constexpr int64_t kStretch = 1 << 16;
  for (size_t p = 0; p < parameters_.size(); ++p) {
    const int64_t count = parameters_[p].numel();
    first_.push_back(at::zeros(count, parameters_[p].options().requires_grad(false)));
    second_.push_back(at::zeros_like(first_.back()));
    for (int64_t begin = 0; begin < count; begin += kStretch) {
      stretches_.push_back({p, begin, std::min(count, begin + kStretch)});
    }
  }
}

std::vector<at::Tensor> AdamW::state() const {
  std::vector<at::Tensor> all = parameters_;
  all.insert(all.end(), first_.begin(), first_.end());
  all.insert(all.end(), second_.begin(), second_.end());
  return all;
}

/// The numbers that are the same for all parameters of a step.
struct AdamW::Scales {
  double gradient;  ///< clips it
  double alpha;     ///< rate, with the first moment's correction
  double correct2;  ///< one over the root of the second moment's correction
  double keep;      ///< of matrices: one minus the decay
};

AdamW::Scales AdamW::scales(double norm, int64_t step, double rate) const {
  if (!std::isfinite(norm)) throw InputError("the gradient is no longer finite: lower the rate");
  const double t = static_cast<double>(step + 1);
  return {norm > options_.clip ? options_.clip / norm : 1.0,
          rate / (1 - std::pow(options_.beta1, t)), 1 / std::sqrt(1 - std::pow(options_.beta2, t)),
          1 - rate * options_.weight_decay};
}

double AdamW::step(std::vector<std::vector<at::Tensor>>& gradients, int64_t step, double rate,
                   Workers& workers) {
  if (!parameters_.front().is_cpu()) return step_generic(gradients, step, rate);
  std::vector<double> squares(stretches_.size());
  workers.run(stretches_.size(), [&](size_t i, size_t /*worker*/) {
    const Stretch& s = stretches_[i];
    float* sum = gradients[0][s.parameter].mutable_data_ptr<float>();
    double square = 0;
    for (size_t b = 1; b < gradients.size(); ++b) {
      const float* more = gradients[b][s.parameter].const_data_ptr<float>();
      for (int64_t k = s.begin; k < s.end; ++k) sum[k] += more[k];
    }
    for (int64_t k = s.begin; k < s.end; ++k) square += double{sum[k]} * double{sum[k]};
    squares[i] = square;
  });
  double square = 0;
  for (const double part : squares) square += part;
  const double norm = std::sqrt(square);
  const Scales all = scales(norm, step, rate);

  const float scale = static_cast<float>(all.gradient);
  const float b1 = static_cast<float>(options_.beta1), b2 = static_cast<float>(options_.beta2);
  const float correct2 = static_cast<float>(all.correct2);
  const float alpha = static_cast<float>(all.alpha);
  const float epsilon = static_cast<float>(options_.epsilon);
  workers.run(stretches_.size(), [&](size_t i, size_t /*worker*/) {
    const Stretch& s = stretches_[i];
    const float keep = parameters_[s.parameter].dim() > 1 ? static_cast<float>(all.keep) : 1.0F;
    // The parameters are leaves of the graph; changing them here is what training is.
    float* w = static_cast<float*>(parameters_[s.parameter].data_ptr());
    float* m = first_[s.parameter].mutable_data_ptr<float>();
    float* v = second_[s.parameter].mutable_data_ptr<float>();
    const float* g = gradients[0][s.parameter].const_data_ptr<float>();
    for (int64_t k = s.begin; k < s.end; ++k) {
      const float gradient = g[k] * scale;
      m[k] = b1 * m[k] + (1 - b1) * gradient;
      v[k] = b2 * v[k] + (1 - b2) * gradient * gradient;
      w[k] = keep * w[k] - alpha * m[k] / (std::sqrt(v[k]) * correct2 + epsilon);
    }
  });
  return norm;
}

double AdamW::step_generic(std::vector<std::vector<at::Tensor>>& gradients, int64_t step,
                           double rate) {
  at::Tensor square = at::zeros({}, first_.front().options().dtype(at::kDouble));
  for (size_t p = 0; p < parameters_.size(); ++p) {
    at::Tensor& sum = gradients[0][p];
    for (size_t b = 1; b < gradients.size(); ++b) sum.add_(gradients[b][p]);
    square += sum.to(at::kDouble).square().sum();
  }
  const double norm = std::sqrt(square.item<double>());
  const Scales all = scales(norm, step, rate);
  for (size_t p = 0; p < parameters_.size(); ++p) {
    at::Tensor weights = parameters_[p].detach().view(-1);  // shares the leaf's storage
    const at::Tensor gradient = gradients[0][p].reshape(-1) * all.gradient;
    first_[p].mul_(options_.beta1).add_(gradient, 1 - options_.beta1);
    second_[p].mul_(options_.beta2).addcmul_(gradient, gradient, 1 - options_.beta2);
    if (parameters_[p].dim() > 1) weights.mul_(all.keep);
    const at::Tensor size = second_[p].sqrt().mul_(all.correct2).add_(options_.epsilon);
    weights.addcdiv_(first_[p], size, -all.alpha);
  }
  return norm;
}

}  // namespace engram::pretrain
