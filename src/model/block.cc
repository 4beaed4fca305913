#include "model/block.h"

#include <algorithm>

#include "engram/error.h"

namespace engram {
namespace {

/// `u` becomes the activation, `slope` what a backward multiplies by there.
void activate(Activation activation, const at::Tensor& u, Backward backward,
              const at::Tensor& slope) {
  switch (backward) {
    case Backward::kNone:
      return kernels::activate(activation, u, u);
    case Backward::kGradient:
      return kernels::activate(activation, u, u, slope);
    case Backward::kRelevance:
      return kernels::activate_ratio(activation, u, u, slope);
  }
}

NormTape run_norm(Workspace& space, const ModelConfig& config, const at::Tensor& y,
                  const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& out) {
  NormTape tape{space.take(y.size(0), y.size(1)), space.take(y.size(0), 1).view({-1})};
  kernels::norm(config.norm_kind, y, weight, bias, config.norm_epsilon, tape.normal, tape.rstd,
                out);
  return tape;
}

void undo_norm(const ModelConfig& config, const NormTape& tape, const at::Tensor& weight,
               const at::Tensor& gradient, Backward backward, const at::Tensor& out) {
  if (backward == Backward::kRelevance) {
    kernels::norm_backward_fixed(config.norm_kind, gradient, weight, tape.rstd, out);
  } else {
    kernels::norm_backward(config.norm_kind, gradient, weight, tape.normal, tape.rstd, out);
  }
}

}  // namespace

Block::Block(const Model& model, int64_t layer, Workspace& space)
    : model_(model),
      config_(model.config()),
      w_(model.weights().layers[static_cast<size_t>(layer)]),
      space_(space) {}

NormTape Block::normalise(const at::Tensor& y, const at::Tensor& weight, const at::Tensor& bias,
                          const at::Tensor& out) const {
  return run_norm(space_, config_, y, weight, bias, out);
}

void Block::norm_backward(const NormTape& tape, const at::Tensor& weight,
                          const at::Tensor& gradient, Backward backward,
                          const at::Tensor& out) const {
  undo_norm(config_, tape, weight, gradient, backward, out);
}

/// Norms each head of x [rows, heads * head_size], which may be columns of a wider tensor, in
/// place.
NormTape Block::normalise_heads(const at::Tensor& x, const at::Tensor& weight) const {
  const int64_t rows = x.size(0) * x.size(1) / weight.size(0);
  const at::Tensor heads = space_.take(rows, weight.size(0));
  const at::Tensor whole = heads.view({x.size(0), x.size(1)});
  at::Tensor target = whole;
  target.copy_(x);
  const NormTape tape = normalise(heads, weight, {}, heads);
  target = x;
  target.copy_(whole);
  return tape;
}

/// The gradient at what normalise_heads() was given of that at what it made, in place.
void Block::heads_backward(const NormTape& tape, const at::Tensor& weight,
                           const at::Tensor& gradient, Backward backward) const {
  const at::Tensor heads = space_.take(tape.normal.size(0), tape.normal.size(1));
  const at::Tensor whole = heads.view({gradient.size(0), gradient.size(1)});
  at::Tensor target = whole;
  target.copy_(gradient);
  norm_backward(tape, weight, heads, backward, heads);
  target = gradient;
  target.copy_(whole);
}

/// out = x weight^T + bias.
void Block::linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                   const at::Tensor& out) const {
  space_.product(x, model_.columns(weight), out, false);
  if (!bias.defined()) return;
  if (out.is_contiguous()) {
    kernels::add_bias(out, bias, out);
  } else {
    at::Tensor target = out;
    target.add_(bias);
  }
}

