#pragma once

// The operations of the fast path that are no matrix products, each fused into one pass over its
// rows, with what the backward needs kept beside. On the CPU they are plain loops, one thread; on
// other devices the same formulas as ATen operations. All tensors float32, rows contiguous.

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "engram/model/config.h"

namespace engram::kernels {

/// a = activation(u) and d = its derivative, both [rows, width]; u and a may be the same tensor.
void activate(Activation activation, const at::Tensor& u, const at::Tensor& a, const at::Tensor& d);
/// a = activation(u), without the derivative.
void activate(Activation activation, const at::Tensor& u, const at::Tensor& a);

/// x = a * b, elementwise into a.
void multiply(const at::Tensor& a, const at::Tensor& b);

/// Layer norm over rows: normal = (y - mean) * rstd, out = normal * weight + bias.
/// y, normal, out [rows, width] (out may be y), rstd [rows].
void layer_norm(const at::Tensor& y, const at::Tensor& weight, const at::Tensor& bias,
                double epsilon, const at::Tensor& normal, const at::Tensor& rstd,
                const at::Tensor& out);

/// Gradient at y of what layer_norm gives: in [rows, width] is the gradient at out; `out` may be
/// in.
void layer_norm_backward(const at::Tensor& in, const at::Tensor& weight, const at::Tensor& normal,
                         const at::Tensor& rstd, const at::Tensor& out);

/// Which rows of each item moved away from the unperturbed prompt it belongs to, and which rows
/// ask.
///
/// Items 0..full-1 moved in all `tokens` rows, the `partial` ones after them in their target rows
/// only; the other rows of those are the prompt's own, from the base tensors. Moved rows stand
/// one item after the other: full*tokens rows, then partial*targets rows.
/// With `target_queries` only target rows ask: query rows are items*targets, one item after
/// another. Otherwise query rows are laid out like moved rows, and the outputs have items*tokens
/// rows.
struct AttentionLayout {
  int64_t full = 0;
  int64_t partial = 0;
  int64_t tokens = 0;
  int64_t targets = 0;  ///< target positions per item
  int64_t heads = 0;
  int64_t head_size = 0;
  bool target_queries = false;
  const int64_t* prompt = nullptr;    ///< [items], rows of the base tensors
  const int64_t* position = nullptr;  ///< [prompts, targets], ascending within a prompt

  [[nodiscard]] int64_t items() const { return full + partial; }
  [[nodiscard]] int64_t width() const { return heads * head_size; }
  [[nodiscard]] int64_t moved_rows() const { return full * tokens + partial * targets; }
  [[nodiscard]] int64_t out_rows() const { return items() * (target_queries ? targets : tokens); }
  [[nodiscard]] int64_t query_rows() const {
    return target_queries ? items() * targets : moved_rows();
  }
  [[nodiscard]] int64_t queries() const { return target_queries ? targets : tokens; }
};

/// mixed [out_rows, width] = softmax(q k / sqrt(head_size)) v per item and head.
/// q [query_rows, width], kv [moved_rows, 2*width] (keys, then values), base_q [prompts*tokens,
/// width], base_kv [prompts*tokens, 2*width], probabilities [items, heads, queries, tokens].
void attention(const AttentionLayout& layout, const at::Tensor& q, const at::Tensor& kv,
               const at::Tensor& base_q, const at::Tensor& base_kv, const at::Tensor& probabilities,
               const at::Tensor& mixed);

/// Gradients at q and kv (moved rows only) from that at mixed.
void attention_backward(const AttentionLayout& layout, const at::Tensor& q, const at::Tensor& kv,
                        const at::Tensor& base_q, const at::Tensor& base_kv,
                        const at::Tensor& probabilities, const at::Tensor& d_mixed,
                        const at::Tensor& d_q, const at::Tensor& d_kv);

/// What LM-head logits [rows, vocabulary] say of `answer` [rows]: log_p [rows] (double, CPU). With
/// `gradient`, the logits are replaced by factor * dlogP/dlogits, where factor is P itself when
/// `of_probability` (the gradient of P) and `scale` otherwise.
void answer_log_probability(const at::Tensor& logits, const int64_t* answer, double* log_p,
                            bool gradient, bool of_probability, double scale);

/// What LM-head logits say of one answer token.
struct TokenAnswer {
  double log_p = 0;     ///< NaN where a logit is not finite
  double log_odds = 0;  ///< its logit minus the logsumexp of all others: exact also where P is
                        ///< nearly 1; NaN likewise
  int64_t larger = 0;   ///< tokens with a larger logit
};
/// Reads the answers [rows] of logits [rows, vocabulary], vocabulary >= 2, into `found` [rows].
void read_answers(const at::Tensor& logits, const int64_t* answer, TokenAnswer* found);

/// Copies rows: out[i] = in[index[i]], i over `count`.
void gather_rows(const at::Tensor& in, const std::vector<int64_t>& index, const at::Tensor& out);
/// out[index[i]] += in[i].
void scatter_add_rows(const at::Tensor& in, const std::vector<int64_t>& index,
                      const at::Tensor& out);
/// out[index[i]] = in[i].
void scatter_rows(const at::Tensor& in, const std::vector<int64_t>& index, const at::Tensor& out);

/// y = x + bias, y [rows, width], bias [width].
void add_bias(const at::Tensor& x, const at::Tensor& bias, const at::Tensor& y);

namespace generic {
// The same operations out of ATen alone, for any device. Tested against the loops on the CPU.
void activate(Activation activation, const at::Tensor& u, const at::Tensor& a, const at::Tensor* d);
void layer_norm(const at::Tensor& y, const at::Tensor& weight, const at::Tensor& bias,
                double epsilon, const at::Tensor& normal, const at::Tensor& rstd,
                const at::Tensor& out);
void layer_norm_backward(const at::Tensor& in, const at::Tensor& weight, const at::Tensor& normal,
                         const at::Tensor& rstd, const at::Tensor& out);
void attention(const AttentionLayout& layout, const at::Tensor& q, const at::Tensor& kv,
               const at::Tensor& base_q, const at::Tensor& base_kv, const at::Tensor& probabilities,
               const at::Tensor& mixed);
void attention_backward(const AttentionLayout& layout, const at::Tensor& q, const at::Tensor& kv,
                        const at::Tensor& base_q, const at::Tensor& base_kv,
                        const at::Tensor& probabilities, const at::Tensor& d_mixed,
                        const at::Tensor& d_q, const at::Tensor& d_kv);
void read_answers(const at::Tensor& logits, const int64_t* answer, TokenAnswer* found);
}  // namespace generic

}  // namespace engram::kernels
