#include "engram/evaluation/answers.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <tuple>
#include <unordered_set>

#include "engram/base/interrupt.h"
#include "engram/error.h"
#include "engram/model/product.h"
#include "intervention/batch.h"
#include "model/parallel.h"

namespace engram {
namespace {

constexpr int64_t kSharedTokens = 256;  // of one unedited batch: small tasks keep all workers busy
constexpr int64_t kTrialTokens = 1024;  // of one batch of trials: products stay in the cache
constexpr int64_t kTrialRows = 96;      // bounds the logits
constexpr size_t kManyTrials = 256;     // that are worth a preparation of the model

Answered not_asked() {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  return {kNan, kNan, 0, kNan};
}

/// What an edit does in one layer, on the model's device.
struct LayerEdit {
  at::Tensor neurons;   ///< [n] int64; undefined: none
  at::Tensor change;    ///< [n, d_model]
  at::Tensor constant;  ///< [d_model]; undefined: none
};

/// An edit by layer.
struct PlacedEdit {
  std::map<int64_t, LayerEdit> layers;
  /// The lowest edited layer; `none` for an edit of nothing.
  [[nodiscard]] int64_t first(int64_t none) const {
    return layers.empty() ? none : layers.begin()->first;
  }
};

void check_edit(const ModelConfig& config, const OutputEdit& edit) {
  std::unordered_set<NeuronId> seen;
  for (const NeuronId id : edit.neurons) {
    const std::string name = "neuron " + std::to_string(id.layer) + ":" + std::to_string(id.neuron);
    if (id.layer < 0 || id.layer >= config.layers || id.neuron < 0 || id.neuron >= config.d_ff) {
      throw InputError(name + " does not exist: the model has layers 0.." +
                       std::to_string(config.layers - 1) + " of neurons 0.." +
                       std::to_string(config.d_ff - 1));
    }
    if (!seen.insert(id).second) throw InputError(name + " is edited twice by one edit");
  }
  const std::vector<int64_t> shape = {static_cast<int64_t>(edit.neurons.size()), config.d_model};
  if (!edit.neurons.empty() &&
      (!edit.change.defined() || edit.change.sizes() != at::IntArrayRef(shape))) {
    throw InternalError("an edit's change must be [neurons, d_model]");
  }
  for (const auto& [layer, constant] : edit.constants) {
    if (layer < 0 || layer >= config.layers) {
      throw InputError("layer " + std::to_string(layer) + " does not exist: the model has " +
                       std::to_string(config.layers));
    }
    if (!constant.defined() || constant.sizes() != at::IntArrayRef({config.d_model})) {
      throw InternalError("an edit's constant must be [d_model]");
    }
  }
}

PlacedEdit place_edit(const Model& model, const OutputEdit& edit) {
  check_edit(model.config(), edit);
  std::map<int64_t, std::vector<int64_t>> rows;
  for (size_t i = 0; i < edit.neurons.size(); ++i) {
    rows[edit.neurons[i].layer].push_back(static_cast<int64_t>(i));
  }
  PlacedEdit placed;
  for (const auto& [layer, mine] : rows) {
    std::vector<int64_t> neurons;
    for (const int64_t row : mine) neurons.push_back(edit.neurons[static_cast<size_t>(row)].neuron);
    LayerEdit& here = placed.layers[layer];
    here.neurons = at::tensor(neurons, at::kLong).to(model.device());
    here.change = edit.change.index_select(0, at::tensor(mine, at::kLong)).to(model.device());
  }
  for (const auto& [layer, constant] : edit.constants) {
    placed.layers[layer].constant = constant.to(model.device());
  }
  return placed;
}

/// An FFN before its norm.
struct Fed {
  at::Tensor a;    ///< [prompts, rows, d_ff] activations
  at::Tensor sum;  ///< [prompts, rows, d_model] residual plus output
};

/// The two halves of Model::feed(), between which an edit adds its vectors.
Fed feed_sum(const Model& model, int64_t layer, const at::Tensor& x) {
  const LayerWeights& l = model.weights().layers[static_cast<size_t>(layer)];
  Fed fed;
  fed.a = apply_activation(model.config().activation,
                           affine(x, model.columns(l.ffn_in_weight), l.ffn_in_bias));
  fed.sum = x + affine(fed.a, model.columns(l.ffn_out_weight), l.ffn_out_bias);
  return fed;
}
at::Tensor feed_norm(const Model& model, int64_t layer, const at::Tensor& sum) {
  const LayerWeights& l = model.weights().layers[static_cast<size_t>(layer)];
  return at::layer_norm(sum, {sum.size(-1)}, l.ffn_norm_weight, l.ffn_norm_bias,
                        model.config().norm_epsilon);
}

/// The unedited run of a batch.
struct BaseRun {
  std::vector<Fed> layers;  ///< of the wanted layers, the others are empty
  at::Tensor logits;        ///< [prompts, k, vocabulary]
};

at::Tensor logits_of(const Model& model, const at::Tensor& final) {
  return model.logits(final.flatten(0, 1))
      .view({final.size(0), final.size(1), model.config().vocabulary});
}

BaseRun run_base(const Model& model, const ClozeBatch& batch, const std::vector<bool>& keep) {
  BaseRun run;
  run.layers.resize(keep.size());
  at::Tensor x = model.embed(batch.ids);
  for (size_t l = 0; l < keep.size(); ++l) {
    const auto layer = static_cast<int64_t>(l);
    const at::Tensor from = l + 1 == keep.size() ? rows_at(x, batch.positions) : x;
    Fed fed = feed_sum(model, layer, model.attend(layer, from, x));
    x = feed_norm(model, layer, fed.sum);
    if (keep[l]) run.layers[l] = std::move(fed);
  }
  run.logits = logits_of(model, x);
  return run;
}

/// A trial of one batch of prompts.
struct Row {
  size_t trial = 0;
  int64_t prompt = 0;  ///< row of the unedited batch
  int64_t first = 0;   ///< lowest edited layer; the number of layers without an edit
  uint32_t edit = 0;
};

class EditRunner {
 public:
  EditRunner(const Model& model, const ClozeBatch& batch, const BaseRun& base,
             std::span<const PlacedEdit> edits)
      : model_(model), batch_(batch), base_(base), edits_(edits) {}

