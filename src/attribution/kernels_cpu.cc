// Loops over float rows, written so that the compiler vectorises them; one copy per instruction set
// is chosen at load time. Compiled with reordered sums allowed (cmake/EngramCompiler.cmake); what
// takes an exponential is in kernels_exp.cc.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "engram/error.h"
#include "kernels.h"
#include "kernels_exp.h"

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

/// Where the rows of one item are, for one head.
struct ItemRows {
  const float* const* q;  ///< [queries]
  const float* const* k;  ///< [tokens]; values stand `width` floats behind the keys
  float* const* d_q;      ///< [queries], null where the row did not move
  float* const* d_kv;     ///< [tokens], likewise
};

ENGRAM_CLONES
void attention_head(const ItemRows& rows, int64_t offset, int64_t width, int64_t queries,
                    int64_t tokens, int64_t head_size, float scale, float* probabilities,
                    float* mixed) {
  for (int64_t i = 0; i < queries; ++i) {
    const float* q = rows.q[i] + offset;
    float* p = probabilities + i * tokens;
    float largest = -3.0e38F;
    for (int64_t j = 0; j < tokens; ++j) {
      const float* k = rows.k[j] + offset;
      float dot = 0;
      for (int64_t c = 0; c < head_size; ++c) dot += q[c] * k[c];
      p[j] = dot * scale;
      largest = p[j] > largest ? p[j] : largest;
    }
    exp_row(p, largest, p, tokens);
    float sum = 0;
    for (int64_t j = 0; j < tokens; ++j) sum += p[j];
    const float norm = 1.0F / sum;
    float* out = mixed + i * width + offset;
    for (int64_t c = 0; c < head_size; ++c) out[c] = 0;
    for (int64_t j = 0; j < tokens; ++j) {
      p[j] *= norm;
      const float* v = rows.k[j] + width + offset;
      const float weight = p[j];
      for (int64_t c = 0; c < head_size; ++c) out[c] += weight * v[c];
    }
  }
}

/// d_kv rows that moved must be zero before the first call of an item.
ENGRAM_CLONES
void attention_head_backward(const ItemRows& rows, int64_t offset, int64_t width, int64_t queries,
                             int64_t tokens, int64_t head_size, float scale,
                             const float* probabilities, const float* d_mixed, float* d_scores) {
  for (int64_t i = 0; i < queries; ++i) {
    const float* g = d_mixed + i * width + offset;
    const float* p = probabilities + i * tokens;
    float along = 0;
    for (int64_t j = 0; j < tokens; ++j) {
      const float* v = rows.k[j] + width + offset;
      float dot = 0;
      for (int64_t c = 0; c < head_size; ++c) dot += g[c] * v[c];
      d_scores[j] = dot;
      along += p[j] * dot;
    }
    for (int64_t j = 0; j < tokens; ++j) d_scores[j] = p[j] * (d_scores[j] - along) * scale;
    float* d_q = rows.d_q[i];
    if (d_q != nullptr) {
      d_q += offset;
      for (int64_t c = 0; c < head_size; ++c) d_q[c] = 0;
      for (int64_t j = 0; j < tokens; ++j) {
        const float* k = rows.k[j] + offset;
        const float s = d_scores[j];
        for (int64_t c = 0; c < head_size; ++c) d_q[c] += s * k[c];
      }
    }
    const float* q = rows.q[i] + offset;
    for (int64_t j = 0; j < tokens; ++j) {
      float* d_kv = rows.d_kv[j];
      if (d_kv == nullptr) continue;
      float* d_k = d_kv + offset;
      float* d_v = d_kv + width + offset;
      const float s = d_scores[j];
      const float weight = p[j];
      for (int64_t c = 0; c < head_size; ++c) {
        d_k[c] += s * q[c];
        d_v[c] += weight * g[c];
      }
    }
  }
}

/// Pointers to the rows of item `item`, as AttentionLayout tells where they are.
class RowPointers {
 public:
  explicit RowPointers(const AttentionLayout& layout)
      : layout_(layout),
        q_(static_cast<size_t>(std::max(layout.longest(), layout.targets()))),
        k_(static_cast<size_t>(layout.longest())),
        d_q_(q_.size()),
        d_kv_(k_.size()) {}

  ItemRows find(int64_t item, const float* q, const float* kv, const float* base_q,
                const float* base_kv, float* d_q, float* d_kv) {
    const int64_t width = layout_.width();
    const bool is_full = item < layout_.full();
    const int64_t first = layout_.moved_row(item);
    const int64_t base_row = layout_.base_row(item);
    for (int64_t j = 0; j < layout_.tokens(item); ++j) {
      const int64_t moved = is_full ? first + j : -1;
      set_key(j, moved, base_row + j, kv, base_kv, d_kv);
      if (!layout_.target_queries()) set_query(j, moved, base_row + j, q, base_q, d_q);
    }
    for (int64_t j = 0; j < layout_.targets(); ++j) {
      const int64_t position = layout_.position(item, j);
      if (!is_full) {
        set_key(position, first + j, 0, kv, base_kv, d_kv);
        if (!layout_.target_queries()) set_query(position, first + j, 0, q, base_q, d_q);
      }
      if (layout_.target_queries()) {
        const int64_t row = item * layout_.targets() + j;
        q_[static_cast<size_t>(j)] = q + row * width;
        d_q_[static_cast<size_t>(j)] = d_q == nullptr ? nullptr : d_q + row * width;
      }
    }
    return {q_.data(), k_.data(), d_q_.data(), d_kv_.data()};
  }

