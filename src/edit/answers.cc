#include "edit/answers.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <deque>
#include <limits>
#include <map>
#include <string>
#include <tuple>
#include <unordered_set>

#include "engram/base/interrupt.h"
#include "engram/error.h"
#include "intervention/batch.h"
#include "model/parallel.h"
#include "passes/chunk.h"
#include "passes/passes.h"

namespace engram {
namespace {

constexpr int64_t kSharedTokens = 256;  // of one unedited chunk: small tasks keep all workers busy
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

/// A trial of one chunk of prompts.
struct Row {
  size_t trial = 0;
  int64_t prompt = 0;  ///< of the chunk
  int64_t first = 0;   ///< lowest edited layer; the number of layers without an edit
  uint32_t edit = 0;
};

/// The trials of one chunk, on one worker's buffers.
class EditRunner {
 public:
  EditRunner(const Model& model, const Base& base, std::span<const PlacedEdit> edits)
      : model_(model), base_(base), edits_(edits) {}

  /// What the LM head reads under the rows' edits, [rows*k, d_model]. REQUIRES: sorted by first
  /// layer, then by edit; each has an edit of something.
  at::Tensor run(Passes& passes, std::span<const Row> rows) const {
    Items items;
    std::vector<at::Tensor> sums;
    by_edit(rows, [&](uint32_t edit, size_t begin, size_t count) {
      const std::span<const Row> same = rows.subspan(begin, count);
      for (const Row& row : same) {
        items.prompt.push_back(row.prompt);
        items.layer.push_back(row.first);
      }
      sums.push_back(joining_sums(same, *edit_of(edit, same.front().first)));
    });
    items.sum = at::cat(sums);
    Edits edits;
    edits.sums = [&](int64_t layer, const kernels::AttentionLayout& layout, const at::Tensor& a,
                     const at::Tensor& sum) {
      const auto begun = static_cast<size_t>(layout.items());
      by_edit(rows.first(begun), [&](uint32_t number, size_t begin, size_t count) {
        const LayerEdit* edit = edit_of(number, layer);
        if (edit == nullptr) return;
        const auto place = [&](size_t item) {
          const auto i = static_cast<int64_t>(item);
          return item == begun ? layout.out_rows() : layout.out_row(i);
        };
        const int64_t from = place(begin);
        const int64_t size = place(begin + count) - from;
        add(*edit, a.narrow(0, from, size), sum.narrow(0, from, size));
      });
    };
    return passes.run_to_head(base_, items, Reach::kEverywhere, edits);
  }

 private:
  /// Calls `each(edit, begin, count)` for the runs of rows with the same edit.
  template <typename Each>
  static void by_edit(std::span<const Row> rows, const Each& each) {
    for (size_t begin = 0; begin < rows.size();) {
      size_t end = begin;
      while (end < rows.size() && rows[end].edit == rows[begin].edit) ++end;
      each(rows[begin].edit, begin, end - begin);
      begin = end;
    }
  }

  [[nodiscard]] const LayerEdit* edit_of(uint32_t edit, int64_t layer) const {
    const auto& layers = edits_[edit].layers;
    const auto found = layers.find(layer);
    return found == layers.end() ? nullptr : &found->second;
  }

  /// Adds what the edit makes the activations `a` [rows, d_ff] write to `sum` [rows, d_model].
  static void add(const LayerEdit& edit, const at::Tensor& a, at::Tensor sum) {
    if (edit.neurons.defined()) sum.addmm_(a.index_select(1, edit.neurons), edit.change);
    if (edit.constant.defined()) sum.add_(edit.constant);
  }

  /// The FFN sums with which rows of one edit join at its lowest layer: their activations there are
  /// the unedited ones.
  [[nodiscard]] at::Tensor joining_sums(std::span<const Row> rows, const LayerEdit& edit) const {
    const int64_t layer = rows.front().first;
    const Base::Layer& base = base_.layers[static_cast<size_t>(layer)];
    const Chunk& chunk = base_.chunk;
    const bool top = layer == model_.config().layers - 1;
    std::vector<int64_t> index;
    for (const Row& row : rows) {
      const int64_t begin =
          top ? row.prompt * chunk.targets : chunk.begin[static_cast<size_t>(row.prompt)];
      const int64_t count = top ? chunk.targets : chunk.tokens(row.prompt);
      for (int64_t j = 0; j < count; ++j) index.push_back(begin + j);
    }
    const at::Tensor at = at::tensor(index, at::kLong).to(model_.device());
    const at::Tensor sums = base.every_sum.index_select(0, at);
    LayerEdit constant = edit;
    if (edit.neurons.defined()) {
      // The few neurons first: the rows are many.
      const at::Tensor a = base.every_a.index_select(1, edit.neurons).index_select(0, at);
      at::Tensor changed = sums;
      changed.addmm_(a, edit.change);
      constant.neurons = at::Tensor();
    }
    add(constant, {}, sums);
    return sums;
  }

  const Model& model_;
  const Base& base_;
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
    const std::vector<std::vector<size_t>> tasks = cut_chunks(sizes_of(clozes_, kSharedTokens));
    const int workers = workers_for(model_, clozes_, options);
    std::deque<Passes> passes;
    for (int i = 0; i < workers; ++i) passes.emplace_back(model_, Target::kLogProbability);
    run_tasks(tasks.size(), workers, 1, [&](size_t task, size_t worker) {
      const at::NoGradGuard no_grad;
      run_chunk(passes[worker], tasks[task]);
    });
    return std::move(measured_);
  }

