#include "passes.h"

#include <algorithm>
#include <cmath>

#include "engram/base/interrupt.h"
#include "engram/error.h"
#include "engram/model/product.h"

namespace engram {
namespace {

constexpr size_t kBlockFloats = 16 << 20;  // 64 MiB
constexpr int64_t kHeadRows = 128;         // rows of logits at a time

/// u becomes the activation, `slope` what a backward multiplies by there.
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

}  // namespace

at::Tensor Arena::take(int64_t rows, int64_t width) {
  const auto floats = static_cast<size_t>(rows * width);
  const size_t padded = (floats + 15) / 16 * 16;  // rows of every buffer start on a cache line
  for (;;) {
    for (const Block& block : blocks_) {
      if (used_ < block.begin) used_ = block.begin;
      if (used_ + padded <= block.begin + block.size) {
        const auto offset = static_cast<int64_t>(used_ - block.begin);
        used_ += padded;
        return block.storage.narrow(0, offset, static_cast<int64_t>(floats)).view({rows, width});
      }
    }
    Block block;
    block.begin = blocks_.empty() ? 0 : blocks_.back().begin + blocks_.back().size;
    block.size = std::max(kBlockFloats, padded);
    block.storage = at::empty({static_cast<int64_t>(block.size)},
                              at::TensorOptions().dtype(at::kFloat).device(device_));
    blocks_.push_back(std::move(block));
  }
}

/// What the backward of one layer needs of its forward.
struct Passes::LayerTape {
  kernels::AttentionLayout layout;
  std::vector<int64_t> targets;       ///< target rows of all items among the rows of the output
  std::vector<int64_t> full_targets;  ///< target rows of the full items among the moved rows
  at::Tensor q, kv, probabilities;
  at::Tensor attention_normal, attention_rstd;
  at::Tensor slope;  ///< derivative of the activation [out_rows, d_ff]
  at::Tensor ffn_normal, ffn_rstd;
};

/// The LM head up to its decoder.
struct Passes::HeadTape {
  at::Tensor u;             ///< what the decoder sees [rows, d_model]
  at::Tensor slope;         ///< derivative of the activation
  at::Tensor normal, rstd;  ///< of the layer norm
};

/// Items that join the pass at one layer, taken through its FFN layer norm.
struct Passes::Joining {
  at::Tensor normal, rstd;
  int64_t items = 0;
};

/// One pass of many items, and the buffers that it leaves.
struct Passes::Run {
  const Base* base = nullptr;  ///< null while the base itself is made
  Base* making = nullptr;
  const Chunk* chunk = nullptr;
  Reach reach = Reach::kExact;
  Backward backward = Backward::kNone;
  std::vector<int64_t> prompt;           ///< of the items, in order
  std::vector<LayerTape> tape;           ///< [layers]
  std::vector<Joining> joining;          ///< [layers], of items
  const ActivationEdit* edit = nullptr;  ///< null: none
};

Passes::Passes(const Model& model, Target target)
    : model_(model), config_(model.config()), target_(target), arena_(model.device()) {}

void Passes::product(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out, bool add) {
  if (a.size(0) == 0) return;
  flops_ += 2.0 * static_cast<double>(a.size(0)) * static_cast<double>(a.size(1)) *
            static_cast<double>(b.size(1));
  matrix_product(a, b, out, add);
}

void Passes::count_attention(const kernels::AttentionLayout& layout, double times) {
  // A probability of one head takes a product of head_size numbers before it and one after it.
  flops_ += times * 4.0 * static_cast<double>(layout.probabilities() * layout.head_size());
}

int64_t Passes::item_bytes(const ModelConfig& c, int64_t tokens, int64_t targets, int64_t layer,
                           Reach reach, bool gradient) {
  const int64_t rows = reach == Reach::kExact ? tokens : targets;
  const int64_t kept = 3 * c.d_model + c.heads * tokens + 2 * c.d_model + c.d_ff + 2 + c.d_model;
  const int64_t passing = 8 * c.d_model + 2 * c.d_ff;
  const int64_t above = c.layers - 1 - layer;
  const int64_t floats = rows * ((gradient ? above : 1) * kept + passing) + targets * 8 * c.d_model;
  return floats * static_cast<int64_t>(sizeof(float));
}

/// Layer `layer` on moved rows x: `full` items with all rows, then `partial` with target rows.
/// Returns the output rows, in a buffer with `extra_rows` more rows behind them.
at::Tensor Passes::forward_layer(Run& run, int64_t layer, const at::Tensor& x, int64_t full,
                                 int64_t partial, int64_t extra_rows) {
  const LayerWeights& w = model_.weights().layers[static_cast<size_t>(layer)];
  const int64_t d = config_.d_model;
  const bool top = layer == config_.layers - 1;
  LayerTape& tape = run.tape[static_cast<size_t>(layer)];
  const int64_t k = run.chunk->targets;
  tape.layout = kernels::AttentionLayout(
      {full, partial, k, config_.heads, config_.head_size,
       /*target_queries=*/top || run.reach == Reach::kTargetsOnly, run.prompt.data(),
       run.chunk->position.data(), run.chunk->begin.data()});
  const kernels::AttentionLayout& layout = tape.layout;
  const int64_t full_rows = layout.full_rows();
  const int64_t out_rows = layout.out_rows();

  const Base::Layer* base =
      run.base == nullptr ? nullptr : &run.base->layers[static_cast<size_t>(layer)];
  tape.targets.clear();
  tape.full_targets.clear();
  for (int64_t item = 0; item < layout.items(); ++item) {
    for (int64_t j = 0; j < k; ++j) {
      const int64_t row = layout.row(item) + layout.position(item, j);
      if (item < full) tape.full_targets.push_back(row);
      tape.targets.push_back(layout.target_queries() ? item * k + j : row);
    }
  }

  // Keys and values of all moved rows; queries of those that ask.
  tape.kv = arena_.take(layout.moved_rows(), 2 * d);
  for (int64_t part = 0; part < 2; ++part) {
    const at::Tensor columns = tape.kv.narrow(1, part * d, d);
    product(x, model_.columns(part == 0 ? w.key_weight : w.value_weight), columns, false);
    at::Tensor target = columns;
    target.add_(part == 0 ? w.key_bias : w.value_bias);
  }
  at::Tensor asking = x;  // rows that ask, and their residual
  const int64_t partial_rows = partial * k;
  if (layout.target_queries() && full > 0) {
    asking = arena_.take(layout.query_rows(), d);
    kernels::gather_rows(x, tape.full_targets, asking.narrow(0, 0, full * k));
    if (partial_rows > 0) {
      asking.narrow(0, full * k, partial_rows).copy_(x.narrow(0, full_rows, partial_rows));
    }
  }
  tape.q = arena_.take(layout.query_rows(), d);
  product(asking, model_.columns(w.query_weight), tape.q, false);
  kernels::add_bias(tape.q, w.query_bias, tape.q);

  tape.probabilities = arena_.take(layout.probabilities(), 1);
  const at::Tensor mixed = arena_.take(out_rows, d);
  kernels::attention(layout, tape.q, tape.kv, base == nullptr ? at::Tensor() : base->q,
                     base == nullptr ? at::Tensor() : base->kv, tape.probabilities, mixed);
  count_attention(layout, 1);

  // Attention's residual sum: moved rows as they are, resting rows of partial items from the base.
  const at::Tensor y = arena_.take(out_rows, d);
  if (layout.target_queries()) {
    kernels::add_bias(asking, w.attention_out_bias, y);
  } else {
    if (full > 0) {
      kernels::add_bias(x.narrow(0, 0, full_rows), w.attention_out_bias, y.narrow(0, 0, full_rows));
    }
    for (int64_t item = full; item < layout.items(); ++item) {
      const int64_t tokens = layout.tokens(item);
      kernels::add_bias(base->x.narrow(0, layout.base_row(item), tokens), w.attention_out_bias,
                        y.narrow(0, layout.row(item), tokens));
    }
    if (partial > 0) {
      const at::Tensor own = arena_.take(partial_rows, d);
      kernels::add_bias(x.narrow(0, full_rows, partial_rows), w.attention_out_bias, own);
      const std::vector<int64_t> rows(tape.targets.begin() + full * k, tape.targets.end());
      kernels::scatter_rows(own, rows, y);
    }
  }
  product(mixed, model_.columns(w.attention_out_weight), y, true);
  tape.attention_normal = arena_.take(out_rows, d);
  tape.attention_rstd = arena_.take(out_rows, 1);
  const at::Tensor h = y;
  kernels::layer_norm(y, w.attention_norm_weight, w.attention_norm_bias, config_.norm_epsilon,
                      tape.attention_normal, tape.attention_rstd.view({-1}), h);

  // FFN.
  const at::Tensor u = arena_.take(out_rows, config_.d_ff);
  product(h, model_.columns(w.ffn_in_weight), u, false);
  kernels::add_bias(u, w.ffn_in_bias, u);
  if (run.backward != Backward::kNone) tape.slope = arena_.take(out_rows, config_.d_ff);
  activate(config_.activation, u, run.backward, tape.slope);
  if (run.edit != nullptr) (*run.edit)(layer, tape.targets, u);
  const at::Tensor sum = arena_.take(out_rows, d);
  kernels::add_bias(h, w.ffn_out_bias, sum);
  if (run.making != nullptr) {
    Base::Layer& made = run.making->layers[static_cast<size_t>(layer)];
    const auto rows = static_cast<int64_t>(tape.targets.size());
    made.x = x;
    made.q = layout.target_queries() ? at::Tensor() : tape.q;
    made.kv = tape.kv;
    const auto options = u.options();
    made.a = at::empty({rows, config_.d_ff}, options);
    made.resting = at::empty({rows, d}, options);
    made.fed = at::empty({rows, d}, options);
    kernels::gather_rows(u, tape.targets, made.a);
    kernels::gather_rows(sum, tape.targets, made.resting);
    product(made.a, model_.columns(w.ffn_out_weight), made.fed, false);
  }
  product(u, model_.columns(w.ffn_out_weight), sum, true);
  tape.ffn_normal = arena_.take(out_rows, d);
  tape.ffn_rstd = arena_.take(out_rows, 1);
  const at::Tensor result = arena_.take(out_rows + extra_rows, d);
  kernels::layer_norm(sum, w.ffn_norm_weight, w.ffn_norm_bias, config_.norm_epsilon,
                      tape.ffn_normal, tape.ffn_rstd.view({-1}), result.narrow(0, 0, out_rows));
  return result;
}

/// Undoes a layer norm. `out` may be `gradient`.
void Passes::norm_backward(const Run& run, const at::Tensor& gradient, const at::Tensor& weight,
                           const at::Tensor& normal, const at::Tensor& rstd,
                           const at::Tensor& out) {
  if (run.backward == Backward::kRelevance) {
    kernels::centring_backward(gradient, weight, rstd, out);
  } else {
    kernels::layer_norm_backward(gradient, weight, normal, rstd, out);
  }
}

/// From the gradient at the output rows to that at the moved rows of the input. Overwrites it.
at::Tensor Passes::backward_layer(Run& run, int64_t layer, const at::Tensor& gradient) {
  const LayerWeights& w = model_.weights().layers[static_cast<size_t>(layer)];
  const int64_t d = config_.d_model;
  const LayerTape& tape = run.tape[static_cast<size_t>(layer)];
  const kernels::AttentionLayout& layout = tape.layout;
  const int64_t out_rows = layout.out_rows();
  const int64_t k = layout.targets();

  // `gradient` is already at the FFN sum (its layer norm is undone by the caller).
  const at::Tensor inner = arena_.take(out_rows, config_.d_ff);
  product(gradient, w.ffn_out_weight, inner, false);
  kernels::multiply(inner, tape.slope);
  product(inner, w.ffn_in_weight, gradient, true);
  norm_backward(run, gradient, w.attention_norm_weight, tape.attention_normal,
                tape.attention_rstd.view({-1}), gradient);

  const at::Tensor d_mixed = arena_.take(out_rows, d);
  product(gradient, w.attention_out_weight, d_mixed, false);
  const at::Tensor d_q = arena_.take(layout.query_rows(), d);
  const at::Tensor d_kv = arena_.take(layout.moved_rows(), 2 * d);
  const Base::Layer* base =
      run.base == nullptr ? nullptr : &run.base->layers[static_cast<size_t>(layer)];
  kernels::attention_backward(layout, tape.q, tape.kv, base == nullptr ? at::Tensor() : base->q,
                              base == nullptr ? at::Tensor() : base->kv, tape.probabilities,
                              d_mixed, d_q, d_kv);
  if (run.backward == Backward::kRelevance) {  // the pattern stands: only values pass it
    at::Tensor fixed = d_q;
    fixed.zero_();
    fixed = d_kv.narrow(1, 0, d);
    fixed.zero_();
  }
  count_attention(layout, 2);

  const at::Tensor d_x = arena_.take(layout.moved_rows(), d);
  product(d_kv.narrow(1, 0, d), w.key_weight, d_x, false);
  product(d_kv.narrow(1, d, d), w.value_weight, d_x, true);
  const int64_t full_rows = layout.full_rows();
  const int64_t partial_rows = layout.partial() * k;
  if (layout.target_queries()) {
    // Queries and residual stand at the target rows only, one item after another.
    product(d_q, w.query_weight, gradient, true);
    if (layout.full() > 0) {
      kernels::scatter_add_rows(gradient.narrow(0, 0, layout.full() * k), tape.full_targets, d_x);
    }
    if (partial_rows > 0) {
      d_x.narrow(0, full_rows, partial_rows)
          .add_(gradient.narrow(0, layout.full() * k, partial_rows));
    }
  } else {
    product(d_q, w.query_weight, d_x, true);
    if (full_rows > 0) d_x.narrow(0, 0, full_rows).add_(gradient.narrow(0, 0, full_rows));
    if (partial_rows > 0) {
      const at::Tensor own = arena_.take(partial_rows, d);
      const std::vector<int64_t> rows(tape.targets.begin() + layout.full() * k, tape.targets.end());
      kernels::gather_rows(gradient, rows, own);
      d_x.narrow(0, full_rows, partial_rows).add_(own);
    }
  }
  return d_x;
}

Passes::HeadTape Passes::transform(const at::Tensor& rows, bool relevance) {
  const ModelWeights& w = model_.weights();
  const int64_t count = rows.size(0);
  const int64_t d = config_.d_model;
  HeadTape tape;
  tape.u = arena_.take(count, d);
  tape.slope = arena_.take(count, d);
  tape.normal = arena_.take(count, d);
  tape.rstd = arena_.take(count, 1).view({-1});
  product(rows, model_.columns(w.head_weight), tape.u, false);
  kernels::add_bias(tape.u, w.head_bias, tape.u);
  activate(config_.head_activation, tape.u, relevance ? Backward::kRelevance : Backward::kGradient,
           tape.slope);
  kernels::layer_norm(tape.u, w.head_norm_weight, w.head_norm_bias, config_.norm_epsilon,
                      tape.normal, tape.rstd, tape.u);
  return tape;
}

std::vector<kernels::TokenAnswer> Passes::answers(const at::Tensor& rows,
                                                  const std::vector<int64_t>& answer) {
  const ModelWeights& w = model_.weights();
  const int64_t count = rows.size(0);
  std::vector<kernels::TokenAnswer> found(static_cast<size_t>(count));
  const size_t mark = arena_.mark();
  const at::Tensor u = transform(rows, false).u;
  const at::Tensor block = arena_.take(std::min(count, kHeadRows), config_.vocabulary);
  for (int64_t begin = 0; begin < count; begin += kHeadRows) {
    const int64_t size = std::min(kHeadRows, count - begin);
    const at::Tensor logits = block.narrow(0, 0, size);
    product(u.narrow(0, begin, size), model_.columns(w.decoder_weight), logits, false);
    kernels::add_bias(logits, w.decoder_bias, logits);
    kernels::read_answers(logits, answer.data() + begin, found.data() + begin);
  }
  arena_.release_to(mark);
  return found;
}

/// F of rows [items*k, d_model] at the LM head; with `gradient`, dF/drows into it, and with
/// `answers` what the logits say.
std::vector<double> Passes::head(Run& run, const at::Tensor& rows,
                                 const std::vector<int64_t>& prompt, at::Tensor* gradient,
                                 std::vector<kernels::TokenAnswer>* answers) {
  const ModelWeights& w = model_.weights();
  const Chunk& chunk = *run.chunk;
  const int64_t d = config_.d_model;
  const int64_t k = chunk.targets;
  const int64_t count = rows.size(0);
  const bool difference = target_ == Target::kLogitDifference;

  const auto [u, slope, normal, rstd] = transform(rows, run.backward == Backward::kRelevance);
  std::vector<int64_t> answer(static_cast<size_t>(count));
  std::vector<int64_t> contrast(difference ? answer.size() : 0);
  for (int64_t row = 0; row < count; ++row) {
    const auto from = static_cast<size_t>(prompt[static_cast<size_t>(row / k)] * k + row % k);
    answer[static_cast<size_t>(row)] = chunk.answer[from];
    if (difference) contrast[static_cast<size_t>(row)] = chunk.contrast[from];
  }

  if (gradient != nullptr) *gradient = arena_.take(count, d);
  std::vector<double> log_p(static_cast<size_t>(count), 0.0);
  std::vector<double> value(static_cast<size_t>(count), 0.0);
  if (difference) {
    const auto ids = [&](const std::vector<int64_t>& of) {
      return at::tensor(of, at::kLong).to(u.device());
    };
    const at::Tensor direction = w.decoder_weight.index_select(0, ids(answer)) -
                                 w.decoder_weight.index_select(0, ids(contrast));
    const at::Tensor offset =
        w.decoder_bias.index_select(0, ids(answer)) - w.decoder_bias.index_select(0, ids(contrast));
    const at::Tensor f =
        ((u.to(at::kDouble) * direction.to(at::kDouble)).sum(1) + offset.to(at::kDouble))
            .to(at::kCPU)
            .contiguous();
    std::copy_n(f.const_data_ptr<double>(), count, value.begin());
    if (gradient != nullptr) gradient->copy_(direction / static_cast<double>(k));
  }
  if (answers != nullptr) answers->resize(static_cast<size_t>(count));
  if (!difference || answers != nullptr) {
    const size_t mark = arena_.mark();
    const at::Tensor block = arena_.take(std::min(count, kHeadRows), config_.vocabulary);
    const bool of_probability = target_ == Target::kProbability && k == 1;
    for (int64_t begin = 0; begin < count; begin += kHeadRows) {
      const int64_t size = std::min(kHeadRows, count - begin);
      const at::Tensor logits = block.narrow(0, 0, size);
      product(u.narrow(0, begin, size), model_.columns(w.decoder_weight), logits, false);
      kernels::add_bias(logits, w.decoder_bias, logits);
      if (answers != nullptr) {
        kernels::read_answers(logits, answer.data() + begin, answers->data() + begin);
      }
      if (difference) continue;
      const bool with_gradient = gradient != nullptr;
      kernels::answer_log_probability(logits, answer.data() + begin, log_p.data() + begin,
                                      with_gradient, of_probability, 1.0 / static_cast<double>(k));
      if (with_gradient) {
        product(logits, w.decoder_weight, gradient->narrow(0, begin, size), false);
      }
    }
    arena_.release_to(mark);
  }
  if (gradient != nullptr) {
    norm_backward(run, *gradient, w.head_norm_weight, normal, rstd, *gradient);
    kernels::multiply(*gradient, slope);
    const at::Tensor at_rows = arena_.take(count, d);
    product(*gradient, w.head_weight, at_rows, false);
    *gradient = at_rows;
  }

  std::vector<double> f(static_cast<size_t>(count / k), 0.0);
  for (int64_t row = 0; row < count; ++row) {
    const auto item = static_cast<size_t>(row / k);
    const double share = 1.0 / static_cast<double>(k);
    f[item] += share * (difference ? value : log_p)[static_cast<size_t>(row)];
  }
  if (target_ == Target::kProbability && k == 1) {
    for (double& one : f) one = std::exp(one);
  }
  return f;
}

Base Passes::run_base(const Chunk& chunk, Backward backward) {
  arena_.release_to(0);
  const ModelWeights& w = model_.weights();
  const int64_t d = config_.d_model;
  Base base;
  base.chunk = chunk;
  base.layers.resize(static_cast<size_t>(config_.layers));
  Run run;
  run.making = &base;
  run.chunk = &base.chunk;
  run.backward = backward;
  run.tape.resize(base.layers.size());
  const bool gradient = backward != Backward::kNone;
  for (int64_t i = 0; i < chunk.prompts; ++i) run.prompt.push_back(i);

  std::vector<int64_t> positions;
  for (int64_t i = 0; i < chunk.prompts; ++i) {
    for (int64_t j = 0; j < chunk.tokens(i); ++j) positions.push_back(config_.first_position + j);
  }
  const auto index = [&](const std::vector<int64_t>& of) {
    return at::tensor(of, at::kLong).to(model_.device());
  };
  at::Tensor embedded = at::embedding(w.token_embedding, index(chunk.ids)) +
                        at::embedding(w.position_embedding, index(positions));
  if (w.type_embedding.defined()) embedded = embedded + w.type_embedding.select(0, 0);
  at::Tensor x = at::layer_norm(embedded, {d}, w.embedding_norm_weight, w.embedding_norm_bias,
                                config_.norm_epsilon);
  for (int64_t layer = 0; layer < config_.layers; ++layer) {
    x = forward_layer(run, layer, x, chunk.prompts, 0, 0);
  }
  at::Tensor at_rows;
  base.f = head(run, x, run.prompt, gradient ? &at_rows : nullptr, &base.answers);
  for (int64_t i = 0; i < chunk.prompts; ++i) {
    // F itself where that is P or the mean log P.
    const double f = base.f[static_cast<size_t>(i)];
    if (target_ != Target::kLogitDifference) {
      base.p.push_back(target_ == Target::kProbability && chunk.targets == 1 ? f : std::exp(f));
      continue;
    }
    base.p.push_back(std::exp(base.answers[static_cast<size_t>(i * chunk.targets)].log_p));
  }
  if (gradient) {
    for (int64_t layer = config_.layers - 1; layer >= 0; --layer) {
      const LayerWeights& l = w.layers[static_cast<size_t>(layer)];
      const LayerTape& tape = run.tape[static_cast<size_t>(layer)];
      norm_backward(run, at_rows, l.ffn_norm_weight, tape.ffn_normal, tape.ffn_rstd.view({-1}),
                    at_rows);
      at::Tensor& kept = base.layers[static_cast<size_t>(layer)].gradient;
      kept = at::empty({static_cast<int64_t>(tape.targets.size()), d}, at_rows.options());
      kernels::gather_rows(at_rows, tape.targets, kept);
      if (layer > 0) at_rows = backward_layer(run, layer, at_rows);
    }
  }
  // The arena is reused by the passes to come; what they need of the base is kept apart.
  for (Base::Layer& layer : base.layers) {
    layer.x = layer.x.clone();
    if (layer.q.defined()) layer.q = layer.q.clone();
    layer.kv = layer.kv.clone();
  }
  return base;
}

std::vector<at::Tensor> Passes::cheap_gradient_at_one(const Base& base) {
  arena_.release_to(0);
  const int64_t d = config_.d_model;
  Run run;
  run.base = &base;
  run.chunk = &base.chunk;
  run.reach = Reach::kTargetsOnly;
  run.backward = Backward::kGradient;
  run.tape.resize(base.layers.size());
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < base.chunk.prompts; ++i) {
    run.prompt.push_back(i);
    for (int64_t j = 0; j < base.chunk.targets; ++j) {
      rows.push_back(base.chunk.begin[static_cast<size_t>(i)] +
                     base.chunk.position[static_cast<size_t>(i * base.chunk.targets + j)]);
    }
  }
  at::Tensor x = arena_.take(static_cast<int64_t>(rows.size()), d);
  kernels::gather_rows(base.layers.front().x, rows, x);
  for (int64_t layer = 0; layer < config_.layers; ++layer) {
    x = forward_layer(run, layer, x, 0, base.chunk.prompts, 0);
  }
  at::Tensor gradient;
  head(run, x, run.prompt, &gradient, nullptr);
  std::vector<at::Tensor> result(base.layers.size());
  for (int64_t layer = config_.layers - 1; layer >= 0; --layer) {
    const LayerTape& tape = run.tape[static_cast<size_t>(layer)];
    norm_backward(run, gradient,
                  model_.weights().layers[static_cast<size_t>(layer)].ffn_norm_weight,
                  tape.ffn_normal, tape.ffn_rstd.view({-1}), gradient);
    result[static_cast<size_t>(layer)] = gradient.clone();
    if (layer > 0) gradient = backward_layer(run, layer, gradient);
  }
  return result;
}

