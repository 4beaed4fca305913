#include "passes/passes.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engram/base/interrupt.h"
#include "engram/error.h"

namespace engram {
namespace {

constexpr int64_t kHeadRows = 128;  // rows of logits at a time

at::Tensor gathered(const at::Tensor& rows, const std::vector<int64_t>& index) {
  at::Tensor out = at::empty({static_cast<int64_t>(index.size()), rows.size(1)}, rows.options());
  kernels::gather_rows(rows, index, out);
  return out;
}

}  // namespace

std::vector<int64_t> Base::target_rows() const {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < chunk.prompts; ++i) {
    for (int64_t j = 0; j < chunk.targets; ++j) {
      rows.push_back(chunk.begin[static_cast<size_t>(i)] +
                     chunk.position[static_cast<size_t>(i * chunk.targets + j)]);
    }
  }
  return rows;
}

/// Items that join the pass at one layer, taken to the layer above.
struct Passes::Joining {
  NormTape leave;
  int64_t items = 0;
  int64_t rows = 0;
};

/// One pass of many items, and the buffers that it leaves.
struct Passes::Run {
  const Base* base = nullptr;  ///< null while the base itself is made
  Base* making = nullptr;
  const std::vector<bool>* every = nullptr;  ///< as run_base(), null: nowhere
  const Chunk* chunk = nullptr;
  Reach reach = Reach::kExact;
  Backward backward = Backward::kNone;
  std::vector<int64_t> prompt;   ///< of the items, in order
  std::vector<BlockTape> tape;   ///< [layers]
  std::vector<NormTape> leave;   ///< [layers], of the items that began below
  std::vector<Joining> joining;  ///< [layers], of items
  const Edits* edits = nullptr;  ///< null: none

  [[nodiscard]] const RestingRows* resting(int64_t layer) const {
    return base == nullptr ? nullptr : &base->layers[static_cast<size_t>(layer)].rows;
  }
};

Passes::Passes(const Model& model, Target target)
    : model_(model),
      config_(model.config()),
      target_(target),
      space_(model.device()),
      head_(model, space_) {}

Reach Passes::moving(const ModelConfig& config, const Chunk& chunk, Reach reach) {
  return moving(config, chunk.targets_last(), reach);
}

Reach Passes::moving(const ModelConfig& config, bool targets_last, Reach reach) {
  const bool tail = reach == Reach::kExact && config.causal() && targets_last;
  return tail ? Reach::kTargetsOnly : reach;
}

int64_t Passes::item_bytes(const ModelConfig& c, int64_t tokens, int64_t targets, int64_t layer,
                           Reach reach, bool gradient) {
  const int64_t rows = reach == Reach::kTargetsOnly ? targets : tokens;
  const int64_t gated = c.gated_ffn ? c.d_ff : 0;
  const int64_t kept = c.query_width() + 2 * c.key_width() + c.heads * tokens + 2 * c.d_model +
                       c.d_ff + gated + 2 + c.d_model +
                       (c.query_key_norm ? 2 * (c.query_width() + c.key_width()) : 0);
  const int64_t passing = 8 * c.d_model + 2 * (c.d_ff + gated);
  const int64_t above = c.layers - 1 - layer;
  const int64_t floats = rows * ((gradient ? above : 1) * kept + passing) + targets * 8 * c.d_model;
  return floats * static_cast<int64_t>(sizeof(float));
}

at::Tensor Passes::embed(const Chunk& chunk) const {
  std::vector<int64_t> tokens;
  for (int64_t i = 0; i < chunk.prompts; ++i) {
    for (int64_t j = 0; j < chunk.tokens(i); ++j) tokens.push_back(j);
  }
  const auto index = [&](const std::vector<int64_t>& of) {
    return at::tensor(of, at::kLong).to(model_.device());
  };
  return model_.embed_rows(index(chunk.ids), index(tokens)).contiguous();
}

/// Sets up the tape of a layer on `full` items with all rows, then `partial` with target rows.
void Passes::begin_layer(Run& run, int64_t layer, int64_t full, int64_t partial, bool all_ask) {
  kernels::AttentionLayout::Shape shape;
  shape.full = full;
  shape.partial = partial;
  shape.targets = run.chunk->targets;
  shape.heads = config_.heads;
  shape.key_heads = config_.key_head_count();
  shape.head_size = config_.head_size;
  shape.causal = config_.attention == AttentionKind::kCausal;
  shape.target_queries =
      !all_ask && (layer == config_.layers - 1 || run.reach == Reach::kTargetsOnly);
  shape.prompt = run.prompt.data();
  shape.position = run.chunk->position.data();
  shape.begin = run.chunk->begin.data();
  Block(model_, layer, space_).begin(run.tape[static_cast<size_t>(layer)], shape);
}

