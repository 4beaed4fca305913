#include <cmath>
#include <limits>

#include "engram/error.h"
#include "model/kernels.h"

namespace engram::kernels::generic {
namespace {

void assign(const at::Tensor& to, const at::Tensor& from) {
  at::Tensor target = to;
  target.copy_(from);
}

at::Tensor derivative(Activation activation, const at::Tensor& u) {
  switch (activation) {
    case Activation::kGelu: {
      const at::Tensor density = at::exp(u * u * -0.5) * 0.3989422804014327;
      return 0.5 * (1 + at::erf(u * 0.7071067811865476)) + u * density;
    }
    case Activation::kGeluTanh: {
      const at::Tensor t = at::tanh(0.7978845608028654 * (u + 0.044715 * u * u * u));
      const at::Tensor slope = 0.7978845608028654 * (1 + 3 * 0.044715 * u * u);
      return 0.5 * (1 + t) + 0.5 * u * (1 - t * t) * slope;
    }
    case Activation::kRelu:
      return (u > 0).to(u.scalar_type());
    case Activation::kSilu: {
      const at::Tensor s = at::sigmoid(u);
      return s + u * s * (1 - s);
    }
  }
  throw InternalError("unknown activation");
}

at::Tensor value(Activation activation, const at::Tensor& u) {
  switch (activation) {
    case Activation::kGelu:
      return at::gelu(u);
    case Activation::kGeluTanh:
      return at::gelu(u, "tanh");
    case Activation::kRelu:
      return at::relu(u);
    case Activation::kSilu:
      return at::silu(u);
  }
  throw InternalError("unknown activation");
}

at::Tensor index_on(const std::vector<int64_t>& index, const at::Device& device) {
  return at::tensor(index, at::kLong).to(device);
}

/// The items with all rows, shorter ones padded to the longest: where the rows come from, and where
/// gradients go.
class Padded {
 public:
  Padded(const AttentionLayout& layout, const at::Device& device)
      : layout_(layout), device_(device) {
    const int64_t longest = layout.longest();
    std::vector<int64_t> tokens;
    std::vector<int64_t> moved(static_cast<size_t>(layout.moved_rows()));
    for (int64_t item = 0; item < layout.items(); ++item) {
      tokens.push_back(layout.tokens(item));
      const auto from = from_.insert(from_.end(), static_cast<size_t>(longest), 0);
      for (int64_t j = 0; j < layout.tokens(item); ++j) {
        all_.push_back(item * longest + j);
        from[j] = layout.moved_rows() + layout.base_row(item) + j;
      }
      const bool full = item < layout.full();
      const int64_t own = full ? layout.tokens(item) : layout.targets();
      for (int64_t j = 0; j < own; ++j) {
        const int64_t place = full ? j : layout.position(item, j);
        from[place] = layout.moved_row(item) + j;
        moved[static_cast<size_t>(layout.moved_row(item) + j)] = item * longest + place;
      }
    }
    moved_ = index_on(moved, device);
    const at::Tensor place =
        at::arange(longest, at::TensorOptions().dtype(at::kLong).device(device));
    // [items, 1, 1, longest]: which keys there are.
    keys_ = place.lt(index_on(tokens, device).unsqueeze(1)).view({layout.items(), 1, 1, longest});
    seen_ = keys_;
    if (!layout.causal()) return;
    const int64_t queries = layout.target_queries() ? layout.targets() : longest;
    std::vector<int64_t> last;  // the last key that each query sees
    for (int64_t item = 0; item < layout.items(); ++item) {
      for (int64_t j = 0; j < queries; ++j) last.push_back(layout.seen(item, j) - 1);
    }
    seen_ =
        keys_.logical_and(place.le(index_on(last, device).view({layout.items(), 1, queries, 1})));
  }

  /// [items, heads, longest, head_size] of moved rows and, elsewhere, those of the base.
  [[nodiscard]] at::Tensor keys(const at::Tensor& moved, const at::Tensor& base) const {
    const at::Tensor both = base.defined() ? at::cat({moved, base}) : moved;
    return heads(both.index_select(0, index_on(from_, device_)), layout_.longest());
  }
  /// The same for queries, [items, heads, targets, head_size] where only targets ask.
  [[nodiscard]] at::Tensor queries(const at::Tensor& moved, const at::Tensor& base) const {
    return layout_.target_queries() ? heads(moved, layout_.targets()) : keys(moved, base);
  }
  /// Gradients at the outputs, likewise; zero where a row is padding.
  [[nodiscard]] at::Tensor outputs(const at::Tensor& rows) const {
    if (layout_.target_queries()) return heads(rows, layout_.targets());
    at::Tensor all = at::zeros({layout_.items() * layout_.longest(), rows.size(1)}, rows.options());
    all.index_copy_(0, index_on(all_, device_), rows);
    return heads(all, layout_.longest());
  }