/// Runs items through the layers above their own; returns what the LM head sees, [items*k,
/// d_model]. Empties the arena first.
at::Tensor Passes::climb(Run& run, const Items& items) {
  const Base& base = *run.base;
  const int64_t d = config_.d_model;
  const int64_t k = base.chunk.targets;
  arena_.release_to(0);
  run.prompt = items.prompt;
  run.tape.resize(base.layers.size());
  run.joining.resize(base.layers.size());
  const auto count_of = [&](int64_t layer) {
    const auto [low, high] = std::equal_range(items.layer.begin(), items.layer.end(), layer);
    return static_cast<int64_t>(high - low);
  };
  int64_t begun = 0;
  int64_t rows_begun = 0;  // all rows of those items
  at::Tensor x;            // moved rows of all begun items, input of the layer above
  const size_t bottom = arena_.mark();
  for (int64_t layer = items.layer.front(); layer < config_.layers; ++layer) {
    Interrupt::check();
    Joining& join = run.joining[static_cast<size_t>(layer)];
    join.items = count_of(layer);
    const bool top = layer == config_.layers - 1;
    const int64_t joining_rows = join.items * k;
    at::Tensor next;
    int64_t going_rows = 0;
    if (begun > 0) {
      // Of the begun items, those of the layer just below are the last and moved only in targets.
      const int64_t fresh = run.joining[static_cast<size_t>(layer - 1)].items;
      const int64_t full = run.reach == Reach::kTargetsOnly ? 0 : begun - fresh;
      next = forward_layer(run, layer, x, full, begun - full, joining_rows);
      going_rows = top || run.reach == Reach::kTargetsOnly ? begun * k : rows_begun;
    } else {
      next = arena_.take(joining_rows, d);
    }
    if (join.items > 0) {
      const LayerWeights& w = model_.weights().layers[static_cast<size_t>(layer)];
      join.normal = arena_.take(joining_rows, d);
      join.rstd = arena_.take(joining_rows, 1).view({-1});
      kernels::layer_norm(items.sum.narrow(0, begun * k, joining_rows), w.ffn_norm_weight,
                          w.ffn_norm_bias, config_.norm_epsilon, join.normal, join.rstd,
                          next.narrow(0, going_rows, joining_rows));
    }
    for (int64_t i = 0; i < join.items; ++i) {
      rows_begun += base.chunk.tokens(items.prompt[static_cast<size_t>(begun++)]);
    }
    x = next;
    if (run.backward == Backward::kNone) {
      // Nothing but the rows that go on is needed again: two ends of the arena take turns.
      const at::Tensor kept = x.clone();
      arena_.release_to(bottom);
      x = arena_.take(kept.size(0), d);
      x.copy_(kept);
    }
  }
  return x;
}