/// Layer `layer` on moved rows x: `full` items with all rows, then `partial` with target rows.
/// Returns the output rows, in a buffer with `extra_rows` more rows behind them.
at::Tensor Passes::forward_layer(Run& run, int64_t layer, const at::Tensor& x, int64_t full,
                                 int64_t partial, int64_t extra_rows) {
  begin_layer(run, layer, full, partial, false);
  BlockTape& tape = run.tape[static_cast<size_t>(layer)];
  const Block block(model_, layer, space_);
  const Block::Attended attended = block.attend(tape, x, run.resting(layer));
  const at::Tensor a = block.neurons(tape, attended.input, run.backward);
  if (run.edits != nullptr && run.edits->activations) {
    run.edits->activations(layer, tape.targets, a);
  }
  const at::Tensor sum = block.rest(attended.residual);
  if (run.making != nullptr) keep(run, layer, x, a, sum);
  block.write(a, sum);
  if (run.making != nullptr && run.every != nullptr && (*run.every)[static_cast<size_t>(layer)]) {
    Base::Layer& made = run.making->layers[static_cast<size_t>(layer)];
    made.every_a = a.clone();
    made.every_sum = sum.clone();
  }
  if (run.edits != nullptr && run.edits->sums) run.edits->sums(layer, tape.layout, a, sum);
  const int64_t out_rows = sum.size(0);
  const at::Tensor result = space_.take(out_rows + extra_rows, config_.d_model);
  run.leave[static_cast<size_t>(layer)] = block.leave(sum, result.narrow(0, 0, out_rows));
  return result;
}

/// Keeps what perturbed runs need of the unperturbed one; `rest` is the sum before the neurons have
/// written.
void Passes::keep(Run& run, int64_t layer, const at::Tensor& x, const at::Tensor& a,
                  const at::Tensor& rest) {
  const auto l = static_cast<size_t>(layer);
  const BlockTape& tape = run.tape[l];
  Base::Layer& made = run.making->layers[l];
  made.rows = {x, tape.layout.target_queries() ? at::Tensor() : tape.q, tape.kv};
  made.a = gathered(a, tape.targets);
  made.resting = gathered(rest, tape.targets);
  made.fed = at::empty_like(made.resting);
  space_.product(made.a, model_.columns(model_.weights().layers[l].ffn_out_weight), made.fed,
                 false);
  if (run.chunk->neuron_row.empty()) return;
  for (int64_t prompt = 0; prompt < run.chunk->prompts; ++prompt) {
    for (int64_t j = 0; j < run.chunk->targets; ++j) {
      if (run.chunk->has_neurons(prompt, j)) continue;
      const int64_t row = prompt * run.chunk->targets + j;
      made.resting.select(0, row).add_(made.fed.select(0, row));
      made.fed.select(0, row).zero_();
      made.a.select(0, row).zero_();
    }
  }
}

std::vector<std::vector<kernels::TokenAnswer>> Passes::answers(
    const at::Tensor& rows, const std::vector<std::vector<int64_t>>& asked,
    std::vector<int64_t>* top) {
  const int64_t count = rows.size(0);
  std::vector<std::vector<kernels::TokenAnswer>> found(
      asked.size(), std::vector<kernels::TokenAnswer>(static_cast<size_t>(count)));
  if (top != nullptr) top->resize(static_cast<size_t>(count));
  const size_t mark = space_.mark();
  LmHead::Tape tape;
  const at::Tensor read = head_.read(rows, Backward::kNone, tape);
  const at::Tensor block = space_.take(std::min(count, kHeadRows), config_.vocabulary);
  for (int64_t begin = 0; begin < count; begin += kHeadRows) {
    const int64_t size = std::min(kHeadRows, count - begin);
    const at::Tensor logits = block.narrow(0, 0, size);
    head_.logits(read.narrow(0, begin, size), logits);
    for (size_t i = 0; i < asked.size(); ++i) {
      kernels::read_answers(logits, asked[i].data() + begin, found[i].data() + begin);
    }
    if (top == nullptr) continue;
    const at::Tensor best = logits.argmax(1).to(at::kCPU);
    std::copy_n(best.const_data_ptr<int64_t>(), size, top->begin() + begin);
  }
  space_.release_to(mark);
  return found;
}