 private:
  std::vector<Row> rows_of(const std::vector<size_t>& index, std::vector<bool>& every) const {
    const int64_t layers = model_.config().layers;
    std::vector<Row> rows;
    for (size_t b = 0; b < index.size(); ++b) {
      for (const size_t trial : trials_of_[index[b]]) {
        const uint32_t edit = trials_[trial].edit;
        const int64_t first = edit == kNoIndex ? layers : edits_[edit].first(layers);
        rows.push_back({trial, static_cast<int64_t>(b), first, edit});
        if (first < layers) every[static_cast<size_t>(first)] = true;
      }
    }
    std::ranges::stable_sort(rows, {},
                             [](const Row& row) { return std::tuple(row.first, row.edit); });
    return rows;
  }

  void run_chunk(Passes& passes, const std::vector<size_t>& index) {
    std::vector<bool> every(static_cast<size_t>(model_.config().layers), false);
    const std::vector<Row> rows = rows_of(index, every);
    const Base base = passes.run_base(make_chunk(clozes_, index), Backward::kNone, every);
    std::vector<int64_t> top;
    const std::vector<Answered> before =
        joint(passes.answers(base.final_rows, {{base.chunk.answer}}, &top).front(), base);
    for (size_t b = 0; b < index.size(); ++b) {
      measured_.before[index[b]] = before[b];
      measured_.top[index[b]] = top[b * static_cast<size_t>(base.chunk.targets)];
      for (const size_t trial : trials_of_[index[b]]) measured_.after[trial] = before[b];
    }
    const EditRunner runner(model_, base, edits_);
    const auto most = static_cast<size_t>(
        std::clamp<int64_t>(kTrialTokens / base.chunk.longest(), 1, kTrialRows));
    for (size_t begin = 0; begin < rows.size();) {
      Interrupt::check();
      size_t end = begin;
      const bool edited = rows[begin].first < model_.config().layers;
      while (end < rows.size() && end - begin < most &&
             (rows[end].first < model_.config().layers) == edited) {
        ++end;
      }
      run_rows(passes, base, edited ? &runner : nullptr,
               std::span(rows).subspan(begin, end - begin));
      begin = end;
    }
  }

  /// `runner`: null for trials without an edit.
  void run_rows(Passes& passes, const Base& base, const EditRunner* runner,
                std::span<const Row> rows) {
    const std::vector<int64_t> others = others_of(rows, base.chunk.targets);
    std::vector<Answered> other_before;
    if (!others.empty()) {
      std::vector<int64_t> place;
      for (const Row& row : rows) {
        for (int64_t j = 0; j < base.chunk.targets; ++j) {
          place.push_back(row.prompt * base.chunk.targets + j);
        }
      }
      const at::Tensor at = at::tensor(place, at::kLong).to(model_.device());
      other_before =
          joint(passes.answers(base.final_rows.index_select(0, at), {{others}}).front(), base);
    }
    std::vector<Answered> other_after = other_before;
    if (runner != nullptr) {
      std::vector<std::vector<int64_t>> asked(1);
      for (const Row& row : rows) {
        const auto begin = base.chunk.answer.begin() + row.prompt * base.chunk.targets;
        asked.front().insert(asked.front().end(), begin, begin + base.chunk.targets);
      }
      if (!others.empty()) asked.push_back(others);
      const auto found = passes.answers(runner->run(passes, rows), asked);
      const std::vector<Answered> after = joint(found.front(), base);
      for (size_t i = 0; i < rows.size(); ++i) measured_.after[rows[i].trial] = after[i];
      if (!others.empty()) other_after = joint(found.back(), base);
    }
    for (size_t i = 0; i < rows.size(); ++i) {
      if (!asks_other(rows[i], base.chunk.targets)) continue;
      measured_.other_before[rows[i].trial] = other_before[i];
      measured_.other_after[rows[i].trial] = other_after[i];
    }
  }

  [[nodiscard]] std::vector<Answered> joint(std::span<const kernels::TokenAnswer> tokens,
                                            const Base& base) const {
    return joint_answers(tokens, base.chunk.targets, model_.config().vocabulary);
  }

  [[nodiscard]] bool asks_other(const Row& row, int64_t masks) const {
    const uint32_t other = trials_[row.trial].other;
    return other != kNoIndex && static_cast<int64_t>(others_[other].size()) == masks;
  }

  /// [rows*k] the other answers, 0 where there is none; empty when no row has one.
  [[nodiscard]] std::vector<int64_t> others_of(std::span<const Row> rows, int64_t masks) const {
    std::vector<int64_t> ids(rows.size() * static_cast<size_t>(masks), 0);
    bool any = false;
    for (size_t i = 0; i < rows.size(); ++i) {
      if (!asks_other(rows[i], masks)) continue;
      any = true;
      std::ranges::copy(others_[trials_[rows[i].trial].other],
                        ids.begin() + static_cast<std::ptrdiff_t>(i) * masks);
    }
    if (!any) ids.clear();
    return ids;
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
