#include <cmath>
#include <limits>

#include "engram/error.h"
#include "kernels.h"

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

/// Row numbers of the moved target rows of the partial items inside [partial * tokens].
at::Tensor partial_target_rows(const AttentionLayout& layout, const at::Device& device) {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < layout.partial; ++i) {
    const int64_t prompt = layout.prompt[layout.full + i];
    for (int64_t j = 0; j < layout.targets; ++j) {
      rows.push_back(i * layout.tokens + layout.position[prompt * layout.targets + j]);
    }
  }
  return at::tensor(rows, at::kLong).to(device);
}

/// Rows of all items, [items * tokens, width]: moved ones, and the prompt's own elsewhere.
at::Tensor all_rows(const AttentionLayout& layout, const at::Tensor& moved,
                    const at::Tensor& base) {
  const int64_t width = moved.size(1);
  at::Tensor full = moved.narrow(0, 0, layout.full * layout.tokens);
  if (layout.partial == 0) return full;
  const std::vector<int64_t> prompts(layout.prompt + layout.full, layout.prompt + layout.items());
  at::Tensor partial = base.view({-1, layout.tokens, width})
                           .index_select(0, at::tensor(prompts, at::kLong).to(moved.device()))
                           .reshape({layout.partial * layout.tokens, width});
  partial.index_copy_(
      0, partial_target_rows(layout, moved.device()),
      moved.narrow(0, layout.full * layout.tokens, layout.partial * layout.targets));
  return at::cat({full, partial});
}

/// [items * rows, width] -> [items, heads, rows, head_size]
at::Tensor heads(const AttentionLayout& layout, const at::Tensor& x, int64_t rows) {
  return x.reshape({layout.items(), rows, layout.heads, layout.head_size}).transpose(1, 2);
}
at::Tensor merge(const AttentionLayout& layout, const at::Tensor& x) {
  return x.transpose(1, 2).reshape({-1, layout.width()});
}

/// Of gradients at all rows [items * tokens, width], those at moved rows.
void keep_moved(const AttentionLayout& layout, const at::Tensor& all, const at::Tensor& moved) {
  const int64_t full = layout.full * layout.tokens;
  assign(moved.narrow(0, 0, full), all.narrow(0, 0, full));
  if (layout.partial == 0) return;
  const at::Tensor rest = all.narrow(0, full, layout.partial * layout.tokens);
  assign(moved.narrow(0, full, layout.partial * layout.targets),
         rest.index_select(0, partial_target_rows(layout, all.device())));
}

struct Operands {
  at::Tensor q, k, v;
};
Operands operands(const AttentionLayout& layout, const at::Tensor& q, const at::Tensor& kv,
                  const at::Tensor& base_q, const at::Tensor& base_kv) {
  const at::Tensor queries = layout.target_queries ? q : all_rows(layout, q, base_q);
  const at::Tensor keys_values = all_rows(layout, kv, base_kv);
  const int64_t width = layout.width();
  return {heads(layout, queries, layout.queries()),
          heads(layout, keys_values.narrow(1, 0, width), layout.tokens),
          heads(layout, keys_values.narrow(1, width, width), layout.tokens)};
}

}  // namespace

void activate(Activation activation, const at::Tensor& u, const at::Tensor& a,
              const at::Tensor* d) {
  const at::Tensor result = value(activation, u);
  if (d != nullptr) assign(*d, derivative(activation, u));
  assign(a, result);
}

void layer_norm(const at::Tensor& y, const at::Tensor& weight, const at::Tensor& bias,
                double epsilon, const at::Tensor& normal, const at::Tensor& rstd,
                const at::Tensor& out) {
  const at::Tensor centred = y - y.mean(1, /*keepdim=*/true);
  const at::Tensor scale = at::rsqrt(centred.square().mean(1, /*keepdim=*/true) + epsilon);
  assign(rstd, scale.squeeze(1));
  assign(normal, centred * scale);
  assign(out, normal * weight + bias);
}

void layer_norm_backward(const at::Tensor& in, const at::Tensor& weight, const at::Tensor& normal,
                         const at::Tensor& rstd, const at::Tensor& out) {
  const at::Tensor g = in * weight;
  const at::Tensor along = (g * normal).mean(1, /*keepdim=*/true);
  assign(out, rstd.unsqueeze(1) * (g - g.mean(1, /*keepdim=*/true) - normal * along));
}

void attention(const AttentionLayout& layout, const at::Tensor& q, const at::Tensor& kv,
               const at::Tensor& base_q, const at::Tensor& base_kv, const at::Tensor& probabilities,
               const at::Tensor& mixed) {
  const Operands o = operands(layout, q, kv, base_q, base_kv);
  const double scale = 1.0 / std::sqrt(static_cast<double>(layout.head_size));
  const at::Tensor p = at::softmax(at::matmul(o.q, o.k.transpose(2, 3)) * scale, 3);
  assign(probabilities, p);
  assign(mixed, merge(layout, at::matmul(p, o.v)));
}

void attention_backward(const AttentionLayout& layout, const at::Tensor& q, const at::Tensor& kv,
                        const at::Tensor& base_q, const at::Tensor& base_kv,
                        const at::Tensor& probabilities, const at::Tensor& d_mixed,
                        const at::Tensor& d_q, const at::Tensor& d_kv) {
  const Operands o = operands(layout, q, kv, base_q, base_kv);
  const double scale = 1.0 / std::sqrt(static_cast<double>(layout.head_size));
  const at::Tensor g = heads(layout, d_mixed, layout.queries());
  const at::Tensor& p = probabilities;
  const at::Tensor d_p = at::matmul(g, o.v.transpose(2, 3));
  const at::Tensor d_scores = p * (d_p - (p * d_p).sum(3, /*keepdim=*/true)) * scale;
  const at::Tensor d_queries = merge(layout, at::matmul(d_scores, o.k));
  if (layout.target_queries) {
    assign(d_q, d_queries);
  } else {
    keep_moved(layout, d_queries, d_q);
  }
  const at::Tensor d_keys = merge(layout, at::matmul(d_scores.transpose(2, 3), o.q));
  const at::Tensor d_values = merge(layout, at::matmul(p.transpose(2, 3), g));
  keep_moved(layout, at::cat({d_keys, d_values}, 1), d_kv);
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