void Block::begin(BlockTape& tape, const kernels::AttentionLayout::Shape& shape) const {
  tape.layout = kernels::AttentionLayout(shape);
  const kernels::AttentionLayout& layout = tape.layout;
  const int64_t k = layout.targets();
  tape.targets.clear();
  tape.full_targets.clear();
  for (int64_t item = 0; item < layout.items(); ++item) {
    for (int64_t j = 0; j < k; ++j) {
      const int64_t row = layout.row(item) + layout.position(item, j);
      if (item < layout.full()) tape.full_targets.push_back(row);
      tape.targets.push_back(layout.target_queries() ? item * k + j : row);
    }
  }
  tape.moved_tokens.clear();
  tape.query_tokens.clear();
  if (config_.rotary_size == 0) return;
  for (int64_t item = 0; item < layout.items(); ++item) {
    const bool full = item < layout.full();
    for (int64_t j = 0; j < (full ? layout.tokens(item) : k); ++j) {
      tape.moved_tokens.push_back(full ? j : layout.position(item, j));
    }
    for (int64_t j = 0; layout.target_queries() && j < k; ++j) {
      tape.query_tokens.push_back(layout.position(item, j));
    }
  }
  if (!layout.target_queries()) tape.query_tokens = tape.moved_tokens;
}

/// Of moved rows, those that ask.
at::Tensor Block::asking_rows(const BlockTape& tape, const at::Tensor& moved) const {
  const kernels::AttentionLayout& layout = tape.layout;
  if (!layout.target_queries() || layout.full() == 0) return moved;
  const int64_t of_full = layout.full() * layout.targets();
  const int64_t of_partial = layout.partial() * layout.targets();
  at::Tensor asking = space_.take(layout.query_rows(), moved.size(1));
  kernels::gather_rows(moved, tape.full_targets, asking.narrow(0, 0, of_full));
  if (of_partial > 0) {
    asking.narrow(0, of_full, of_partial).copy_(moved.narrow(0, layout.full_rows(), of_partial));
  }
  return asking;
}

/// The layer's input at the output rows, plus `bias` where there is one: moved rows as they are,
/// resting rows of partial items from the base.
void Block::residual_rows(const BlockTape& tape, const at::Tensor& moved, const at::Tensor& asking,
                          const RestingRows* base, const at::Tensor& bias,
                          const at::Tensor& out) const {
  const kernels::AttentionLayout& layout = tape.layout;
  const auto copy = [&](const at::Tensor& from, const at::Tensor& to) {
    if (bias.defined()) {
      kernels::add_bias(from, bias, to);
    } else {
      at::Tensor target = to;
      target.copy_(from);
    }
  };
  if (layout.target_queries()) return copy(asking, out);
  const int64_t full_rows = layout.full_rows();
  if (layout.full() > 0) copy(moved.narrow(0, 0, full_rows), out.narrow(0, 0, full_rows));
  for (int64_t item = layout.full(); item < layout.items(); ++item) {
    const int64_t tokens = layout.tokens(item);
    copy(base->x.narrow(0, layout.base_row(item), tokens), out.narrow(0, layout.row(item), tokens));
  }
  if (layout.partial() == 0) return;
  const int64_t partial_rows = layout.partial() * layout.targets();
  const at::Tensor own = space_.take(partial_rows, moved.size(1));
  copy(moved.narrow(0, full_rows, partial_rows), own);
  const std::vector<int64_t> rows(tape.targets.begin() + layout.full() * layout.targets(),
                                  tape.targets.end());
  kernels::scatter_rows(own, rows, out);
}