 private:
  void set_key(int64_t j, int64_t moved, int64_t base, const float* kv, const float* base_kv,
               float* d_kv) {
    const int64_t stride = 2 * layout_.width();
    k_[static_cast<size_t>(j)] = moved >= 0 ? kv + moved * stride : base_kv + base * stride;
    d_kv_[static_cast<size_t>(j)] = moved >= 0 && d_kv != nullptr ? d_kv + moved * stride : nullptr;
  }
  void set_query(int64_t j, int64_t moved, int64_t base, const float* q, const float* base_q,
                 float* d_q) {
    const int64_t stride = layout_.width();
    q_[static_cast<size_t>(j)] = moved >= 0 ? q + moved * stride : base_q + base * stride;
    d_q_[static_cast<size_t>(j)] = moved >= 0 && d_q != nullptr ? d_q + moved * stride : nullptr;
  }

  const AttentionLayout& layout_;
  std::vector<const float*> q_;
  std::vector<const float*> k_;
  std::vector<float*> d_q_;
  std::vector<float*> d_kv_;
};

bool on_cpu(const at::Tensor& tensor) { return tensor.is_cpu(); }
const float* in(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<float>() : nullptr;
}
float* out(const at::Tensor& tensor) { return tensor.mutable_data_ptr<float>(); }

at::Tensor index_tensor(const std::vector<int64_t>& index, const at::Tensor& like) {
  return at::tensor(index, at::kLong).to(like.device());
}

}  // namespace

AttentionLayout::AttentionLayout(const Shape& shape) : shape_(shape) {
  for (int64_t item = 0; item < items(); ++item) {
    row_.push_back(row_.back() + tokens(item));
    probability_.push_back(probability_.back() + heads() * queries(item) * tokens(item));
    longest_ = std::max(longest_, tokens(item));
  }
}

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

void layer_norm(const at::Tensor& y, const at::Tensor& weight, const at::Tensor& bias,
                double epsilon, const at::Tensor& normal, const at::Tensor& rstd,
                const at::Tensor& result) {
  if (!on_cpu(y)) return generic::layer_norm(y, weight, bias, epsilon, normal, rstd, result);
  const int64_t width = y.size(1);
  for (int64_t row = 0; row < y.size(0); ++row) {
    layer_norm_row(in(y) + row * width, in(weight), in(bias), static_cast<float>(epsilon),
                   out(normal) + row * width, out(rstd) + row, out(result) + row * width, width);
  }
}

void layer_norm_backward(const at::Tensor& gradient, const at::Tensor& weight,
                         const at::Tensor& normal, const at::Tensor& rstd,
                         const at::Tensor& result) {
  if (!on_cpu(gradient)) {
    return generic::layer_norm_backward(gradient, weight, normal, rstd, result);
  }
  const int64_t width = gradient.size(1);
  for (int64_t row = 0; row < gradient.size(0); ++row) {
    layer_norm_backward_row(in(gradient) + row * width, in(weight), in(normal) + row * width,
                            in(rstd)[row], out(result) + row * width, width);
  }
}

void attention(const AttentionLayout& layout, const at::Tensor& q, const at::Tensor& kv,
               const at::Tensor& base_q, const at::Tensor& base_kv, const at::Tensor& probabilities,
               const at::Tensor& mixed) {
  if (!on_cpu(q)) {
    return generic::attention(layout, q, kv, base_q, base_kv, probabilities, mixed);
  }
  const int64_t width = layout.width();
  const int64_t head_size = layout.head_size();
  const float scale = 1.0F / std::sqrt(static_cast<float>(head_size));
  RowPointers pointers(layout);
  for (int64_t item = 0; item < layout.items(); ++item) {
    const ItemRows rows =
        pointers.find(item, in(q), in(kv), in(base_q), in(base_kv), nullptr, nullptr);
    const int64_t queries = layout.queries(item);
    const int64_t tokens = layout.tokens(item);
    float* to = out(mixed) + layout.out_row(item) * width;
    float* p = out(probabilities) + layout.probability(item);
    for (int64_t head = 0; head < layout.heads(); ++head) {
      attention_head(rows, head * head_size, width, queries, tokens, head_size, scale,
                     p + head * queries * tokens, to);
    }
  }
}

void attention_backward(const AttentionLayout& layout, const at::Tensor& q, const at::Tensor& kv,
                        const at::Tensor& base_q, const at::Tensor& base_kv,
                        const at::Tensor& probabilities, const at::Tensor& d_mixed,
                        const at::Tensor& d_q, const at::Tensor& d_kv) {
  if (!on_cpu(q)) {
    return generic::attention_backward(layout, q, kv, base_q, base_kv, probabilities, d_mixed, d_q,
                                       d_kv);
  }
  const int64_t width = layout.width();
  const int64_t head_size = layout.head_size();
  const float scale = 1.0F / std::sqrt(static_cast<float>(head_size));
  RowPointers pointers(layout);
  std::vector<float> d_scores(static_cast<size_t>(layout.longest()));
  for (int64_t item = 0; item < layout.items(); ++item) {
    const ItemRows rows =
        pointers.find(item, in(q), in(kv), in(base_q), in(base_kv), out(d_q), out(d_kv));
    const int64_t queries = layout.queries(item);
    const int64_t tokens = layout.tokens(item);
    const int64_t moved = item < layout.full() ? tokens : layout.targets();
    std::memset(out(d_kv) + layout.moved_row(item) * 2 * width, 0,
                static_cast<size_t>(moved * 2 * width) * sizeof(float));
    const float* p = in(probabilities) + layout.probability(item);
    const float* g = in(d_mixed) + layout.out_row(item) * width;
    for (int64_t head = 0; head < layout.heads(); ++head) {
      attention_head_backward(rows, head * head_size, width, queries, tokens, head_size, scale,
                              p + head * queries * tokens, g, d_scores.data());
    }
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
