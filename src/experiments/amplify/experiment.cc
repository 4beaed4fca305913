#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "engram/intervention/measure.h"
#include "engram/neurons/matched.h"
#include "experiments/amplify/rows.h"
#include "run/parts.h"
#include "run/seeds.h"
#include "run/sets.h"

namespace engram::experiments::amplify {
namespace {

constexpr int64_t kDraws = 3;  ///< matched sets

/// Neurons of one layer and how far each is moved, up to a factor.
struct Move {
  std::vector<int64_t> neurons;
  std::vector<double> by;
};
using MoveByLayer = std::map<int64_t, Move>;

/// Length of the change of a layer's FFN output.
double length_of(const Model& model, int64_t layer, const Move& move) {
  const at::Tensor& values = model.weights().layers[static_cast<size_t>(layer)].ffn_out_weight;
  const at::Tensor chosen =
      values.index_select(1, at::tensor(move.neurons, at::kLong).to(values.device()))
          .to(at::kCPU, at::kDouble);
  return at::mv(chosen, at::tensor(move.by, at::kDouble)).norm().item<double>();
}

/// The located neurons moved by their own activations: what doubling does.
MoveByLayer doubling(std::span<const NeuronId> neurons, const at::Tensor& activation) {
  MoveByLayer moves;
  const auto a = activation.accessor<float, 2>();
  for (const NeuronId id : neurons) {
    moves[id.layer].neurons.push_back(id.neuron);
    moves[id.layer].by.push_back(a[id.layer][id.neuron]);
  }
  return moves;
}

/// In the layers of `like`, as many neurons with the largest absolute gradient, moved by its sign.
MoveByLayer along_gradient(const MoveByLayer& like, const at::Tensor& gradient) {
  MoveByLayer moves;
  const auto g = gradient.accessor<float, 2>();
  for (const auto& [layer, located] : like) {
    const at::Tensor sizes = gradient.select(0, layer).abs().unsqueeze(0);
    Move& move = moves[layer];
    for (const NeuronId id : largest_neurons(sizes, located.neurons.size())) {
      move.neurons.push_back(id.neuron);
      move.by.push_back(g[layer][id.neuron] < 0 ? -1.0 : 1.0);
    }
  }
  return moves;
}

/// The moves made as long as `like` in every layer, as summands.
std::vector<NeuronChange> as_long_as(const Model& model, const MoveByLayer& like,
                                     const MoveByLayer& moves) {
  std::vector<NeuronChange> changes;
  for (const auto& [layer, move] : moves) {
    const double length = length_of(model, layer, move);
    const double factor = length > 0 ? length_of(model, layer, like.at(layer)) / length : 0;
    for (size_t i = 0; i < move.neurons.size(); ++i) {
      changes.push_back({{static_cast<int32_t>(layer), static_cast<int32_t>(move.neurons[i])},
                         1.0F,
                         static_cast<float>(factor * move.by[i])});
    }
  }
  return changes;
}

class AmplifyExperiment : public FactExperiment {
 public:
  [[nodiscard]] std::string_view name() const override { return "amplify"; }
  [[nodiscard]] int version() const override { return 1; }
  [[nodiscard]] bool of_audit() const override { return true; }
  [[nodiscard]] std::optional<std::string> skipped(const RunContext& run) const override {
    return not_all_located(run);
  }

