// Loops over float rows, written so that the compiler vectorises them; one copy per instruction set
// is chosen at load time. Compiled with reordered sums allowed (cmake/EngramCompiler.cmake); what
// takes an exponential is in kernels_exp.cc.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "engram/error.h"
#include "model/kernels.h"
#include "model/kernels_exp.h"

namespace engram::kernels {
namespace {

ENGRAM_CLONES
void relu(const float* u, float* a, float* d, int64_t count) {
  ENGRAM_INDEPENDENT
  for (int64_t i = 0; i < count; ++i) {
    const float x = u[i];
    d[i] = x > 0 ? 1.0F : 0.0F;
    a[i] = x > 0 ? x : 0.0F;
  }
}

ENGRAM_CLONES
void multiply_loop(float* a, const float* b, int64_t count) {
  ENGRAM_INDEPENDENT
  for (int64_t i = 0; i < count; ++i) a[i] *= b[i];
}

ENGRAM_CLONES
void layer_norm_row(const float* y, const float* weight, const float* bias, float epsilon,
                    float* normal, float* rstd, float* out, int64_t width) {
  float sum = 0;
  ENGRAM_INDEPENDENT
  for (int64_t i = 0; i < width; ++i) sum += y[i];
  const float mean = sum / static_cast<float>(width);
  float squares = 0;
  ENGRAM_INDEPENDENT
  for (int64_t i = 0; i < width; ++i) {
    const float c = y[i] - mean;
    squares += c * c;
  }
  const float scale = 1.0F / std::sqrt(squares / static_cast<float>(width) + epsilon);
  ENGRAM_INDEPENDENT
  for (int64_t i = 0; i < width; ++i) {
    const float n = (y[i] - mean) * scale;
    normal[i] = n;
    out[i] = n * weight[i] + bias[i];
  }
  *rstd = scale;
}

ENGRAM_CLONES
void layer_norm_backward_row(const float* in, const float* weight, const float* normal, float rstd,
                             float* out, int64_t width) {
  float sum = 0;
  float product = 0;
  ENGRAM_INDEPENDENT
  for (int64_t i = 0; i < width; ++i) {
    const float g = in[i] * weight[i];
    sum += g;
    product += g * normal[i];
  }
  const float mean = sum / static_cast<float>(width);
  const float along = product / static_cast<float>(width);
  ENGRAM_INDEPENDENT
  for (int64_t i = 0; i < width; ++i) {
    out[i] = rstd * (in[i] * weight[i] - mean - normal[i] * along);
  }
}

ENGRAM_CLONES
void rms_norm_row(const float* y, const float* weight, const float* bias, float epsilon,
                  float* normal, float* rstd, float* out, int64_t width) {
  float squares = 0;
  ENGRAM_INDEPENDENT
  for (int64_t i = 0; i < width; ++i) squares += y[i] * y[i];
  const float scale = 1.0F / std::sqrt(squares / static_cast<float>(width) + epsilon);
  ENGRAM_INDEPENDENT
  for (int64_t i = 0; i < width; ++i) {
    const float n = y[i] * scale;
    normal[i] = n;
    out[i] = n * weight[i] + bias[i];
  }
  *rstd = scale;
}

ENGRAM_CLONES
void rms_norm_backward_row(const float* in, const float* weight, const float* normal, float rstd,
                           float* out, int64_t width) {
  float product = 0;
  ENGRAM_INDEPENDENT
  for (int64_t i = 0; i < width; ++i) product += in[i] * weight[i] * normal[i];
  const float along = product / static_cast<float>(width);
  ENGRAM_INDEPENDENT
  for (int64_t i = 0; i < width; ++i) out[i] = rstd * (in[i] * weight[i] - normal[i] * along);
}

ENGRAM_CLONES
void add_bias_row(const float* x, const float* bias, float* y, int64_t width) {
  ENGRAM_INDEPENDENT
  for (int64_t i = 0; i < width; ++i) y[i] = x[i] + bias[i];
}

ENGRAM_CLONES
void add_row(const float* x, float* y, int64_t width) {
  ENGRAM_INDEPENDENT
  for (int64_t i = 0; i < width; ++i) y[i] += x[i];
}

ENGRAM_CLONES
double exp_sum(const float* x, float largest, int64_t count) {
  constexpr int64_t kBlock = 512;  // float sums stay short, their total is a double
  float block[kBlock];
  double total = 0;
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t size = begin + kBlock < count ? kBlock : count - begin;
    exp_row(x + begin, largest, block, size);
    float sum = 0;
    for (int64_t i = 0; i < size; ++i) sum += block[i];
    total += static_cast<double>(sum);
  }
  return total;
}

ENGRAM_CLONES
float largest_of(const float* x, int64_t count) {
  float largest = x[0];
  for (int64_t i = 1; i < count; ++i) largest = x[i] > largest ? x[i] : largest;
  return largest;
}

ENGRAM_CLONES
int64_t count_above(const float* x, float bound, int64_t count) {
  int64_t above = 0;
  for (int64_t i = 0; i < count; ++i) above += x[i] > bound ? 1 : 0;
  return above;
}

bool on_cpu(const at::Tensor& tensor) { return tensor.is_cpu(); }
const float* in(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<float>() : nullptr;
}
float* out(const at::Tensor& tensor) { return tensor.mutable_data_ptr<float>(); }

at::Tensor index_tensor(const std::vector<int64_t>& index, const at::Tensor& like) {
  return at::tensor(index, at::kLong).to(like.device());
}

}  // namespace