  /// [out_rows, width] of [items, heads, queries, head_size].
  [[nodiscard]] at::Tensor out_rows(const at::Tensor& x) const {
    const at::Tensor rows = merge(x);
    return layout_.target_queries() ? rows : rows.index_select(0, index_on(all_, device_));
  }
  /// Of gradients [items, heads, longest, head_size], those at moved rows.
  [[nodiscard]] at::Tensor moved_rows(const at::Tensor& x) const {
    return merge(x).index_select(0, moved_);
  }

  /// Which keys the queries see, [items, 1, queries or 1, longest].
  [[nodiscard]] const at::Tensor& seen() const { return seen_; }
  /// Which probabilities [items, 1, queries, longest] there are.
  [[nodiscard]] at::Tensor has_probability() const {
    if (layout_.target_queries()) {
      return keys_.expand({layout_.items(), 1, layout_.targets(), layout_.longest()});
    }
    return keys_.logical_and(keys_.transpose(2, 3));
  }

 private:
  /// [items * rows, width] -> [items, heads, rows, head_size]
  [[nodiscard]] at::Tensor heads(const at::Tensor& x, int64_t rows) const {
    return x.reshape({layout_.items(), rows, -1, layout_.head_size()}).transpose(1, 2);
  }
  [[nodiscard]] at::Tensor merge(const at::Tensor& x) const {
    return x.transpose(1, 2).reshape({-1, x.size(1) * x.size(3)});
  }