  /// Logits [rows, k, vocabulary] under the rows' edits. REQUIRES: sorted by first layer, then by
  /// edit; each has an edit of something.
  at::Tensor run(std::span<const Row> rows, const at::Tensor& prompt) const {
    const int64_t layers = model_.config().layers;
    const at::Tensor positions = batch_.positions.index_select(0, prompt);
    at::Tensor x;  // [active, tokens, d_model], above the top layer [active, k, d_model]
    size_t active = 0;
    for (int64_t layer = rows.front().first; layer < layers; ++layer) {
      size_t joining = active;
      while (joining < rows.size() && rows[joining].first == layer) ++joining;
      std::vector<at::Tensor> moved;
      if (active > 0) {
        const at::Tensor from =
            layer == layers - 1 ? rows_at(x, positions.narrow(0, 0, x.size(0))) : x;
        Fed fed = feed_sum(model_, layer, model_.attend(layer, from, x));
        add_edits(rows.subspan(0, active), layer, fed);
        moved.push_back(feed_norm(model_, layer, fed.sum));
      }
      if (joining > active) {
        moved.push_back(join(rows.subspan(active, joining - active), layer,
                             prompt.narrow(0, static_cast<int64_t>(active),
                                           static_cast<int64_t>(joining - active))));
      }
      x = moved.size() == 1 ? moved.front() : at::cat(moved);
      active = joining;
    }
    return logits_of(model_, x);
  }

 private:
  /// Calls `each(edit, begin, count)` for the runs of rows with the same edit.
  template <typename Each>
  static void by_edit(std::span<const Row> rows, const Each& each) {
    for (size_t begin = 0; begin < rows.size();) {
      size_t end = begin;
      while (end < rows.size() && rows[end].edit == rows[begin].edit) ++end;
      each(rows[begin].edit, static_cast<int64_t>(begin), static_cast<int64_t>(end - begin));
      begin = end;
    }
  }

  [[nodiscard]] const LayerEdit* edit_of(uint32_t edit, int64_t layer) const {
    const auto& layers = edits_[edit].layers;
    const auto found = layers.find(layer);
    return found == layers.end() ? nullptr : &found->second;
  }

  static void add(const LayerEdit& edit, const at::Tensor& activations, at::Tensor sum) {
    if (edit.neurons.defined()) sum.add_(at::matmul(activations, edit.change));
    if (edit.constant.defined()) sum.add_(edit.constant);
  }

  /// For rows that were edited below already.
  void add_edits(std::span<const Row> rows, int64_t layer, Fed& fed) const {
    by_edit(rows, [&](uint32_t number, int64_t begin, int64_t count) {
      const LayerEdit* edit = edit_of(number, layer);
      if (edit == nullptr) return;
      at::Tensor a;
      if (edit->neurons.defined()) {
        a = fed.a.narrow(0, begin, count).index_select(2, edit->neurons);
      }
      add(*edit, a, fed.sum.narrow(0, begin, count));
    });
  }