void activate(Activation activation, const at::Tensor& u, const at::Tensor& a,
              const at::Tensor& d) {
  if (!on_cpu(u)) return generic::activate(activation, u, a, &d);
  const int64_t count = u.numel();
  switch (activation) {
    case Activation::kGelu:
      return gelu(in(u), out(a), out(d), count);
    case Activation::kGeluTanh:
      return gelu_tanh(in(u), out(a), out(d), count);
    case Activation::kRelu:
      return relu(in(u), out(a), out(d), count);
    case Activation::kSilu:
      return silu(in(u), out(a), out(d), count);
  }
}

void activate(Activation activation, const at::Tensor& u, const at::Tensor& a) {
  if (!on_cpu(u)) return generic::activate(activation, u, a, nullptr);
  // The derivative is a by-product of the same exponential: a small scratch keeps it in cache.
  constexpr int64_t kBlock = 4096;
  float scratch[kBlock];
  const float* from = in(u);
  float* to = out(a);
  for (int64_t begin = 0; begin < u.numel(); begin += kBlock) {
    const int64_t count = std::min(kBlock, u.numel() - begin);
    switch (activation) {
      case Activation::kGelu:
        gelu(from + begin, to + begin, scratch, count);
        break;
      case Activation::kGeluTanh:
        gelu_tanh(from + begin, to + begin, scratch, count);
        break;
      case Activation::kRelu:
        relu(from + begin, to + begin, scratch, count);
        break;
      case Activation::kSilu:
        silu(from + begin, to + begin, scratch, count);
        break;
    }
  }
}

void multiply(const at::Tensor& a, const at::Tensor& b) {
  if (!on_cpu(a)) {
    at::mul_out(const_cast<at::Tensor&>(a), a, b);
    return;
  }
  multiply_loop(out(a), in(b), a.numel());
}

void norm(NormKind kind, const at::Tensor& y, const at::Tensor& weight, const at::Tensor& bias,
          double epsilon, const at::Tensor& normal, const at::Tensor& rstd,
          const at::Tensor& result) {
  if (!on_cpu(y)) return generic::norm(kind, y, weight, bias, epsilon, normal, rstd, result);
  const int64_t width = y.size(1);
  const at::Tensor summand = bias.defined() ? bias : at::zeros_like(weight);
  const auto row_norm = kind == NormKind::kRms ? rms_norm_row : layer_norm_row;
  for (int64_t row = 0; row < y.size(0); ++row) {
    row_norm(in(y) + row * width, in(weight), in(summand), static_cast<float>(epsilon),
             out(normal) + row * width, out(rstd) + row, out(result) + row * width, width);
  }
}

void norm_backward(NormKind kind, const at::Tensor& gradient, const at::Tensor& weight,
                   const at::Tensor& normal, const at::Tensor& rstd, const at::Tensor& result) {
  if (!on_cpu(gradient)) {
    return generic::norm_backward(kind, gradient, weight, normal, rstd, result);
  }
  const int64_t width = gradient.size(1);
  const auto row_backward =
      kind == NormKind::kRms ? rms_norm_backward_row : layer_norm_backward_row;
  for (int64_t row = 0; row < gradient.size(0); ++row) {
    row_backward(in(gradient) + row * width, in(weight), in(normal) + row * width, in(rstd)[row],
                 out(result) + row * width, width);
  }
}