Block::Attended Block::attend(BlockTape& tape, const at::Tensor& x, const RestingRows* base) const {
  const kernels::AttentionLayout& layout = tape.layout;
  const int64_t d = config_.d_model;
  const int64_t out_rows = layout.out_rows();
  const int64_t key_width = layout.key_width();
  at::Tensor read = x;
  if (pre()) {
    read = space_.take(x.size(0), d);
    tape.attention_norm = normalise(x, w_.attention_norm_weight, w_.attention_norm_bias, read);
  }

  // Keys and values of all moved rows; queries of those that ask.
  tape.kv = space_.take(layout.moved_rows(), 2 * key_width);
  const at::Tensor keys = tape.kv.narrow(1, 0, key_width);
  linear(read, w_.key_weight, w_.key_bias, keys);
  linear(read, w_.value_weight, w_.value_bias, tape.kv.narrow(1, key_width, key_width));
  const at::Tensor from = asking_rows(tape, x);  // the rows that ask, and their residual
  const at::Tensor asking = pre() ? asking_rows(tape, read) : from;
  tape.q = space_.take(layout.query_rows(), layout.width());
  linear(asking, w_.query_weight, w_.query_bias, tape.q);
  if (config_.query_key_norm) {
    tape.key_norm = normalise_heads(keys, w_.key_norm_weight);
    tape.query_norm = normalise_heads(tape.q, w_.query_norm_weight);
  }
  if (config_.rotary_size > 0) {
    const Rotary& rotary = model_.rotary();
    kernels::rotate(keys, layout.key_heads(), tape.moved_tokens, rotary, 1);
    kernels::rotate(tape.q, layout.heads(), tape.query_tokens, rotary, 1);
  }
  tape.probabilities = space_.take(layout.probabilities(), 1);
  const at::Tensor mixed = space_.take(out_rows, layout.width());
  kernels::attention(layout, tape.q, tape.kv, base == nullptr ? at::Tensor() : base->q,
                     base == nullptr ? at::Tensor() : base->kv, tape.probabilities, mixed);
  space_.count(kernels::attention_flops(layout));

  const at::Tensor y = space_.take(out_rows, d);
  at::Tensor unattended;
  if (config_.parallel_residual) {
    unattended = space_.take(out_rows, d);
    residual_rows(tape, x, from, base, {}, unattended);
    if (w_.attention_out_bias.defined()) {
      kernels::add_bias(unattended, w_.attention_out_bias, y);
    } else {
      at::Tensor target = y;
      target.copy_(unattended);
    }
  } else {
    residual_rows(tape, x, from, base, w_.attention_out_bias, y);
  }
  space_.product(mixed, model_.columns(w_.attention_out_weight), y, true);
  if (!pre()) {
    tape.attention_norm = normalise(y, w_.attention_norm_weight, w_.attention_norm_bias, y);
    return {y, y};
  }
  const at::Tensor input = space_.take(out_rows, d);
  tape.ffn_norm = normalise(config_.parallel_residual ? unattended : y, w_.ffn_norm_weight,
                            w_.ffn_norm_bias, input);
  return {y, input};
}

at::Tensor Block::neurons(BlockTape& tape, const at::Tensor& input, Backward backward) const {
  const int64_t rows = input.size(0);
  const bool taped = backward != Backward::kNone;
  const at::Tensor a = space_.take(rows, config_.d_ff);
  if (taped) tape.slope = space_.take(rows, config_.d_ff);
  if (!config_.gated_ffn) {
    linear(input, w_.ffn_in_weight, w_.ffn_in_bias, a);
    activate(config_.activation, a, backward, tape.slope);
    return a;
  }
  const at::Tensor gate = space_.take(rows, config_.d_ff);
  linear(input, w_.ffn_gate_weight, w_.ffn_gate_bias, gate);
  activate(config_.activation, gate, backward, tape.slope);
  linear(input, w_.ffn_in_weight, w_.ffn_in_bias, a);
  if (taped) {
    kernels::multiply(tape.slope, a);
    tape.gate = space_.take(rows, config_.d_ff);
    tape.gate.copy_(gate);
    if (backward == Backward::kRelevance) {
      tape.slope.mul_(0.5);
      tape.gate.mul_(0.5);
    }
  }
  kernels::multiply(a, gate);
  return a;
}

at::Tensor Block::rest(const at::Tensor& residual) const {
  at::Tensor sum = space_.take(residual.size(0), config_.d_model);
  if (w_.ffn_out_bias.defined()) {
    kernels::add_bias(residual, w_.ffn_out_bias, sum);
  } else {
    sum.copy_(residual);
  }
  return sum;
}

void Block::write(const at::Tensor& a, const at::Tensor& sum) const {
  space_.product(a, model_.columns(w_.ffn_out_weight), sum, true);
}

