#include "engram/intervention/measure.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <unordered_set>

#include "engram/base/interrupt.h"
#include "engram/error.h"
#include "intervention/batch.h"
#include "model/parallel.h"

namespace engram {
namespace {

constexpr int64_t kSharedTokens = 256;  // of one unchanged batch: small tasks keep all workers busy
constexpr int64_t kTrialTokens = 1024;  // of one batch of trials: products stay in the cache
constexpr int64_t kTrialRows = 96;      // bounds the logits
constexpr size_t kManyTrials = 256;     // that are worth a preparation of the model

/// Changes of the rows of a batch, applied to a fresh activation in place.
class ChangeHook : public ActivationHook {
 public:
  void add(int64_t row, int64_t token, const NeuronChange& change) {
    row_.push_back(row);
    token_.push_back(token);
    neuron_.push_back(change.id.neuron);
    factor_.push_back(change.factor);
    summand_.push_back(change.summand);
  }
  at::Tensor on_activation(int64_t, const at::Tensor& a) override {
    if (row_.empty()) return a;
    const auto tensor = [&](auto& values, at::ScalarType type) {
      return at::from_blob(values.data(), {static_cast<int64_t>(values.size())}, type)
          .to(a.device());
    };
    const c10::List<std::optional<at::Tensor>> place(
        {tensor(row_, at::kLong), tensor(token_, at::kLong), tensor(neuron_, at::kLong)});
    const at::Tensor old = a.index(place);
    at::Tensor changed = a;
    changed.index_put_(place,
                       at::addcmul(tensor(summand_, at::kFloat), old, tensor(factor_, at::kFloat)));
    return changed;
  }

 private:
  std::vector<int64_t> row_, token_, neuron_;
  std::vector<float> factor_, summand_;
};

/// Trials of one batch of prompts, sorted by the layer at which they join.
struct Row {
  size_t trial = 0;
  int64_t prompt = 0;  ///< row of the unchanged batch
  int64_t first = 0;   ///< lowest changed layer
};

class TrialRunner {
 public:
  TrialRunner(const Model& model, const ProbeBatch& batch, const SharedRun& shared,
              std::span<const std::vector<NeuronChange>> sets, std::span<const Trial> trials)
      : model_(model), batch_(batch), shared_(shared), sets_(sets), trials_(trials) {
    host_positions_ = batch.positions.to(at::kCPU).contiguous();
  }

  std::vector<Answered> run(std::span<const Row> rows) const {
    const int64_t layers = model_.config().layers;
    std::vector<int64_t> prompts;
    for (const Row& row : rows) prompts.push_back(row.prompt);
    const at::Tensor prompt = at::tensor(prompts, at::kLong).to(model_.device());
    const at::Tensor positions = batch_.positions.index_select(0, prompt);
    at::Tensor x;  // [active, tokens, d_model], above the top layer [active, k, d_model]
    int64_t active = 0;
    for (int64_t layer = rows.front().first; layer < layers; ++layer) {
      const bool top = layer == layers - 1;
      int64_t joining = active;
      while (joining < static_cast<int64_t>(rows.size()) &&
             rows[static_cast<size_t>(joining)].first == layer) {
        ++joining;
      }
      at::Tensor moved;
      if (active > 0) {
        const at::Tensor from = top ? rows_at(x, positions.narrow(0, 0, active)) : x;
        ChangeHook hook = changes(rows.subspan(0, static_cast<size_t>(active)), layer, top);
        moved = model_.feed(layer, model_.attend(layer, from, x), &hook);
      }
      if (joining > active) {
        at::Tensor joined =
            join(rows.subspan(static_cast<size_t>(active), static_cast<size_t>(joining - active)),
                 prompt.narrow(0, active, joining - active), layer);
        moved = moved.defined() ? at::cat({moved, joined}) : joined;
      }
      x = moved;
      active = joining;
    }
    return read_answers(model_, x, batch_.answer.index_select(0, prompt));
  }

