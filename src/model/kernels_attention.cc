// Attention over the rows of AttentionLayout: loops as in kernels_cpu.cc, compiled likewise.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "engram/model/product.h"
#include "model/kernels.h"
#include "model/kernels_exp.h"

namespace engram::kernels {
namespace {

constexpr int64_t kLongTokens = 48;  // from here on matrix products are faster than loops

/// Where the rows of one item are, for one head.
struct ItemRows {
  const float* const* q;  ///< [queries]
  const float* const* k;  ///< [tokens]; values stand `key_width` floats behind the keys
  float* const* d_q;      ///< [queries], null where the row did not move
  float* const* d_kv;     ///< [tokens], likewise
  const int64_t* seen;    ///< [queries] keys that each sees, from the first on
  int64_t queries;
  int64_t tokens;
};

/// Where one head stands within the rows.
struct Head {
  int64_t query;      ///< first coordinate of its queries and outputs
  int64_t key;        ///< and of its keys
  int64_t width;      ///< of query rows
  int64_t key_width;  ///< of key rows
  int64_t size;
};

ENGRAM_CLONES
void attention_head(const ItemRows& rows, const Head& head, float scale, float* probabilities,
                    float* mixed) {
  const int64_t size = head.size;
  for (int64_t i = 0; i < rows.queries; ++i) {
    const float* q = rows.q[i] + head.query;
    float* p = probabilities + i * rows.tokens;
    const int64_t seen = rows.seen[i];
    float largest = -3.0e38F;
    for (int64_t j = 0; j < seen; ++j) {
      const float* k = rows.k[j] + head.key;
      float dot = 0;
      for (int64_t c = 0; c < size; ++c) dot += q[c] * k[c];
      p[j] = dot * scale;
      largest = p[j] > largest ? p[j] : largest;
    }
    exp_row(p, largest, p, seen);
    float sum = 0;
    for (int64_t j = 0; j < seen; ++j) sum += p[j];
    const float norm = 1.0F / sum;
    float* out = mixed + i * head.width + head.query;
    for (int64_t c = 0; c < size; ++c) out[c] = 0;
    for (int64_t j = 0; j < seen; ++j) {
      p[j] *= norm;
      const float* v = rows.k[j] + head.key_width + head.key;
      const float weight = p[j];
      for (int64_t c = 0; c < size; ++c) out[c] += weight * v[c];
    }
    for (int64_t j = seen; j < rows.tokens; ++j) p[j] = 0;
  }
}

/// d_kv rows that moved must be zero before the first call of an item.
ENGRAM_CLONES
void attention_head_backward(const ItemRows& rows, const Head& head, float scale,
                             const float* probabilities, const float* d_mixed, float* d_scores) {
  const int64_t size = head.size;
  for (int64_t i = 0; i < rows.queries; ++i) {
    const float* g = d_mixed + i * head.width + head.query;
    const float* p = probabilities + i * rows.tokens;
    const int64_t seen = rows.seen[i];
    float along = 0;
    for (int64_t j = 0; j < seen; ++j) {
      const float* v = rows.k[j] + head.key_width + head.key;
      float dot = 0;
      for (int64_t c = 0; c < size; ++c) dot += g[c] * v[c];
      d_scores[j] = dot;
      along += p[j] * dot;
    }
    for (int64_t j = 0; j < seen; ++j) d_scores[j] = p[j] * (d_scores[j] - along) * scale;
    float* d_q = rows.d_q[i];
    if (d_q != nullptr) {
      d_q += head.query;
      for (int64_t c = 0; c < size; ++c) d_q[c] = 0;
      for (int64_t j = 0; j < seen; ++j) {
        const float* k = rows.k[j] + head.key;
        const float s = d_scores[j];
        for (int64_t c = 0; c < size; ++c) d_q[c] += s * k[c];
      }
    }
    const float* q = rows.q[i] + head.query;
    for (int64_t j = 0; j < seen; ++j) {
      float* d_kv = rows.d_kv[j];
      if (d_kv == nullptr) continue;
      float* d_k = d_kv + head.key;
      float* d_v = d_kv + head.key_width + head.key;
      const float s = d_scores[j];
      const float weight = p[j];
      for (int64_t c = 0; c < size; ++c) {
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
        d_kv_(k_.size()),
        seen_(q_.size()) {}

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
    const int64_t queries = layout_.queries(item);
    for (int64_t j = 0; j < queries; ++j) seen_[static_cast<size_t>(j)] = layout_.seen(item, j);
    return {q_.data(),    k_.data(), d_q_.data(),         d_kv_.data(),
            seen_.data(), queries,   layout_.tokens(item)};
  }

 private:
  void set_key(int64_t j, int64_t moved, int64_t base, const float* kv, const float* base_kv,
               float* d_kv) {
    const int64_t stride = 2 * layout_.key_width();
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
  std::vector<int64_t> seen_;
};

Head head_of(const AttentionLayout& layout, int64_t head) {
  const int64_t group = layout.heads() / layout.key_heads();
  return {head * layout.head_size(), head / group * layout.head_size(), layout.width(),
          layout.key_width(), layout.head_size()};
}

ENGRAM_CLONES
void rotate_head(float* x, const float* cosine, const float* sine, float sign, int64_t half) {
  for (int64_t j = 0; j < half; ++j) {
    const float first = x[j];
    const float second = x[j + half];
    const float s = sign * sine[j];
    x[j] = first * cosine[j] - second * s;
    x[j + half] = second * cosine[j] + first * s;
  }
}

const float* in(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<float>() : nullptr;
}
float* out(const at::Tensor& tensor) { return tensor.mutable_data_ptr<float>(); }

ENGRAM_CLONES
void softmax_row(float* p, float scale, int64_t seen, int64_t tokens) {
  float largest = -3.0e38F;
  for (int64_t j = 0; j < seen; ++j) {
    p[j] *= scale;
    largest = p[j] > largest ? p[j] : largest;
  }
  exp_row(p, largest, p, seen);
  float sum = 0;
  for (int64_t j = 0; j < seen; ++j) sum += p[j];
  const float norm = 1.0F / sum;
  for (int64_t j = 0; j < seen; ++j) p[j] *= norm;
  for (int64_t j = seen; j < tokens; ++j) p[j] = 0;
}

/// An item all of whose rows moved and ask, by matrix products: for long texts.
void attention_of_long(const AttentionLayout& layout, int64_t item, float scale,
                       const at::Tensor& q, const at::Tensor& kv, float* probabilities,
                       const at::Tensor& mixed) {
  const int64_t tokens = layout.tokens(item);
  const at::Tensor queries = q.narrow(0, layout.moved_row(item), tokens);
  const at::Tensor keys = kv.narrow(0, layout.moved_row(item), tokens);
  const at::Tensor outputs = mixed.narrow(0, layout.out_row(item), tokens);
  for (int64_t head = 0; head < layout.heads(); ++head) {
    const Head place = head_of(layout, head);
    float* data = probabilities + head * tokens * tokens;
    const at::Tensor p = at::from_blob(data, {tokens, tokens}, at::kFloat);
    matrix_product(queries.narrow(1, place.query, place.size),
                   keys.narrow(1, place.key, place.size).t(), p, false);
    for (int64_t i = 0; i < tokens; ++i) {
      softmax_row(data + i * tokens, scale, layout.seen(item, i), tokens);
    }
    matrix_product(p, keys.narrow(1, place.key_width + place.key, place.size),
                   outputs.narrow(1, place.query, place.size), false);
  }
}

}  // namespace

AttentionLayout::AttentionLayout(const Shape& shape) : shape_(shape) {
  for (int64_t item = 0; item < items(); ++item) {
    row_.push_back(row_.back() + tokens(item));
    probability_.push_back(probability_.back() + heads() * queries(item) * tokens(item));
    longest_ = std::max(longest_, tokens(item));
  }
}

void attention(const AttentionLayout& layout, const at::Tensor& q, const at::Tensor& kv,
               const at::Tensor& base_q, const at::Tensor& base_kv, const at::Tensor& probabilities,
               const at::Tensor& mixed) {
  if (!q.is_cpu()) {
    return generic::attention(layout, q, kv, base_q, base_kv, probabilities, mixed);
  }
  const int64_t width = layout.width();
  const float scale = 1.0F / std::sqrt(static_cast<float>(layout.head_size()));
  RowPointers pointers(layout);
  for (int64_t item = 0; item < layout.items(); ++item) {
    float* p = out(probabilities) + layout.probability(item);
    if (item < layout.full() && !layout.target_queries() && layout.tokens(item) >= kLongTokens) {
      attention_of_long(layout, item, scale, q, kv, p, mixed);
      continue;
    }
    const ItemRows rows =
        pointers.find(item, in(q), in(kv), in(base_q), in(base_kv), nullptr, nullptr);
    float* to = out(mixed) + layout.out_row(item) * width;
    for (int64_t head = 0; head < layout.heads(); ++head) {
      attention_head(rows, head_of(layout, head), scale, p + head * rows.queries * rows.tokens, to);
    }
  }
}

void attention_backward(const AttentionLayout& layout, const at::Tensor& q, const at::Tensor& kv,
                        const at::Tensor& base_q, const at::Tensor& base_kv,
                        const at::Tensor& probabilities, const at::Tensor& d_mixed,
                        const at::Tensor& d_q, const at::Tensor& d_kv) {
  if (!q.is_cpu()) {
    return generic::attention_backward(layout, q, kv, base_q, base_kv, probabilities, d_mixed, d_q,
                                       d_kv);
  }
  const int64_t width = layout.width();
  const float scale = 1.0F / std::sqrt(static_cast<float>(layout.head_size()));
  RowPointers pointers(layout);
  std::vector<float> d_scores(static_cast<size_t>(layout.longest()));
  for (int64_t item = 0; item < layout.items(); ++item) {
    const ItemRows rows =
        pointers.find(item, in(q), in(kv), in(base_q), in(base_kv), out(d_q), out(d_kv));
    const int64_t moved = item < layout.full() ? rows.tokens : layout.targets();
    const int64_t stride = 2 * layout.key_width();
    std::memset(out(d_kv) + layout.moved_row(item) * stride, 0,
                static_cast<size_t>(moved * stride) * sizeof(float));
    const float* p = in(probabilities) + layout.probability(item);
    const float* g = in(d_mixed) + layout.out_row(item) * width;
    for (int64_t head = 0; head < layout.heads(); ++head) {
      attention_head_backward(rows, head_of(layout, head), scale,
                              p + head * rows.queries * rows.tokens, g, d_scores.data());
    }
  }
}

double attention_flops(const AttentionLayout& layout) {
  return 4.0 * static_cast<double>(layout.probabilities() * layout.head_size());
}

void rotate(const at::Tensor& x, int64_t heads, const std::vector<int64_t>& tokens,
            const Rotary& rotary, int direction) {
  const int64_t rows = x.size(0);
  const int64_t head_size = x.size(1) / heads;
  const int64_t half = rotary.size() / 2;
  if (!x.is_cpu()) {
    const at::Tensor index = at::tensor(tokens, at::kLong).to(x.device());
    const at::Tensor cosine = rotary.cosines().index_select(0, index).unsqueeze(1);
    const at::Tensor sine = rotary.sines().index_select(0, index).unsqueeze(1) * direction;
    const at::Tensor whole = x.contiguous().view({rows, heads, head_size});
    const at::Tensor first = whole.narrow(2, 0, half);
    const at::Tensor second = whole.narrow(2, half, half);
    const at::Tensor turned =
        at::cat({first * cosine - second * sine, second * cosine + first * sine,
                 whole.narrow(2, 2 * half, head_size - 2 * half)},
                2);
    at::Tensor target = x;
    target.copy_(turned.view({rows, x.size(1)}));
    return;
  }
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t token = tokens[static_cast<size_t>(row)];
    for (int64_t head = 0; head < heads; ++head) {
      rotate_head(out(x) + row * x.stride(0) + head * head_size,
                  in(rotary.cosines()) + token * half, in(rotary.sines()) + token * half,
                  static_cast<float>(direction), half);
    }
  }
}

}  // namespace engram::kernels
