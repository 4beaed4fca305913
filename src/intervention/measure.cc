#include "engram/intervention/measure.h"

#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <deque>
#include <string>
#include <unordered_set>

#include "engram/base/interrupt.h"
#include "engram/error.h"
#include "engram/model/product.h"
#include "intervention/batch.h"
#include "model/parallel.h"
#include "passes/chunk.h"
#include "passes/passes.h"

namespace engram {
namespace {

constexpr int64_t kSharedTokens = 256;  // of one unchanged batch: small tasks keep all workers busy
constexpr int64_t kTrialTokens = 1024;  // of one batch of trials: products stay in the cache
constexpr int64_t kTrialRows = 96;      // bounds the logits
constexpr double kTaskTokens = 4 * kTrialTokens;  // of the trials of one unchanged batch, about
constexpr size_t kManyTrials = 256;               // that are worth a preparation of the model

/// Changes of some rows of activations, applied in place.
class RowChanges {
 public:
  void add(int64_t row, const NeuronChange& change) {
    row_.push_back(row);
    neuron_.push_back(change.id.neuron);
    factor_.push_back(change.factor);
    summand_.push_back(change.summand);
  }
  /// `a` [rows, d_ff] float32.
  void apply(const at::Tensor& a) {
    if (row_.empty()) return;
    if (a.device().is_cpu()) {
      auto* data = a.mutable_data_ptr<float>();
      for (size_t i = 0; i < row_.size(); ++i) {
        float& value = data[row_[i] * a.size(1) + neuron_[i]];
        value = summand_[i] + factor_[i] * value;
      }
      return;
    }
    const auto tensor = [&](auto& values, at::ScalarType type) {
      return at::from_blob(values.data(), {static_cast<int64_t>(values.size())}, type)
          .to(a.device());
    };
    const c10::List<std::optional<at::Tensor>> place(
        {tensor(row_, at::kLong), tensor(neuron_, at::kLong)});
    at::Tensor changed = a;
    changed.index_put_(place, at::addcmul(tensor(summand_, at::kFloat), a.index(place),
                                          tensor(factor_, at::kFloat)));
  }

 private:
  std::vector<int64_t> row_, neuron_;
  std::vector<float> factor_, summand_;
};

/// Trials of one batch of prompts, sorted by the layer at which they join.
struct Row {
  size_t trial = 0;
  int64_t prompt = 0;  ///< row of the unchanged batch
  int64_t first = 0;   ///< lowest changed layer
};

/// The trials of one batch, on one worker's buffers.
class TrialRunner {
 public:
  TrialRunner(const Model& model, const Base& base, std::span<const std::vector<NeuronChange>> sets,
              std::span<const Trial> trials)
      : model_(model), base_(base), sets_(sets), trials_(trials) {}

  std::vector<Answered> run(Passes& passes, std::span<const Row> rows) const {
    Items items;
    for (const Row& row : rows) {
      items.prompt.push_back(row.prompt);
      items.layer.push_back(row.first);
    }
    items.sum = joining_sums(rows);
    Edits edits;
    edits.activations = [&](int64_t layer, const std::vector<int64_t>& place,
                            const at::Tensor& activations) {
      change(rows.first(place.size() / static_cast<size_t>(targets())), layer, place, activations);
    };
    at::Tensor top = passes.run_to_head(base_, items, Reach::kExact, edits);
    const Chunk& chunk = base_.chunk;
    if (!chunk.asked_row.empty()) {
      top = top.index_select(
          0, at::tensor(chunk.asked_rows(items.prompt), at::kLong).to(model_.device()));
    }
    std::vector<std::vector<int64_t>> answer(1);
    for (const Row& row : rows) {
      const auto begin = chunk.answer.begin() + row.prompt * chunk.asked;
      answer.front().insert(answer.front().end(), begin, begin + chunk.asked);
    }
    return joint_answers(passes.answers(top, answer).front(), chunk.asked,
                         model_.config().vocabulary);
  }

 private:
  [[nodiscard]] int64_t targets() const { return base_.chunk.targets; }

  /// Changes the targets of `rows`, which stand at `place` of `activations`.
  void change(std::span<const Row> rows, int64_t layer, const std::vector<int64_t>& place,
              const at::Tensor& activations) const {
    RowChanges changes;
    for (size_t i = 0; i < rows.size(); ++i) {
      for (const NeuronChange& one : sets_[trials_[rows[i].trial].set]) {
        if (one.id.layer != layer) continue;
        for (int64_t k = 0; k < targets(); ++k) {
          if (!base_.chunk.has_neurons(rows[i].prompt, k)) continue;
          changes.add(place[i * static_cast<size_t>(targets()) + static_cast<size_t>(k)], one);
        }
      }
    }
    changes.apply(activations);
  }