void answer_log_probability(const at::Tensor& logits, const int64_t* answer, double* log_p,
                            bool gradient, bool of_probability, double scale) {
  const int64_t vocabulary = logits.size(1);
  const int64_t rows = logits.size(0);
  if (!on_cpu(logits)) {
    const at::Tensor ids =
        at::tensor(std::vector<int64_t>(answer, answer + rows), at::kLong).to(logits.device());
    const at::Tensor log = at::log_softmax(logits, 1);
    const at::Tensor picked = log.gather(1, ids.unsqueeze(1));
    const at::Tensor host = picked.to(at::kCPU, at::kDouble).contiguous();
    std::memcpy(log_p, host.const_data_ptr<double>(), static_cast<size_t>(rows) * sizeof(double));
    if (!gradient) return;
    const at::Tensor factor = of_probability ? at::exp(picked) : at::full_like(picked, scale);
    at::Tensor target = logits;
    target.copy_(-factor * at::exp(log));
    target.scatter_add_(1, ids.unsqueeze(1), factor);
    return;
  }
  for (int64_t row = 0; row < rows; ++row) {
    float* x = out(logits) + row * vocabulary;
    const float largest = largest_of(x, vocabulary);
    const double sum = exp_sum(x, largest, vocabulary);
    log_p[row] = static_cast<double>(x[answer[row]]) - static_cast<double>(largest) - std::log(sum);
    if (!gradient) continue;
    const double factor = of_probability ? std::exp(log_p[row]) : scale;
    minus_softmax(x, largest, static_cast<float>(factor / sum), vocabulary);
    x[answer[row]] += static_cast<float>(factor);
  }
}

void read_answers(const at::Tensor& logits, const int64_t* answer, TokenAnswer* found) {
  if (!on_cpu(logits)) {
    generic::read_answers(logits, answer, found);
    return;
  }
  const int64_t vocabulary = logits.size(1);
  for (int64_t row = 0; row < logits.size(0); ++row) {
    const float* x = in(logits) + row * vocabulary;
    const float* behind = x + answer[row] + 1;
    const int64_t left = answer[row];
    const int64_t right = vocabulary - left - 1;
    const float own = x[left];
    float largest = left > 0 ? largest_of(x, left) : behind[0];
    if (right > 0) largest = std::max(largest, largest_of(behind, right));
    double sum = 0;
    if (left > 0) sum += exp_sum(x, largest, left);
    if (right > 0) sum += exp_sum(behind, largest, right);
    const double others = static_cast<double>(largest) + std::log(sum);
    TokenAnswer& one = found[row];
    one.log_odds = static_cast<double>(own) - others;
    if (!std::isfinite(own) || !std::isfinite(others)) one.log_odds = std::nan("");
    // log P = -log(1 + exp(-log-odds)), not through P, which rounds to 1.
    one.log_p = one.log_odds > 0 ? -std::log1p(std::exp(-one.log_odds))
                                 : one.log_odds - std::log1p(std::exp(one.log_odds));
    one.larger = own >= largest ? 0 : count_above(x, own, vocabulary);
  }
}

void gather_rows(const at::Tensor& from, const std::vector<int64_t>& index, const at::Tensor& to) {
  if (!on_cpu(from)) {
    at::index_select_out(const_cast<at::Tensor&>(to), from, 0, index_tensor(index, from));
    return;
  }
  const int64_t width = from.size(1);
  for (size_t i = 0; i < index.size(); ++i) {
    std::memcpy(out(to) + static_cast<int64_t>(i) * width, in(from) + index[i] * width,
                static_cast<size_t>(width) * sizeof(float));
  }
}

void scatter_rows(const at::Tensor& from, const std::vector<int64_t>& index, const at::Tensor& to) {
  if (!on_cpu(from)) {
    to.index_copy_(0, index_tensor(index, from), from);
    return;
  }
  const int64_t width = from.size(1);
  for (size_t i = 0; i < index.size(); ++i) {
    std::memcpy(out(to) + index[i] * width, in(from) + static_cast<int64_t>(i) * width,
                static_cast<size_t>(width) * sizeof(float));
  }
}

void scatter_add_rows(const at::Tensor& from, const std::vector<int64_t>& index,
                      const at::Tensor& to) {
  if (!on_cpu(from)) {
    to.index_add_(0, index_tensor(index, from), from);
    return;
  }
  const int64_t width = from.size(1);
  for (size_t i = 0; i < index.size(); ++i) {
    add_row(in(from) + static_cast<int64_t>(i) * width, out(to) + index[i] * width, width);
  }
}

void add_bias(const at::Tensor& x, const at::Tensor& bias, const at::Tensor& y) {
  if (!on_cpu(x)) {
    at::add_out(const_cast<at::Tensor&>(y), x, bias);
    return;
  }
  const int64_t width = x.size(1);
  for (int64_t row = 0; row < x.size(0); ++row) {
    add_bias_row(in(x) + row * width, in(bias), out(y) + row * width, width);
  }
}

}  // namespace engram::kernels