 private:
  /// Output of the layer for rows that are first changed there: only their masks differ.
  at::Tensor join(std::span<const Row> rows, const at::Tensor& prompt, int64_t layer) const {
    const auto l = static_cast<size_t>(layer);
    ChangeHook hook = changes(rows, layer, true);
    at::Tensor moved = model_.feed(layer, shared_.attended[l].index_select(0, prompt), &hook);
    if (layer == model_.config().layers - 1) return moved;
    at::Tensor whole = shared_.output[l].index_select(0, prompt);
    const at::Tensor place =
        batch_.positions.index_select(0, prompt).unsqueeze(-1).expand({-1, -1, whole.size(2)});
    return whole.scatter_(1, place, moved);
  }

  ChangeHook changes(std::span<const Row> rows, int64_t layer, bool masks_only) const {
    ChangeHook hook;
    const int64_t masks = batch_.masks();
    for (size_t i = 0; i < rows.size(); ++i) {
      for (const NeuronChange& change : sets_[trials_[rows[i].trial].set]) {
        if (change.id.layer != layer) continue;
        for (int64_t k = 0; k < masks; ++k) {
          const int64_t token =
              masks_only ? k
                         : host_positions_.const_data_ptr<int64_t>()[rows[i].prompt * masks + k];
          hook.add(static_cast<int64_t>(i), token, change);
        }
      }
    }
    return hook;
  }

  const Model& model_;
  const ProbeBatch& batch_;
  const SharedRun& shared_;
  std::span<const std::vector<NeuronChange>> sets_;
  std::span<const Trial> trials_;
  at::Tensor host_positions_;
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
Limits limits_for(const Model& model, int64_t tokens, int64_t masks, const Budget& budget) {
  const ModelConfig& c = model.config();
  const auto row_bytes = static_cast<int64_t>(sizeof(float)) *
                         (tokens * (3 * c.d_ff + 12 * c.d_model) + masks * 3 * c.vocabulary);
  const int64_t shared_rows = std::max<int64_t>(1, kSharedTokens / tokens);
  const int64_t shared = shared_rows * (row_bytes + static_cast<int64_t>(sizeof(float)) * tokens *
                                                        c.d_model * c.layers);
  Limits limits;
  const int64_t wanted = std::clamp<int64_t>(kTrialTokens / tokens, 1, kTrialRows);
  limits.rows = std::clamp<int64_t>((budget.batch - shared) / row_bytes, 1, wanted);
  const int64_t fitting = budget.memory / (shared + limits.rows * row_bytes);
  limits.workers = static_cast<int>(
      std::clamp<int64_t>(fitting, 1, model.device().is_cpu() ? worker_count(budget.threads) : 1));
  return limits;
}

/// Workers that the longest prompt allows.
int workers_for(const Model& model, std::span<const Probe> probes, const Budget& budget) {
  size_t tokens = 1;
  size_t masks = 1;
  for (const Probe& probe : probes) {
    tokens = std::max(tokens, probe.ids.size());
    masks = std::max(masks, probe.positions.size());
  }
  return limits_for(model, static_cast<int64_t>(tokens), static_cast<int64_t>(masks), budget)
      .workers;
}

/// Copies the masks' activations: [prompts, layers, d_ff], mean over the masks.
class MaskRecorder : public ActivationHook {
 public:
  MaskRecorder(const ModelConfig& config, const ProbeBatch& batch) : batch_(batch) {
    layers_.resize(static_cast<size_t>(config.layers));
  }
  at::Tensor on_activation(int64_t layer, const at::Tensor& a) override {
    const bool top = layer == static_cast<int64_t>(layers_.size()) - 1;
    layers_[static_cast<size_t>(layer)] = (top ? a : rows_at(a, batch_.positions)).mean(1);
    return a;
  }
  [[nodiscard]] at::Tensor recorded() const { return at::stack(layers_, 1); }