NormTape Block::leave(const at::Tensor& sum, const at::Tensor& out) const {
  if (!pre()) return normalise(sum, w_.ffn_norm_weight, w_.ffn_norm_bias, out);
  at::Tensor target = out;
  if (!out.is_same(sum)) target.copy_(sum);
  return {};
}

void Block::leave_backward(const NormTape& tape, const at::Tensor& gradient, Backward backward,
                           const at::Tensor& out) const {
  if (!pre()) return norm_backward(tape, w_.ffn_norm_weight, gradient, backward, out);
  at::Tensor target = out;
  if (!out.is_same(gradient)) target.copy_(gradient);
}

/// Adds a gradient at the residual's rows to that at the moved rows of the layer's input.
void Block::add_residual_gradient(const BlockTape& tape, const at::Tensor& gradient,
                                  const at::Tensor& d_x) const {
  const kernels::AttentionLayout& layout = tape.layout;
  const int64_t full_rows = layout.full_rows();
  const int64_t partial_rows = layout.partial() * layout.targets();
  const int64_t full_targets = layout.full() * layout.targets();
  if (layout.target_queries()) {
    if (layout.full() > 0) {
      kernels::scatter_add_rows(gradient.narrow(0, 0, full_targets), tape.full_targets, d_x);
    }
    if (partial_rows > 0) {
      d_x.narrow(0, full_rows, partial_rows).add_(gradient.narrow(0, full_targets, partial_rows));
    }
    return;
  }
  if (full_rows > 0) d_x.narrow(0, 0, full_rows).add_(gradient.narrow(0, 0, full_rows));
  if (partial_rows > 0) {
    const at::Tensor own = space_.take(partial_rows, gradient.size(1));
    const std::vector<int64_t> rows(tape.targets.begin() + full_targets, tape.targets.end());
    kernels::gather_rows(gradient, rows, own);
    d_x.narrow(0, full_rows, partial_rows).add_(own);
  }
}

at::Tensor Block::backward(const BlockTape& tape, const at::Tensor& gradient,
                           const RestingRows* base, Backward backward) const {
  const kernels::AttentionLayout& layout = tape.layout;
  const int64_t d = config_.d_model;
  const int64_t out_rows = layout.out_rows();
  const int64_t key_width = layout.key_width();

  // FFN: to what it reads, and from there to where attention left the stream.
  const at::Tensor inner = space_.take(out_rows, config_.d_ff);
  space_.product(gradient, w_.ffn_out_weight, inner, false);
  at::Tensor d_input = pre() ? space_.take(out_rows, d) : gradient;
  if (config_.gated_ffn) {
    const at::Tensor other = space_.take(out_rows, config_.d_ff);
    at::mul_out(const_cast<at::Tensor&>(other), inner, tape.gate);
    space_.product(other, w_.ffn_in_weight, d_input, !pre());
    kernels::multiply(inner, tape.slope);
    space_.product(inner, w_.ffn_gate_weight, d_input, true);
  } else {
    kernels::multiply(inner, tape.slope);
    space_.product(inner, w_.ffn_in_weight, d_input, !pre());
  }
  if (pre()) {
    norm_backward(tape.ffn_norm, w_.ffn_norm_weight, d_input, backward, d_input);
    if (!config_.parallel_residual) {
      at::Tensor target = gradient;
      target.add_(d_input);
    }
  } else {
    norm_backward(tape.attention_norm, w_.attention_norm_weight, gradient, backward, gradient);
  }

  const at::Tensor d_mixed = space_.take(out_rows, layout.width());
  space_.product(gradient, w_.attention_out_weight, d_mixed, false);
  at::Tensor d_q = space_.take(layout.query_rows(), layout.width());
  const at::Tensor d_kv = space_.take(layout.moved_rows(), 2 * key_width);
  at::Tensor d_k = d_kv.narrow(1, 0, key_width);
  kernels::attention_backward(layout, tape.q, tape.kv, base == nullptr ? at::Tensor() : base->q,
                              base == nullptr ? at::Tensor() : base->kv, tape.probabilities,
                              d_mixed, d_q, d_kv);
  space_.count(2 * kernels::attention_flops(layout));
  if (backward == Backward::kRelevance) {  // the pattern stands: only values pass it
    d_q.zero_();
    d_k.zero_();
  } else {
    if (config_.rotary_size > 0) {
      const Rotary& rotary = model_.rotary();
      kernels::rotate(d_k, layout.key_heads(), tape.moved_tokens, rotary, -1);
      kernels::rotate(d_q, layout.heads(), tape.query_tokens, rotary, -1);
    }
    if (config_.query_key_norm) {
      heads_backward(tape.key_norm, w_.key_norm_weight, d_k, backward);
      heads_backward(tape.query_norm, w_.query_norm_weight, d_q, backward);
    }
  }

  const at::Tensor d_x = space_.take(layout.moved_rows(), d);
  space_.product(d_k, w_.key_weight, d_x, false);
  space_.product(d_kv.narrow(1, key_width, key_width), w_.value_weight, d_x, true);
  if (!pre() && layout.target_queries()) {
    // Queries and residual stand in the same rows: one way back for both.
    space_.product(d_q, w_.query_weight, gradient, true);
    add_residual_gradient(tape, gradient, d_x);
    return d_x;
  }
  if (layout.target_queries()) {
    const at::Tensor d_asking = space_.take(layout.query_rows(), d);
    space_.product(d_q, w_.query_weight, d_asking, false);
    add_residual_gradient(tape, d_asking, d_x);
  } else {
    space_.product(d_q, w_.query_weight, d_x, true);
  }
  if (pre()) norm_backward(tape.attention_norm, w_.attention_norm_weight, d_x, backward, d_x);
  add_residual_gradient(tape, gradient, d_x);
  if (config_.parallel_residual) add_residual_gradient(tape, d_input, d_x);
  return d_x;
}