  /// Output of the layer for rows that are first edited there: their activations are the unedited
  /// ones.
  at::Tensor join(std::span<const Row> rows, int64_t layer, const at::Tensor& prompt) const {
    const Fed& base = base_.layers[static_cast<size_t>(layer)];
    const at::Tensor sum = base.sum.index_select(0, prompt);
    by_edit(rows, [&](uint32_t number, int64_t begin, int64_t count) {
      const LayerEdit& edit = *edit_of(number, layer);
      at::Tensor a;
      if (edit.neurons.defined()) {
        a = base.a.index_select(2, edit.neurons).index_select(0, prompt.narrow(0, begin, count));
      }
      add(edit, a, sum.narrow(0, begin, count));
    });
    return feed_norm(model_, layer, sum);
  }

  const Model& model_;
  const ClozeBatch& batch_;
  const BaseRun& base_;
  std::span<const PlacedEdit> edits_;
};

/// Bytes that one worker holds for prompts of the given shape.
int64_t worker_bytes(const ModelConfig& c, int64_t tokens, int64_t masks) {
  const auto size = static_cast<int64_t>(sizeof(float));
  const int64_t shared = std::max(tokens, kSharedTokens);
  const int64_t prompts = std::max<int64_t>(1, kSharedTokens / tokens);
  const int64_t rows = std::clamp<int64_t>(kTrialTokens / tokens, 1, kTrialRows);
  return size * (shared * (c.d_ff + c.d_model) * c.layers +
                 rows * tokens * (2 * c.d_ff + 8 * c.d_model + tokens * c.heads) +
                 (prompts + 3 * rows) * masks * c.vocabulary);
}

int workers_for(const Model& model, std::span<const Cloze> clozes, const MeasureOptions& options) {
  if (!model.device().is_cpu()) return 1;
  int64_t bytes = 1;
  for (const Cloze& cloze : clozes) {
    bytes = std::max(bytes, worker_bytes(model.config(), static_cast<int64_t>(cloze.ids.size()),
                                         static_cast<int64_t>(cloze.positions.size())));
  }
  const int64_t fitting = memory_budget(options.memory_bytes) / bytes;
  return static_cast<int>(std::clamp<int64_t>(fitting, 1, worker_count(options.threads)));
}

/// measure_edits() after its checks.
class EditMeasurement {
 public:
  EditMeasurement(const Model& model, std::span<const Cloze> clozes,
                  std::span<const OutputEdit> edits, std::span<const std::vector<int64_t>> others,
                  std::span<const EditTrial> trials)
      : model_(model),
        clozes_(clozes),
        others_(others),
        trials_(trials),
        trials_of_(clozes.size()) {
    edits_.reserve(edits.size());
    for (const OutputEdit& edit : edits) edits_.push_back(place_edit(model, edit));
    for (size_t i = 0; i < trials.size(); ++i) {
      const EditTrial& trial = trials[i];
      if (trial.cloze >= clozes.size() || (trial.edit != kNoIndex && trial.edit >= edits.size()) ||
          (trial.other != kNoIndex && trial.other >= others.size())) {
        throw InternalError("measure_edits: a trial names what is not there");
      }
      trials_of_[trial.cloze].push_back(i);
    }
    measured_.before.resize(clozes.size());
    measured_.top.resize(clozes.size());
    for (auto* list : {&measured_.after, &measured_.other_before, &measured_.other_after}) {
      list->assign(trials.size(), not_asked());
    }
  }

  EditMeasured run(const MeasureOptions& options) {
    const std::vector<std::vector<size_t>> tasks =
        cut_equal_chunks(sizes_of(clozes_, kSharedTokens));
    run_tasks(tasks.size(), workers_for(model_, clozes_, options), [&](size_t task) {
      const c10::InferenceMode guard;
      run_batch(make_batch(model_, clozes_, tasks[task]));
    });
    return std::move(measured_);
  }

 private:
  std::vector<Row> rows_of(const ClozeBatch& batch, std::vector<bool>& keep) const {
    const int64_t layers = model_.config().layers;
    std::vector<Row> rows;
    for (size_t b = 0; b < batch.index.size(); ++b) {
      for (const size_t trial : trials_of_[batch.index[b]]) {
        const uint32_t edit = trials_[trial].edit;
        const int64_t first = edit == kNoIndex ? layers : edits_[edit].first(layers);
        rows.push_back({trial, static_cast<int64_t>(b), first, edit});
        if (first < layers) keep[static_cast<size_t>(first)] = true;
      }
    }
    std::ranges::stable_sort(rows, {},
                             [](const Row& row) { return std::tuple(row.first, row.edit); });
    return rows;
  }

