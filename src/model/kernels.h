#pragma once

// The operations of the fast path that are no matrix products, each fused into one pass over its
// rows, with what the backward needs kept beside. On the CPU they are plain loops, one thread; on
// other devices the same formulas as ATen operations. All tensors float32, rows contiguous.

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "engram/model/config.h"
#include "model/rotary.h"

namespace engram::kernels {

/// a = activation(u) and d = its derivative, both [rows, width]; u and a may be the same tensor.
void activate(Activation activation, const at::Tensor& u, const at::Tensor& a, const at::Tensor& d);
/// a = activation(u), without the derivative.
void activate(Activation activation, const at::Tensor& u, const at::Tensor& a);

/// x = a * b, elementwise into a.
void multiply(const at::Tensor& a, const at::Tensor& b);

/// A norm over rows: normal = (y - mean) * rstd, of an RMS norm y * rstd; out = normal * weight +
/// bias. y, normal, out [rows, width] (out may be y), rstd [rows]; an undefined bias is none.
void norm(NormKind kind, const at::Tensor& y, const at::Tensor& weight, const at::Tensor& bias,
          double epsilon, const at::Tensor& normal, const at::Tensor& rstd, const at::Tensor& out);

/// Gradient at y of what norm() gives: in [rows, width] is the gradient at out; `out` may be in.
void norm_backward(NormKind kind, const at::Tensor& in, const at::Tensor& weight,
                   const at::Tensor& normal, const at::Tensor& rstd, const at::Tensor& out);

/// a = activation(u) and d = a / u, at 0 the limit; both [rows, width], u and a may be the same
/// tensor, d another.
void activate_ratio(Activation activation, const at::Tensor& u, const at::Tensor& a,
                    const at::Tensor& d);
/// norm_backward() with the scale rstd held fixed: only the centring is undone.
void norm_backward_fixed(NormKind kind, const at::Tensor& in, const at::Tensor& weight,
                         const at::Tensor& rstd, const at::Tensor& out);

/// Which rows of each item moved away from the unperturbed prompt it belongs to, and which rows
/// ask.
///
/// Prompts may differ in length: prompt p has the rows begin[p] .. begin[p+1]-1 of the base
/// tensors. Items 0..full-1 moved in all rows, the `partial` ones after them in their target rows
/// only; the other rows of those are the prompt's own, from the base tensors. Moved rows stand one
/// item after the other: full_rows() rows, then partial*targets rows. With `target_queries` only
/// target rows ask: query rows are items*targets, one item after another. Otherwise query rows are
/// laid out like moved rows, and the outputs have the rows of all items. Queries are heads *
/// head_size wide, keys and values key_heads * head_size; a causal query sees no key behind it.
class AttentionLayout {
 public:
  struct Shape {
    int64_t full = 0;
    int64_t partial = 0;
    int64_t targets = 0;  ///< target positions per item
    int64_t heads = 0;
    int64_t key_heads = 0;
    int64_t head_size = 0;
    bool causal = false;
    bool target_queries = false;
    const int64_t* prompt = nullptr;    ///< [items], prompts of the base tensors
    const int64_t* position = nullptr;  ///< [prompts, targets], ascending within a prompt
    const int64_t* begin = nullptr;     ///< [prompts + 1] rows of the base tensors
  };
  AttentionLayout() = default;
  /// What `shape` points to must outlive the layout.
  explicit AttentionLayout(const Shape& shape);

  [[nodiscard]] int64_t full() const { return shape_.full; }
  [[nodiscard]] int64_t partial() const { return shape_.partial; }
  [[nodiscard]] int64_t targets() const { return shape_.targets; }
  [[nodiscard]] int64_t heads() const { return shape_.heads; }
  [[nodiscard]] int64_t head_size() const { return shape_.head_size; }
  [[nodiscard]] int64_t key_heads() const { return shape_.key_heads; }
  [[nodiscard]] int64_t key_width() const { return key_heads() * head_size(); }
  [[nodiscard]] bool causal() const { return shape_.causal; }
  /// How many of an item's keys, from the first on, a query of it sees.
  [[nodiscard]] int64_t seen(int64_t item, int64_t query) const {
    if (!causal()) return tokens(item);
    return 1 + (target_queries() ? position(item, query) : query);
  }
  [[nodiscard]] bool target_queries() const { return shape_.target_queries; }
  [[nodiscard]] int64_t items() const { return full() + partial(); }
  [[nodiscard]] int64_t width() const { return heads() * head_size(); }

  /// Of one item.
  [[nodiscard]] int64_t base_row(int64_t item) const { return shape_.begin[shape_.prompt[item]]; }
  [[nodiscard]] int64_t tokens(int64_t item) const {
    return shape_.begin[shape_.prompt[item] + 1] - base_row(item);
  }
  [[nodiscard]] int64_t queries(int64_t item) const {
    return target_queries() ? targets() : tokens(item);
  }
  [[nodiscard]] int64_t position(int64_t item, int64_t target) const {
    return shape_.position[shape_.prompt[item] * targets() + target];
  }
  /// First row of an item where all items have all rows.
  [[nodiscard]] int64_t row(int64_t item) const { return row_[static_cast<size_t>(item)]; }
  [[nodiscard]] int64_t moved_row(int64_t item) const {
    return item < full() ? row(item) : full_rows() + (item - full()) * targets();
  }
  [[nodiscard]] int64_t out_row(int64_t item) const {
    return target_queries() ? item * targets() : row(item);
  }
  /// Where an item's probabilities [heads, queries, tokens] begin.
  [[nodiscard]] int64_t probability(int64_t item) const {
    return probability_[static_cast<size_t>(item)];
  }

  /// Of all items.
  [[nodiscard]] int64_t longest() const { return longest_; }  ///< tokens
  [[nodiscard]] int64_t full_rows() const { return row(full()); }
  [[nodiscard]] int64_t moved_rows() const { return full_rows() + partial() * targets(); }
  [[nodiscard]] int64_t out_rows() const {
    return target_queries() ? items() * targets() : row(items());
  }
  [[nodiscard]] int64_t query_rows() const {
    return target_queries() ? items() * targets() : moved_rows();
  }
  [[nodiscard]] int64_t probabilities() const { return probability(items()); }

 private:
  Shape shape_;
  std::vector<int64_t> row_ = {0};          ///< [items + 1]
  std::vector<int64_t> probability_ = {0};  ///< [items + 1]
  int64_t longest_ = 0;
};

/// Operations of attention(): a probability of one head takes a product of head_size numbers before
/// it and one after it.
double attention_flops(const AttentionLayout& layout);

/// Turns the heads of x [rows, heads * head_size], which may be columns of a wider tensor, in place
/// by the angles of `tokens` [rows]: `direction` 1 as Rotary::turn(), -1 back.
void rotate(const at::Tensor& x, int64_t heads, const std::vector<int64_t>& tokens,
            const Rotary& rotary, int direction);

/// mixed [out_rows, width] = softmax(q k / sqrt(head_size)) v per item and head.
/// q [query_rows, width], kv [moved_rows, 2*key_width] (keys, then values), base_q [base rows,
/// width], base_kv [base rows, 2*key_width], probabilities [layout.probabilities()].
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
void norm(NormKind kind, const at::Tensor& y, const at::Tensor& weight, const at::Tensor& bias,
          double epsilon, const at::Tensor& normal, const at::Tensor& rstd, const at::Tensor& out);
void norm_backward(NormKind kind, const at::Tensor& in, const at::Tensor& weight,
                   const at::Tensor& normal, const at::Tensor& rstd, const at::Tensor& out);
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