LmHead::LmHead(const Model& model, Workspace& space)
    : model_(model), config_(model.config()), w_(model.weights()), space_(space) {}

at::Tensor LmHead::read(const at::Tensor& rows, Backward backward, Tape& tape) const {
  at::Tensor x = rows;
  if (w_.final_norm_weight.defined()) {
    x = space_.take(rows.size(0), rows.size(1));
    tape.final_norm = run_norm(space_, config_, rows, w_.final_norm_weight, w_.final_norm_bias, x);
  }
  if (!w_.head_weight.defined()) return x;
  const int64_t width = w_.head_weight.size(0);
  const at::Tensor u = space_.take(x.size(0), width);
  if (backward != Backward::kNone) tape.slope = space_.take(x.size(0), width);
  space_.product(x, model_.columns(w_.head_weight), u, false);
  if (w_.head_bias.defined()) kernels::add_bias(u, w_.head_bias, u);
  activate(config_.head_activation, u, backward, tape.slope);
  tape.norm = run_norm(space_, config_, u, w_.head_norm_weight, w_.head_norm_bias, u);
  return u;
}

void LmHead::logits(const at::Tensor& read, const at::Tensor& out) const {
  space_.product(read, model_.columns(w_.decoder_weight), out, false);
  if (w_.decoder_bias.defined()) kernels::add_bias(out, w_.decoder_bias, out);
}

void LmHead::logits_backward(const at::Tensor& gradient, const at::Tensor& out) const {
  space_.product(gradient, w_.decoder_weight, out, false);
}

at::Tensor LmHead::read_backward(const Tape& tape, const at::Tensor& gradient,
                                 Backward backward) const {
  at::Tensor at_rows = gradient;
  if (w_.head_weight.defined()) {
    undo_norm(config_, tape.norm, w_.head_norm_weight, gradient, backward, gradient);
    kernels::multiply(gradient, tape.slope);
    at_rows = space_.take(gradient.size(0), w_.head_weight.size(1));
    space_.product(gradient, w_.head_weight, at_rows, false);
  }
  if (w_.final_norm_weight.defined()) {
    undo_norm(config_, tape.final_norm, w_.final_norm_weight, at_rows, backward, at_rows);
  }
  return at_rows;
}

}  // namespace engram