  /// The FFN sums with which the rows join at their lowest changed layers, [rows*k, d_model].
  [[nodiscard]] at::Tensor joining_sums(std::span<const Row> rows) const {
    const int64_t k = targets();
    at::Tensor sums = at::empty({static_cast<int64_t>(rows.size()) * k, model_.config().d_model},
                                base_.layers.front().a.options());
    for (size_t begin = 0; begin < rows.size();) {
      const int64_t layer = rows[begin].first;
      size_t end = begin;
      std::vector<int64_t> from;
      std::vector<int64_t> place;
      for (; end < rows.size() && rows[end].first == layer; ++end) {
        for (int64_t j = 0; j < k; ++j) {
          place.push_back(static_cast<int64_t>(from.size()));
          from.push_back(rows[end].prompt * k + j);
        }
      }
      const Base::Layer& at_layer = base_.layers[static_cast<size_t>(layer)];
      const at::Tensor index = at::tensor(from, at::kLong).to(model_.device());
      const at::Tensor activations = at_layer.a.index_select(0, index);
      change(rows.subspan(begin, end - begin), layer, place, activations);
      const at::Tensor own =
          sums.narrow(0, static_cast<int64_t>(begin) * k, static_cast<int64_t>(from.size()));
      at::index_select_out(const_cast<at::Tensor&>(own), at_layer.resting, 0, index);
      matrix_product(
          activations,
          model_.columns(model_.weights().layers[static_cast<size_t>(layer)].ffn_out_weight), own,
          true);
      begin = end;
    }
    return sums;
  }