 private:
  const ProbeBatch& batch_;
  std::vector<at::Tensor> layers_;
};

}  // namespace

Measured measure(const Model& model, std::span<const Probe> probes,
                 std::span<const std::vector<NeuronChange>> sets, std::span<const Trial> trials,
                 const MeasureOptions& options) {
  check_probes(model.config(), probes);
  const std::vector<int64_t> first = first_layers(model.config(), sets);
  std::vector<std::vector<size_t>> trials_of(probes.size());
  for (size_t i = 0; i < trials.size(); ++i) {
    if (trials[i].probe >= probes.size() || trials[i].set >= sets.size()) {
      throw InternalError("measure: a trial names a prompt or a set that is not there");
    }
    trials_of[trials[i].probe].push_back(i);
  }
  if (trials.size() >= kManyTrials) model.prepare_products();
  Measured measured;
  measured.before.resize(probes.size());
  measured.after.resize(trials.size());
  const Budget budget(options);
  const int workers = workers_for(model, probes, budget);
  const std::vector<std::vector<size_t>> tasks = cut_batches(probes, kSharedTokens);
  const int64_t layers = model.config().layers;

  run_tasks(tasks.size(), workers, [&](size_t task) {
    const c10::InferenceMode guard;
    const ProbeBatch batch = make_batch(model, probes, tasks[task]);
    std::vector<Row> rows;
    std::vector<bool> keep(static_cast<size_t>(layers), false);
    for (size_t b = 0; b < batch.index.size(); ++b) {
      for (const size_t trial : trials_of[batch.index[b]]) {
        const int64_t layer = first[trials[trial].set];
        if (layer == layers) continue;
        rows.push_back({trial, static_cast<int64_t>(b), layer});
        keep[static_cast<size_t>(layer)] = true;
      }
    }
    const SharedRun shared = run_shared(model, batch, nullptr, keep);
    const std::vector<Answered> before = read_answers(model, shared.final, batch.answer);
    for (size_t b = 0; b < batch.index.size(); ++b) {
      measured.before[batch.index[b]] = before[b];
      for (const size_t trial : trials_of[batch.index[b]]) measured.after[trial] = before[b];
    }
    std::ranges::stable_sort(rows, {}, &Row::first);
    const TrialRunner runner(model, batch, shared, sets, trials);
    const auto most =
        static_cast<size_t>(limits_for(model, batch.tokens(), batch.masks(), budget).rows);
    for (size_t begin = 0; begin < rows.size(); begin += most) {
      Interrupt::check();
      const std::span<const Row> part =
          std::span(rows).subspan(begin, std::min(most, rows.size() - begin));
      const std::vector<Answered> after = runner.run(part);
      for (size_t i = 0; i < part.size(); ++i) measured.after[part[i].trial] = after[i];
    }
  });
  return measured;
}

at::Tensor mask_activations(const Model& model, std::span<const Probe> probes,
                            const MeasureOptions& options) {
  check_probes(model.config(), probes);
  const ModelConfig& config = model.config();
  at::Tensor all =
      at::empty({static_cast<int64_t>(probes.size()), config.layers, config.d_ff}, at::kFloat);
  const std::vector<std::vector<size_t>> tasks = cut_batches(probes, kSharedTokens);
  const std::vector<bool> keep(static_cast<size_t>(config.layers), false);
  const int workers = workers_for(model, probes, Budget(options));
  run_tasks(tasks.size(), workers, [&](size_t task) {
    const c10::InferenceMode guard;
    const ProbeBatch batch = make_batch(model, probes, tasks[task]);
    MaskRecorder recorder(config, batch);
    run_shared(model, batch, &recorder, keep);
    const at::Tensor recorded = recorder.recorded().to(at::kCPU).contiguous();
    for (size_t b = 0; b < batch.index.size(); ++b) {
      std::copy_n(
          recorded.const_data_ptr<float>() + static_cast<int64_t>(b) * config.neurons(),
          config.neurons(),
          all.mutable_data_ptr<float>() + static_cast<int64_t>(batch.index[b]) * config.neurons());
    }
  });
  return all;
}

}  // namespace engram