at::Tensor Passes::run_to_head(const Base& base, const Items& items, const ActivationEdit& edit) {
  Run run;
  run.base = &base;
  run.chunk = &base.chunk;
  run.edit = &edit;
  return climb(run, items);
}

Outcome Passes::run(const Base& base, const Items& items, Reach reach, bool gradient) {
  Outcome outcome;
  if (items.size() == 0) return outcome;
  const int64_t d = config_.d_model;
  const int64_t k = base.chunk.targets;
  Run run;
  run.base = &base;
  run.chunk = &base.chunk;
  run.reach = reach;
  run.backward = gradient ? Backward::kGradient : Backward::kNone;
  const at::Tensor x = climb(run, items);
  at::Tensor g;
  outcome.f = head(run, x, run.prompt, gradient ? &g : nullptr, nullptr);
  if (!gradient) return outcome;
  outcome.gradient = at::empty({items.size() * k, d}, x.options());
  int64_t begun = items.size();
  for (int64_t layer = config_.layers - 1; layer >= items.layer.front(); --layer) {
    Interrupt::check();
    const LayerWeights& w = model_.weights().layers[static_cast<size_t>(layer)];
    const Joining& join = run.joining[static_cast<size_t>(layer)];
    const int64_t joining_rows = join.items * k;
    begun -= join.items;
    const int64_t going_rows = g.size(0) - joining_rows;
    if (joining_rows > 0) {
      norm_backward(run, g.narrow(0, going_rows, joining_rows), w.ffn_norm_weight, join.normal,
                    join.rstd, outcome.gradient.narrow(0, begun * k, joining_rows));
    }
    if (begun == 0) break;
    const LayerTape& tape = run.tape[static_cast<size_t>(layer)];
    const at::Tensor going = g.narrow(0, 0, going_rows);
    norm_backward(run, going, w.ffn_norm_weight, tape.ffn_normal, tape.ffn_rstd.view({-1}), going);
    g = backward_layer(run, layer, going);
  }
  return outcome;
}

}  // namespace engram