  void run_batch(const ClozeBatch& batch) {
    std::vector<bool> keep(static_cast<size_t>(model_.config().layers), false);
    const std::vector<Row> rows = rows_of(batch, keep);
    const BaseRun base = run_base(model_, batch, keep);
    const std::vector<Answered> before = read_logits(base.logits, batch.answer);
    const at::Tensor top = base.logits.select(1, 0).argmax(1).to(at::kCPU);
    for (size_t b = 0; b < batch.index.size(); ++b) {
      measured_.before[batch.index[b]] = before[b];
      measured_.top[batch.index[b]] = top.const_data_ptr<int64_t>()[b];
    }
    const EditRunner runner(model_, batch, base, edits_);
    const auto most =
        static_cast<size_t>(std::clamp<int64_t>(kTrialTokens / batch.tokens(), 1, kTrialRows));
    for (size_t begin = 0; begin < rows.size();) {
      Interrupt::check();
      size_t end = begin;
      const bool edited = rows[begin].first < model_.config().layers;
      while (end < rows.size() && end - begin < most &&
             (rows[end].first < model_.config().layers) == edited) {
        ++end;
      }
      run_rows(batch, base, runner, std::span(rows).subspan(begin, end - begin), edited);
      begin = end;
    }
  }

  void run_rows(const ClozeBatch& batch, const BaseRun& base, const EditRunner& runner,
                std::span<const Row> rows, bool edited) {
    std::vector<int64_t> prompts;
    for (const Row& row : rows) prompts.push_back(row.prompt);
    const at::Tensor prompt = at::tensor(prompts, at::kLong).to(model_.device());
    const at::Tensor logits_before = base.logits.index_select(0, prompt);
    const at::Tensor logits = edited ? runner.run(rows, prompt) : logits_before;
    const std::vector<Answered> after = read_logits(logits, batch.answer.index_select(0, prompt));
    for (size_t i = 0; i < rows.size(); ++i) measured_.after[rows[i].trial] = after[i];
    const at::Tensor others = others_of(rows, batch.masks());
    if (!others.defined()) return;
    const std::vector<Answered> other_before = read_logits(logits_before, others);
    const std::vector<Answered> other_after = edited ? read_logits(logits, others) : other_before;
    for (size_t i = 0; i < rows.size(); ++i) {
      if (!asks_other(rows[i], batch.masks())) continue;
      measured_.other_before[rows[i].trial] = other_before[i];
      measured_.other_after[rows[i].trial] = other_after[i];
    }
  }

  [[nodiscard]] bool asks_other(const Row& row, int64_t masks) const {
    const uint32_t other = trials_[row.trial].other;
    return other != kNoIndex && static_cast<int64_t>(others_[other].size()) == masks;
  }

  /// [rows, k] the other answers, 0 where there is none; undefined when no row has one.
  [[nodiscard]] at::Tensor others_of(std::span<const Row> rows, int64_t masks) const {
    std::vector<int64_t> ids(rows.size() * static_cast<size_t>(masks), 0);
    bool any = false;
    for (size_t i = 0; i < rows.size(); ++i) {
      if (!asks_other(rows[i], masks)) continue;
      any = true;
      std::ranges::copy(others_[trials_[rows[i].trial].other],
                        ids.begin() + static_cast<std::ptrdiff_t>(i) * masks);
    }
    if (!any) return {};
    return at::tensor(ids, at::kLong)
        .view({static_cast<int64_t>(rows.size()), masks})
        .to(model_.device());
  }

  const Model& model_;
  std::span<const Cloze> clozes_;
  std::span<const std::vector<int64_t>> others_;
  std::span<const EditTrial> trials_;
  std::vector<PlacedEdit> edits_;
  std::vector<std::vector<size_t>> trials_of_;
  EditMeasured measured_;
};

}  // namespace

OutputEdit output_edit(const Model& model, const ValueEdit& edit) {
  const at::Tensor old = value_vectors(model, edit.neurons);
  if (!edit.values.defined() || edit.values.sizes() != old.sizes()) {
    throw InternalError("an edit's values must be [neurons, d_model]");
  }
  return {edit.neurons, edit.values - old, {}};
}

EditMeasured measure_edits(const Model& model, std::span<const Cloze> clozes,
                           std::span<const OutputEdit> edits,
                           std::span<const std::vector<int64_t>> others,
                           std::span<const EditTrial> trials, const MeasureOptions& options) {
  check_clozes(model.config(), clozes);
  for (const std::vector<int64_t>& answer : others) {
    for (const int64_t id : answer) {
      if (id >= 0 && id < model.config().vocabulary) continue;
      throw InputError("token id " + std::to_string(id) + " lies outside the vocabulary of " +
                       std::to_string(model.config().vocabulary));
    }
  }
  if (trials.size() >= kManyTrials) model.prepare_products();
  return EditMeasurement(model, clozes, edits, others, trials).run(options);
}

}  // namespace engram