  std::vector<TableRows> run(const RunContext& run, std::string_view relation,
                             int64_t part) override {
    const std::span<const int64_t> facts = part_of(run, relation, part);
    std::vector<Cloze> locating;
    std::vector<int64_t> locating_fact;
    std::vector<Cloze> held_out;
    std::vector<size_t> held_out_fact;
    for (size_t f = 0; f < facts.size(); ++f) {
      PreparedFact fact = run.facts.prepared(facts[f]);
      locating_fact.insert(locating_fact.end(), fact.prompts.size(), static_cast<int64_t>(f));
      held_out_fact.insert(held_out_fact.end(), fact.held_out.size(), f);
      std::ranges::move(fact.prompts, std::back_inserter(locating));
      std::ranges::move(fact.held_out, std::back_inserter(held_out));
    }
    const ActivationProfile profile = activation_profiles(
        run.model, locating, locating_fact, static_cast<int64_t>(facts.size()), run.measure);
    const at::Tensor activations = mask_activations(run.model, held_out, run.measure);
    const MatchedSampler sampler(run.model, located_of_run(run));

    std::vector<PushRow> rows;
    std::vector<std::vector<NeuronId>> located;
    std::vector<std::vector<std::vector<NeuronId>>> matched;
    for (size_t f = 0; f < facts.size(); ++f) {
      located.push_back(stored_neurons(run.store, sources::kIg, facts[f]));
      for (const std::string_view push : kPushes) {
        PushRow& row = rows.emplace_back();
        row.fact = facts[f];
        row.source = push;
        row.neurons = static_cast<int64_t>(located[f].size());
      }
      const auto at = static_cast<int64_t>(f);
      matched.push_back(
          sampler
              .draw(located[f], MatchStrength::kGradient, profile.activation.select(0, at),
                    profile.product.select(0, at), kDraws,
                    choice_seed(run.options.seed, "amplify", run.facts.fact(facts[f])))
              .draws);
    }

    std::vector<std::vector<NeuronChange>> changes;
    std::vector<Trial> trials;
    struct Place {
      size_t row;
      double share;
    };
    std::vector<Place> places;  // of the trials
    for (size_t p = 0; p < held_out.size(); ++p) {
      const size_t f = held_out_fact[p];
      const at::Tensor a = activations.select(0, static_cast<int64_t>(p));
      const MoveByLayer doubled = doubling(located[f], a);
      const auto add = [&](size_t push, std::vector<NeuronChange> change, double share) {
        trials.push_back({static_cast<uint32_t>(p), static_cast<uint32_t>(changes.size())});
        places.push_back({f * kPushes.size() + push, share});
        changes.push_back(std::move(change));
      };
      // As the paper does: a neuron that lower layers have changed is doubled as it is then.
      std::vector<NeuronChange> twice;
      for (const NeuronId id : located[f]) twice.push_back({id, 2.0F, 0.0F});
      add(0, std::move(twice), 1);
      add(1,
          as_long_as(run.model, doubled,
                     along_gradient(doubled, profile.gradient.select(0, static_cast<int64_t>(f)))),
          1);
      for (const std::vector<NeuronId>& draw : matched[f]) {
        add(2, as_long_as(run.model, doubled, doubling(draw, a)),
            1.0 / static_cast<double>(matched[f].size()));
      }
      double squares = 0;
      for (const auto& [layer, move] : doubled) {
        const double length = length_of(run.model, layer, move);
        squares += length * length;
      }
      for (size_t push = 0; push < kPushes.size(); ++push) {
        PushRow& row = rows[f * kPushes.size() + push];
        row.length += std::sqrt(squares);
        ++row.prompts;
      }
    }
    const Measured measured = measure(run.model, held_out, changes, trials, run.measure);
    for (size_t t = 0; t < trials.size(); ++t) {
      PushRow& row = rows[places[t].row];
      const double share = places[t].share;
      const Answered& before = measured.before[trials[t].cloze];
      const Answered& after = measured.after[t];
      row.log_odds += share * before.log_odds;
      row.top += before.top() ? share : 0;
      row.change_log_odds += share * (after.log_odds - before.log_odds);
      row.top_after += after.top() ? share : 0;
    }
    for (PushRow& row : rows) row.length /= static_cast<double>(row.prompts);
    return {to_rows(std::move(rows))};
  }

 protected:
  [[nodiscard]] double cost(const RunContext& run, int64_t id) const override {
    const Fact& fact = run.facts.fact(id);
    const TokenCounts& size = run.facts.size(id);
    return static_cast<double>(fact.held_out.size()) * static_cast<double>(2 + kDraws) *
               changed_run_flops(run, size) +
           static_cast<double>(fact.prompts.size()) * 3 * run_flops(run, size);
  }
};

}  // namespace

std::unique_ptr<Experiment> make_experiment() { return std::make_unique<AmplifyExperiment>(); }

}  // namespace engram::experiments::amplify