/// F of the items' target rows [items*targets, d_model] at the LM head; with `gradient`, dF/drows
/// into it, and with `answers` what the logits say.
std::vector<double> Passes::head(Run& run, const at::Tensor& rows, at::Tensor* gradient,
                                 std::vector<kernels::TokenAnswer>* answers) {
  if (run.chunk->asked_row.empty()) return head_at(run, rows, gradient, answers);
  const std::vector<int64_t> index = run.chunk->asked_rows(run.prompt);
  std::vector<double> f = head_at(run, gathered(rows, index), gradient, answers);
  if (gradient != nullptr) {
    const at::Tensor all = space_.take(rows.size(0), rows.size(1));
    all.zero_();
    all.index_copy_(0, at::tensor(index, at::kLong).to(rows.device()), *gradient);
    *gradient = all;
  }
  return f;
}

/// The same of the rows at which the answer is asked, [items*asked, d_model].
std::vector<double> Passes::head_at(Run& run, const at::Tensor& rows, at::Tensor* gradient,
                                    std::vector<kernels::TokenAnswer>* answers) {
  const ModelWeights& w = model_.weights();
  const Chunk& chunk = *run.chunk;
  const int64_t k = chunk.asked;
  const int64_t count = rows.size(0);
  const bool difference = target_ == Target::kLogitDifference;

  LmHead::Tape tape;
  const at::Tensor read = head_.read(rows, run.backward, tape);
  std::vector<int64_t> answer(static_cast<size_t>(count));
  std::vector<int64_t> contrast(difference ? answer.size() : 0);
  for (int64_t row = 0; row < count; ++row) {
    const auto from = static_cast<size_t>(run.prompt[static_cast<size_t>(row / k)] * k + row % k);
    answer[static_cast<size_t>(row)] = chunk.answer[from];
    if (difference) contrast[static_cast<size_t>(row)] = chunk.contrast[from];
  }

  if (gradient != nullptr) *gradient = space_.take(count, read.size(1));
  std::vector<double> log_p(static_cast<size_t>(count), 0.0);
  std::vector<double> value(static_cast<size_t>(count), 0.0);
  if (difference) {
    const auto ids = [&](const std::vector<int64_t>& of) {
      return at::tensor(of, at::kLong).to(read.device());
    };
    const at::Tensor direction = w.decoder_weight.index_select(0, ids(answer)) -
                                 w.decoder_weight.index_select(0, ids(contrast));
    at::Tensor f = (read.to(at::kDouble) * direction.to(at::kDouble)).sum(1);
    if (w.decoder_bias.defined()) {
      const at::Tensor offset = w.decoder_bias.index_select(0, ids(answer)) -
                                w.decoder_bias.index_select(0, ids(contrast));
      f = f + offset.to(at::kDouble);
    }
    f = f.to(at::kCPU).contiguous();
    std::copy_n(f.const_data_ptr<double>(), count, value.begin());
    if (gradient != nullptr) gradient->copy_(direction / static_cast<double>(k));
  }
  if (answers != nullptr) answers->resize(static_cast<size_t>(count));
  if (!difference || answers != nullptr) {
    const size_t mark = space_.mark();
    const at::Tensor block = space_.take(std::min(count, kHeadRows), config_.vocabulary);
    const bool of_probability = target_ == Target::kProbability && k == 1;
    for (int64_t begin = 0; begin < count; begin += kHeadRows) {
      const int64_t size = std::min(kHeadRows, count - begin);
      const at::Tensor logits = block.narrow(0, 0, size);
      head_.logits(read.narrow(0, begin, size), logits);
      if (answers != nullptr) {
        kernels::read_answers(logits, answer.data() + begin, answers->data() + begin);
      }
      if (difference) continue;
      const bool with_gradient = gradient != nullptr;
      kernels::answer_log_probability(logits, answer.data() + begin, log_p.data() + begin,
                                      with_gradient, of_probability, 1.0 / static_cast<double>(k));
      if (with_gradient) head_.logits_backward(logits, gradient->narrow(0, begin, size));
    }
    space_.release_to(mark);
  }
  if (gradient != nullptr) *gradient = head_.read_backward(tape, *gradient, run.backward);

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

Base Passes::run_base(const Chunk& chunk, Backward backward, const std::vector<bool>& every) {
  space_.release_to(0);
  Base base;
  base.chunk = chunk;
  base.layers.resize(static_cast<size_t>(config_.layers));
  Run run;
  run.making = &base;
  run.every = every.empty() ? nullptr : &every;
  run.chunk = &base.chunk;
  run.backward = backward;
  run.tape.resize(base.layers.size());
  run.leave.resize(base.layers.size());
  const bool gradient = backward != Backward::kNone;
  for (int64_t i = 0; i < chunk.prompts; ++i) run.prompt.push_back(i);

  at::Tensor x = embed(chunk);
  for (int64_t layer = 0; layer < config_.layers; ++layer) {
    x = forward_layer(run, layer, x, chunk.prompts, 0, 0);
  }
  base.final_rows = x.clone();
  at::Tensor at_rows;
  base.f = head(run, x, gradient ? &at_rows : nullptr, &base.answers);
  for (int64_t i = 0; i < chunk.prompts; ++i) {
    // F itself where that is P or the mean log P.
    const double f = base.f[static_cast<size_t>(i)];
    if (target_ != Target::kLogitDifference) {
      base.p.push_back(target_ == Target::kProbability && chunk.asked == 1 ? f : std::exp(f));
      continue;
    }
    base.p.push_back(std::exp(base.answers[static_cast<size_t>(i * chunk.asked)].log_p));
  }
  if (gradient) {
    for (int64_t layer = config_.layers - 1; layer >= 0; --layer) {
      const auto l = static_cast<size_t>(layer);
      const Block block(model_, layer, space_);
      block.leave_backward(run.leave[l], at_rows, backward, at_rows);
      base.layers[l].gradient = gathered(at_rows, run.tape[l].targets);
      if (layer > 0) at_rows = block.backward(run.tape[l], at_rows, nullptr, backward);
    }
  }
  // The workspace is used again by the passes to come; what they need of the base is kept apart.
  for (Base::Layer& layer : base.layers) {
    layer.rows.x = layer.rows.x.clone();
    if (layer.rows.q.defined()) layer.rows.q = layer.rows.q.clone();
    layer.rows.kv = layer.rows.kv.clone();
  }
  return base;
}

std::vector<at::Tensor> Passes::cheap_gradient_at_one(const Base& base) {
  space_.release_to(0);
  Run run;
  run.base = &base;
  run.chunk = &base.chunk;
  run.reach = Reach::kTargetsOnly;
  run.backward = Backward::kGradient;
  run.tape.resize(base.layers.size());
  run.leave.resize(base.layers.size());
  for (int64_t i = 0; i < base.chunk.prompts; ++i) run.prompt.push_back(i);
  at::Tensor x = gathered(base.layers.front().rows.x, base.target_rows());
  for (int64_t layer = 0; layer < config_.layers; ++layer) {
    x = forward_layer(run, layer, x, 0, base.chunk.prompts, 0);
  }
  at::Tensor gradient;
  head(run, x, &gradient, nullptr);
  std::vector<at::Tensor> result(base.layers.size());
  for (int64_t layer = config_.layers - 1; layer >= 0; --layer) {
    const auto l = static_cast<size_t>(layer);
    const Block block(model_, layer, space_);
    block.leave_backward(run.leave[l], gradient, run.backward, gradient);
    result[l] = gradient.clone();
    if (layer > 0)
      gradient = block.backward(run.tape[l], gradient, run.resting(layer), run.backward);
  }
  return result;
}

/// Runs items through the layers above their own; returns what the LM head reads, [items*k,
/// d_model]. Empties the workspace first.
at::Tensor Passes::climb(Run& run, const Items& items) {
  const Base& base = *run.base;
  const int64_t d = config_.d_model;
  const int64_t k = base.chunk.targets;
  space_.release_to(0);
  run.prompt = items.prompt;
  run.tape.resize(base.layers.size());
  run.leave.resize(base.layers.size());
  run.joining.resize(base.layers.size());
  const bool everywhere = run.reach == Reach::kEverywhere;
  int64_t begun = 0;
  int64_t all_rows = 0;  // of the items that have begun
  int64_t sum_rows = 0;  // of `items.sum` that have joined
  at::Tensor x;          // moved rows of all begun items, input of the layer above
  const size_t bottom = space_.mark();
  for (int64_t layer = items.layer.front(); layer < config_.layers; ++layer) {
    Interrupt::check();
    const auto l = static_cast<size_t>(layer);
    const bool top = layer == config_.layers - 1;
    Joining& join = run.joining[l];
    int64_t joining_tokens = 0;
    for (int64_t i = begun; i < items.size() && items.layer[static_cast<size_t>(i)] == layer; ++i) {
      joining_tokens += base.chunk.tokens(items.prompt[static_cast<size_t>(i)]);
      ++join.items;
    }
    join.rows = everywhere && !top ? joining_tokens : join.items * k;
    at::Tensor next;
    int64_t going_rows = 0;
    if (begun > 0) {
      // Of the begun items, those of the layer just below are the last and moved only in targets.
      const int64_t fresh = everywhere ? 0 : run.joining[l - 1].items;
      const int64_t full = run.reach == Reach::kTargetsOnly ? 0 : begun - fresh;
      next = forward_layer(run, layer, x, full, begun - full, join.rows);
      going_rows = top || run.reach == Reach::kTargetsOnly ? begun * k : all_rows;
    } else {
      next = space_.take(join.rows, d);
    }
    if (join.items > 0) {
      join.leave = Block(model_, layer, space_)
                       .leave(items.sum.narrow(0, sum_rows, join.rows),
                              next.narrow(0, going_rows, join.rows));
    }
    begun += join.items;
    all_rows += joining_tokens;
    sum_rows += join.rows;
    x = next;
    if (run.backward == Backward::kNone) {
      // Nothing but the rows that go on is needed again: two ends of the workspace take turns.
      const at::Tensor kept = x.clone();
      space_.release_to(bottom);
      x = space_.take(kept.size(0), d);
      x.copy_(kept);
    }
  }
  return x;
}

at::Tensor Passes::run_to_head(const Base& base, const Items& items, Reach reach,
                               const Edits& edits) {
  Run run;
  run.base = &base;
  run.chunk = &base.chunk;
  run.reach = moving(config_, base.chunk, reach);
  run.edits = &edits;
  return climb(run, items);
}

Outcome Passes::run(const Base& base, const Items& items, Reach reach, bool gradient) {
  Outcome outcome;
  if (items.size() == 0) return outcome;
  if (gradient && reach == Reach::kEverywhere) {
    throw InternalError("Passes::run: gradients are those at the targets");
  }
  const int64_t k = base.chunk.targets;
  Run run;
  run.base = &base;
  run.chunk = &base.chunk;
  run.reach = moving(config_, base.chunk, reach);
  run.backward = gradient ? Backward::kGradient : Backward::kNone;
  const at::Tensor x = climb(run, items);
  at::Tensor g;
  outcome.f = head(run, x, gradient ? &g : nullptr, nullptr);
  if (!gradient) return outcome;
  outcome.gradient = at::empty({items.size() * k, config_.d_model}, x.options());
  int64_t begun = items.size();
  for (int64_t layer = config_.layers - 1; layer >= items.layer.front(); --layer) {
    Interrupt::check();
    const auto l = static_cast<size_t>(layer);
    const Block block(model_, layer, space_);
    const Joining& join = run.joining[l];
    begun -= join.items;
    const int64_t going_rows = g.size(0) - join.rows;
    if (join.rows > 0) {
      block.leave_backward(join.leave, g.narrow(0, going_rows, join.rows), run.backward,
                           outcome.gradient.narrow(0, begun * k, join.rows));
    }
    if (begun == 0) break;
    const at::Tensor going = g.narrow(0, 0, going_rows);
    block.leave_backward(run.leave[l], going, run.backward, going);
    g = block.backward(run.tape[l], going, run.resting(layer), run.backward);
  }
  return outcome;
}

void Passes::read_activations(const Chunk& chunk, int64_t last,
                              const std::function<void(int64_t, const at::Tensor&)>& use) {
  read_layers(chunk, last,
              [&](int64_t layer, const at::Tensor&, const at::Tensor& a) { use(layer, a); });
}

void Passes::read_layers(
    const Chunk& chunk, int64_t last,
    const std::function<void(int64_t, const at::Tensor&, const at::Tensor&)>& use) {
  Run run;
  run.chunk = &chunk;
  run.tape.resize(static_cast<size_t>(config_.layers));
  for (int64_t i = 0; i < chunk.prompts; ++i) run.prompt.push_back(i);
  at::Tensor x = embed(chunk);
  for (int64_t layer = 0; layer <= last; ++layer) {
    Interrupt::check();
    space_.release_to(0);
    begin_layer(run, layer, chunk.prompts, 0, true);
    BlockTape& tape = run.tape[static_cast<size_t>(layer)];
    const Block block(model_, layer, space_);
    const Block::Attended attended = block.attend(tape, x, nullptr);
    const at::Tensor a = block.neurons(tape, attended.input, Backward::kNone);
    use(layer, attended.input, a);
    if (layer == last) break;
    const at::Tensor sum = block.rest(attended.residual);
    block.write(a, sum);
    block.leave(sum, sum);
    x = sum.clone();
  }
}

}  // namespace engram