  const AttentionLayout& layout_;
  at::Device device_;
  std::vector<int64_t> from_;  ///< [items * longest] rows of (moved, base)
  std::vector<int64_t> all_;   ///< the padded rows that are none
  at::Tensor moved_;           ///< [moved_rows] their padded rows
  at::Tensor keys_;
  at::Tensor seen_;
};

/// Keys or values of all query heads, [items, heads, longest, head_size]: those of a group share
/// theirs.
at::Tensor of_all_heads(const AttentionLayout& layout, const at::Tensor& x) {
  const int64_t group = layout.heads() / layout.key_heads();
  return group == 1 ? x : x.repeat_interleave(group, 1);
}
/// The way back: the gradients of a group add up.
at::Tensor of_key_heads(const AttentionLayout& layout, const at::Tensor& x) {
  const int64_t group = layout.heads() / layout.key_heads();
  if (group == 1) return x;
  return x.reshape({x.size(0), layout.key_heads(), group, x.size(2), x.size(3)}).sum(2);
}

struct Operands {
  at::Tensor q, k, v;
};
Operands operands(const AttentionLayout& layout, const Padded& padded, const at::Tensor& q,
                  const at::Tensor& kv, const at::Tensor& base_q, const at::Tensor& base_kv) {
  const int64_t width = layout.key_width();
  const auto half = [&](const at::Tensor& both, int64_t from) {
    return both.defined() ? both.narrow(1, from, width) : both;
  };
  return {padded.queries(q, base_q),
          of_all_heads(layout, padded.keys(half(kv, 0), half(base_kv, 0))),
          of_all_heads(layout, padded.keys(half(kv, width), half(base_kv, width)))};
}

}  // namespace

void activate(Activation activation, const at::Tensor& u, const at::Tensor& a,
              const at::Tensor* d) {
  const at::Tensor result = value(activation, u);
  if (d != nullptr) assign(*d, derivative(activation, u));
  assign(a, result);
}

void norm(NormKind kind, const at::Tensor& y, const at::Tensor& weight, const at::Tensor& bias,
          double epsilon, const at::Tensor& normal, const at::Tensor& rstd, const at::Tensor& out) {
  const at::Tensor centred = kind == NormKind::kRms ? y : y - y.mean(1, /*keepdim=*/true);
  const at::Tensor scale = at::rsqrt(centred.square().mean(1, /*keepdim=*/true) + epsilon);
  assign(rstd, scale.squeeze(1));
  assign(normal, centred * scale);
  assign(out, bias.defined() ? normal * weight + bias : normal * weight);
}

void norm_backward(NormKind kind, const at::Tensor& in, const at::Tensor& weight,
                   const at::Tensor& normal, const at::Tensor& rstd, const at::Tensor& out) {
  const at::Tensor g = in * weight;
  const at::Tensor along = (g * normal).mean(1, /*keepdim=*/true);
  const at::Tensor centred = kind == NormKind::kRms ? g : g - g.mean(1, /*keepdim=*/true);
  assign(out, rstd.unsqueeze(1) * (centred - normal * along));
}

void attention(const AttentionLayout& layout, const at::Tensor& q, const at::Tensor& kv,
               const at::Tensor& base_q, const at::Tensor& base_kv, const at::Tensor& probabilities,
               const at::Tensor& mixed) {
  const Padded padded(layout, q.device());
  const Operands o = operands(layout, padded, q, kv, base_q, base_kv);
  const double scale = 1.0 / std::sqrt(static_cast<double>(layout.head_size()));
  const at::Tensor scores =
      (at::matmul(o.q, o.k.transpose(2, 3)) * scale)
          .masked_fill(padded.seen().logical_not(), -std::numeric_limits<double>::infinity());
  const at::Tensor p = at::softmax(scores, 3);
  assign(probabilities.view({-1}), p.masked_select(padded.has_probability()));
  assign(mixed, padded.out_rows(at::matmul(p, o.v)));
}

void attention_backward(const AttentionLayout& layout, const at::Tensor& q, const at::Tensor& kv,
                        const at::Tensor& base_q, const at::Tensor& base_kv,
                        const at::Tensor& probabilities, const at::Tensor& d_mixed,
                        const at::Tensor& d_q, const at::Tensor& d_kv) {
  const Padded padded(layout, q.device());
  const Operands o = operands(layout, padded, q, kv, base_q, base_kv);
  const double scale = 1.0 / std::sqrt(static_cast<double>(layout.head_size()));
  const at::Tensor g = padded.outputs(d_mixed);
  const at::Tensor d_p = at::matmul(g, o.v.transpose(2, 3));
  at::Tensor p = at::zeros_like(d_p);
  p.masked_scatter_(padded.has_probability(), probabilities.view({-1}));
  const at::Tensor d_scores = p * (d_p - (p * d_p).sum(3, /*keepdim=*/true)) * scale;
  const at::Tensor d_queries = at::matmul(d_scores, o.k);
  assign(d_q, layout.target_queries() ? padded.out_rows(d_queries) : padded.moved_rows(d_queries));
  const int64_t width = layout.key_width();
  const auto back = [&](const at::Tensor& gradient) {
    return padded.moved_rows(of_key_heads(layout, gradient));
  };
  assign(d_kv.narrow(1, 0, width), back(at::matmul(d_scores.transpose(2, 3), o.q)));
  assign(d_kv.narrow(1, width, width), back(at::matmul(p.transpose(2, 3), g)));
}

void read_answers(const at::Tensor& logits, const int64_t* answer, TokenAnswer* found) {
  const int64_t rows = logits.size(0);
  const at::Tensor ids = at::tensor(std::vector<int64_t>(answer, answer + rows), at::kLong)
                             .to(logits.device())
                             .unsqueeze(1);
  const at::Tensor own = logits.gather(1, ids);  // [rows, 1]
  const at::Tensor others =
      logits.scatter(1, ids, -std::numeric_limits<double>::infinity()).logsumexp(1, true);
  const at::Tensor finite = own.isfinite().logical_and(others.isfinite());
  const at::Tensor log_odds = (own.to(at::kDouble) - others.to(at::kDouble))
                                  .masked_fill(finite.logical_not(), std::nan(""));
  const at::Tensor log_p = at::log_sigmoid(log_odds);
  const at::Tensor numbers = at::cat({log_odds, log_p}, 1).to(at::kCPU).contiguous();
  const at::Tensor larger = logits.gt(own).sum(1).to(at::kCPU).contiguous();
  for (int64_t row = 0; row < rows; ++row) {
    const double* both = numbers.const_data_ptr<double>() + 2 * row;
    found[row] = {both[1], both[0], larger.const_data_ptr<int64_t>()[row]};
  }
}

}  // namespace engram::kernels::generic

namespace engram::kernels {

// Of relevance propagation, which runs once a prompt: ATen is fast enough everywhere.

void activate_ratio(Activation activation, const at::Tensor& u, const at::Tensor& a,
                    const at::Tensor& d) {
  at::Tensor to = d;
  switch (activation) {
    case Activation::kGelu:  // by erfc: a / u has lost digits where u is far below 0
      to.copy_(0.5 * at::special_erfc(u * -0.7071067811865476));
      break;
    case Activation::kGeluTanh:
      to.copy_(0.5 * (1 + at::tanh(0.7978845608028654 * (u + 0.044715 * u * u * u))));
      break;
    case Activation::kRelu:
      to.copy_(u > 0);
      break;
    case Activation::kSilu:
      to.copy_(at::sigmoid(u));
      break;
  }
  activate(activation, u, a);
}

void norm_backward_fixed(NormKind kind, const at::Tensor& in, const at::Tensor& weight,
                         const at::Tensor& rstd, const at::Tensor& out) {
  const at::Tensor g = in * weight;
  at::Tensor to = out;
  to.copy_(rstd.unsqueeze(1) * (kind == NormKind::kRms ? g : g - g.mean(1, /*keepdim=*/true)));
}

}  // namespace engram::kernels