  const Model& model_;
  const Base& base_;
  std::span<const std::vector<NeuronChange>> sets_;
  std::span<const Trial> trials_;
};

/// Lowest changed layer of each set, `layers` for an empty one. Checks the sets.
std::vector<int64_t> first_layers(const ModelConfig& config,
                                  std::span<const std::vector<NeuronChange>> sets) {
  std::vector<int64_t> first;
  first.reserve(sets.size());
  std::unordered_set<NeuronId> seen;
  for (const std::vector<NeuronChange>& set : sets) {
    seen.clear();
    int64_t lowest = config.layers;
    for (const NeuronChange& change : set) {
      const NeuronId id = change.id;
      const std::string name =
          "neuron " + std::to_string(id.layer) + ":" + std::to_string(id.neuron);
      if (id.layer < 0 || id.layer >= config.layers || id.neuron < 0 || id.neuron >= config.d_ff) {
        throw InputError(name + " does not exist: the model has layers 0.." +
                         std::to_string(config.layers - 1) + " of neurons 0.." +
                         std::to_string(config.d_ff - 1));
      }
      if (!seen.insert(id).second) throw InputError(name + " is twice in a set");
      lowest = std::min<int64_t>(lowest, id.layer);
    }
    first.push_back(lowest);
  }
  return first;
}

/// How many tasks may run at once, and how many rows a batch of trials may have.
struct Limits {
  int workers = 1;
  int64_t rows = 1;
};
/// What limits them.
struct Budget {
  int64_t memory;  ///< of all workers
  int64_t batch;   ///< that a batch of trials is cut by
  int threads;
  explicit Budget(const MeasureOptions& options)
      : memory(memory_budget(options.memory_bytes)),
        batch(options.batch_bytes > 0 ? options.batch_bytes : memory),
        threads(options.threads) {}
};
Limits limits_for(const Model& model, int64_t tokens, int64_t targets, Reach reach,
                  const Budget& budget) {
  const ModelConfig& c = model.config();
  const int64_t row_bytes = Passes::item_bytes(c, tokens, targets, -1, reach, false);
  const int64_t shared_rows = std::max<int64_t>(1, kSharedTokens / tokens);
  // The unchanged run keeps every layer's input, queries, keys and values.
  const int64_t shared =
      shared_rows * (Passes::item_bytes(c, tokens, targets, -1, Reach::kExact, false) +
                     static_cast<int64_t>(sizeof(float)) * tokens * 4 * c.d_model * c.layers);
  Limits limits;
  const int64_t moved = reach == Reach::kTargetsOnly ? targets : tokens;
  const int64_t wanted = std::clamp<int64_t>(kTrialTokens / moved, 1, kTrialRows);
  limits.rows = std::clamp<int64_t>((budget.batch - shared) / row_bytes, 1, wanted);
  const int64_t fitting = budget.memory / (shared + limits.rows * row_bytes);
  limits.workers = static_cast<int>(
      std::clamp<int64_t>(fitting, 1, model.device().is_cpu() ? worker_count(budget.threads) : 1));
  return limits;
}

/// Prompts whose trials share one unchanged run.
std::vector<std::vector<size_t>> cut_tasks(const ModelConfig& config, std::span<const Cloze> clozes,
                                           std::span<const std::vector<size_t>> trials_of) {
  std::vector<PromptSize> sizes = sizes_of(clozes, kSharedTokens);
  for (size_t i = 0; i < clozes.size(); ++i) {
    const bool few = Passes::moving(config, sizes[i].last, Reach::kExact) == Reach::kTargetsOnly;
    const double changed = static_cast<double>(few ? sizes[i].targets : sizes[i].tokens) *
                           static_cast<double>(trials_of[i].size());
    sizes[i].share = std::max(sizes[i].share, changed / kTaskTokens);
    sizes[i].work += changed;
  }
  return cut_chunks(sizes);
}

/// Workers that the longest prompt allows, even if all its rows move.
int workers_for(const Model& model, std::span<const Cloze> clozes, const Budget& budget) {
  size_t tokens = 1;
  size_t masks = 1;
  for (const Cloze& cloze : clozes) {
    tokens = std::max(tokens, cloze.ids.size());
    masks = std::max(masks, cloze.positions.size() + (cloze.neurons_at ? 1 : 0));
  }
  return limits_for(model, static_cast<int64_t>(tokens), static_cast<int64_t>(masks), Reach::kExact,
                    budget)
      .workers;
}

}  // namespace

Measured measure(const Model& model, std::span<const Cloze> clozes,
                 std::span<const std::vector<NeuronChange>> sets, std::span<const Trial> trials,
                 const MeasureOptions& options) {
  check_clozes(model.config(), clozes);
  const std::vector<int64_t> first = first_layers(model.config(), sets);
  std::vector<std::vector<size_t>> trials_of(clozes.size());
  for (size_t i = 0; i < trials.size(); ++i) {
    if (trials[i].cloze >= clozes.size() || trials[i].set >= sets.size()) {
      throw InternalError("measure: a trial names a prompt or a set that is not there");
    }
    trials_of[trials[i].cloze].push_back(i);
  }
  if (trials.size() >= kManyTrials) model.prepare_products();
  Measured measured;
  measured.before.resize(clozes.size());
  measured.after.resize(trials.size());
  const Budget budget(options);
  const int workers = workers_for(model, clozes, budget);
  const std::vector<std::vector<size_t>> tasks = cut_tasks(model.config(), clozes, trials_of);
  const int64_t layers = model.config().layers;
  std::deque<Passes> passes;
  for (int i = 0; i < workers; ++i) passes.emplace_back(model, Target::kLogProbability);

  run_tasks(tasks.size(), workers, 1, [&](size_t task, size_t worker) {
    const at::NoGradGuard no_grad;
    const std::vector<size_t>& index = tasks[task];
    const Chunk chunk = make_chunk(clozes, index);
    std::vector<Row> rows;
    for (size_t b = 0; b < index.size(); ++b) {
      for (const size_t trial : trials_of[index[b]]) {
        const int64_t layer = first[trials[trial].set];
        if (layer < layers) rows.push_back({trial, static_cast<int64_t>(b), layer});
      }
    }
    const Base base = passes[worker].run_base(chunk, Backward::kNone);
    const std::vector<Answered> before =
        joint_answers(base.answers, chunk.asked, model.config().vocabulary);
    for (size_t b = 0; b < index.size(); ++b) {
      measured.before[index[b]] = before[b];
      for (const size_t trial : trials_of[index[b]]) measured.after[trial] = before[b];
    }
    std::ranges::stable_sort(rows, {}, &Row::first);
    const TrialRunner runner(model, base, sets, trials);
    const Reach reach = Passes::moving(model.config(), chunk, Reach::kExact);
    const auto most =
        static_cast<size_t>(limits_for(model, chunk.longest(), chunk.targets, reach, budget).rows);
    for (size_t begin = 0; begin < rows.size(); begin += most) {
      Interrupt::check();
      const std::span<const Row> part =
          std::span(rows).subspan(begin, std::min(most, rows.size() - begin));
      const std::vector<Answered> after = runner.run(passes[worker], part);
      for (size_t i = 0; i < part.size(); ++i) measured.after[part[i].trial] = after[i];
    }
  });
  return measured;
}

}  // namespace engram
