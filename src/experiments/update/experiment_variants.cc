// What the experiment "update" edits of each fact: its neurons by several rules, and the controls.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <span>
#include <unordered_set>

#include "engram/edit/values.h"
#include "engram/neurons/matched.h"
#include "engram/sources.h"
#include "engram/statistics/neuron_sets.h"
#include "experiments/locate/rows.h"
#include "experiments/update/experiment.h"
#include "experiments/update/rows.h"
#include "run/seeds.h"
#include "run/sets.h"

namespace engram::experiments::update {
namespace {

constexpr int64_t kAllNeurons = 0;
constexpr int64_t kEqualWriteDraws = 5;
constexpr int64_t kMostRedraws = 100;  // then the control does without the fact
/// How much a control's change may be rescaled: a larger factor means that its neurons' sum is next
/// to nothing on these prompts.
constexpr double kMostRescaling = 100;

/// A setting of the sweep.
struct UpdateSetting {
  double lambda1 = kUpdateLambda1;
  double lambda2 = kUpdateLambda2;
  int64_t neurons = kAllNeurons;
  [[nodiscard]] std::string name() const {
    const auto number = [](double x) { return std::to_string(static_cast<int64_t>(x)); };
    return variant::kSweep + ("l1=" + number(lambda1) + ",l2=" + number(lambda2) +
                              ",n=" + (neurons == kAllNeurons ? "all" : std::to_string(neurons)));
  }
};

/// One thing at a time moves from the paper's setting.
constexpr std::array<UpdateSetting, 10> kUpdateSweep = {{{1, 8, kAllNeurons},
                                                         {0, 8, kAllNeurons},
                                                         {2, 8, kAllNeurons},
                                                         {1, 1, kAllNeurons},
                                                         {1, 2, kAllNeurons},
                                                         {1, 4, kAllNeurons},
                                                         {1, 16, kAllNeurons},
                                                         {1, 8, 1},
                                                         {1, 8, 2},
                                                         {1, 8, 4}}};

/// A fact's neurons, those that pass the most prompts first, then those of the higher score.
std::vector<NeuronId> by_weight(RunStore& store, int64_t fact) {
  std::vector<CountedNeuron> found;
  for (const auto& row : read_all<locate::NeuronRow>(
           store,
           {is(&locate::NeuronRow::source, sources::kIg), is(&locate::NeuronRow::fact, fact)})) {
    found.push_back(
        {neuron_of(row), static_cast<int32_t>(row.prompts), static_cast<float>(row.score)});
  }
  std::ranges::stable_sort(found, [](const CountedNeuron& a, const CountedNeuron& b) {
    return std::pair(a.prompts, a.score) > std::pair(b.prompts, b.score);
  });
  std::vector<NeuronId> ids;
  for (const CountedNeuron& one : found) ids.push_back(one.id);
  return ids;
}

/// What an edit adds at the mask on the average, by layer.
std::map<int64_t, at::Tensor> mean_write(const OutputEdit& edit, const at::Tensor& activations) {
  std::map<int64_t, at::Tensor> sums;
  for (size_t i = 0; i < edit.neurons.size(); ++i) {
    const NeuronId id = edit.neurons[i];
    const at::Tensor change = edit.change.select(0, static_cast<int64_t>(i));
    at::Tensor& sum = sums[id.layer];
    if (!sum.defined()) sum = at::zeros_like(change);
    sum.add_(change, activations[id.layer][id.neuron].item<double>());
  }
  for (const auto& [layer, constant] : edit.constants) sums[layer] = constant;
  return sums;
}

/// Makes the variants of one relation's facts.
class VariantMaker {
 public:
  VariantMaker(const RunContext& run, std::string_view relation,
               const std::vector<UpdateSubject>& subjects)
      : run_(run),
        subjects_(subjects),
        ids_(run.facts.of(relation)),
        located_(stored_relation(run, sources::kIg, relation)),
        active_(stored_relation(run, sources::kActivation, relation)),
        never_(located_of_run(run)),
        sampler_(run.model, never_) {}

  std::vector<UpdateVariant> make() {
    for (size_t s = 0; s < subjects_.size(); ++s) {
      const auto f =
          static_cast<size_t>(std::ranges::lower_bound(ids_, subjects_[s].id) - ids_.begin());
      begin(s);
      const std::vector<NeuronId> mine = editable_neurons(located_, f);
      if (subjects_[s].tuning) {
        add_sweep(mine);
        continue;
      }
      if (run_.options.as_published) {
        const std::vector<NeuronId> kept = editable_neurons(located_, f, 0.1, 2, true);
        add(variant::kKnowledge, kept);
        add(variant::kRandom, random_as(kept));
        continue;
      }
      add(variant::kKnowledge, mine);
      add(variant::kKnowledgeUnfiltered, located_[f].neurons);
      add(variant::kKnowledgeReleased, editable_neurons(located_, f, 0.1, 2, true));
      add(variant::kActivation, editable_neurons(active_, f));
      add(variant::kActivationUnfiltered, active_[f].neurons);
      add_random(mine);
      add_other_facts(f, mine);
    }
    return std::move(variants_);
  }

  std::vector<UpdateVariant> make_located() {
    for (size_t s = 0; s < subjects_.size(); ++s) {
      const auto f =
          static_cast<size_t>(std::ranges::lower_bound(ids_, subjects_[s].id) - ids_.begin());
      const std::vector<NeuronId>& mine = located_[f].neurons;
      if (mine.empty()) continue;
      begin(s);
      add(variant::kKnowledgeUnfiltered, mine);
      const std::map<int32_t, std::vector<NeuronId>> pools = activated_pools(mine);
      for (int64_t d = 0; d < kEqualWriteDraws; ++d) add_equal_write(mine, pools, d);
      add_scaled_other_fact(other_fact(f, mine, [&](size_t g) { return located_[g].neurons; }));
    }
    return std::move(variants_);
  }

 private:
  /// The layers' sums of activation times the length of the value vector. All changes of an update
  /// have one direction, so this times that direction is what it writes at the mask.
  using LayerSums = std::map<int32_t, double>;

  /// Looks at another fact.
  void begin(size_t s) {
    s_ = s;
    tokens_ = update_tokens(run_, subjects_[s]);
    if (subjects_[s].tuning) return;
    ClozeList own(run_);
    for (const PromptPlace& place : subjects_[s].own) own.add(place);
    activations_ = mask_activations(run_.model, own.clozes(), run_.measure).mean(0);
    if (lengths_.empty()) lengths_.resize(static_cast<size_t>(run_.model.config().layers));
  }

  [[nodiscard]] const Fact& fact() const { return run_.facts.fact(subjects_[s_].id); }

  [[nodiscard]] OutputEdit update(std::span<const NeuronId> neurons,
                                  const UpdateSetting& setting = {}) const {
    return output_edit(run_.model, update_values(run_.model, neurons, tokens_.old, tokens_.target,
                                                 setting.lambda1, setting.lambda2));
  }

  UpdateVariant& push(std::string name, size_t neurons, OutputEdit edit) {
    if (neurons == 0) {
      UpdateVariant& variant = variants_.emplace_back();
      variant.subject = s_;
      variant.name = std::move(name);
      return variant;
    }
    variants_.push_back(edit_variant(run_, s_, std::move(name), std::move(edit), activations_));
    variants_.back().neurons = static_cast<int64_t>(neurons);
    return variants_.back();
  }

  UpdateVariant& add(std::string name, std::span<const NeuronId> neurons) {
    return push(std::move(name), neurons.size(), neurons.empty() ? OutputEdit{} : update(neurons));
  }

  void add_sweep(const std::vector<NeuronId>& mine) {
    std::vector<NeuronId> ordered = by_weight(run_.store, subjects_[s_].id);
    std::erase_if(ordered, [&](NeuronId id) { return std::ranges::find(mine, id) == mine.end(); });
    for (const UpdateSetting& setting : kUpdateSweep) {
      const size_t count = setting.neurons == kAllNeurons
                               ? ordered.size()
                               : std::min(ordered.size(), static_cast<size_t>(setting.neurons));
      UpdateVariant variant{
          s_, setting.name(), static_cast<int64_t>(count), setting.lambda1, setting.lambda2, {}};
      variant.written = std::numeric_limits<double>::quiet_NaN();
      if (count > 0) variant.edit = update(std::span(ordered).first(count), setting);
      variants_.push_back(std::move(variant));
    }
  }

  /// As many random neurons of the same layers.
  [[nodiscard]] std::vector<NeuronId> random_as(const std::vector<NeuronId>& mine) const {
    return sampler_
        .draw(mine, MatchStrength::kLayer, {}, {}, 1,
              choice_seed(run_.options.seed, "update random", fact()))
        .draws.front();
  }

  /// The controls that stand in for the neurons `mine` in the same layers.
  void add_random(const std::vector<NeuronId>& mine) {
    add(variant::kRandom, random_as(mine));
    const std::map<int32_t, std::vector<NeuronId>> pools = activated_pools(mine);
    Random random(choice_seed(run_.options.seed, "update random activated", fact()));
    std::vector<NeuronId> activated;
    for (const auto& [layer, pool] : pools) {
      std::ranges::copy(draw(pool, count_in(mine, layer), random), std::back_inserter(activated));
    }
    add(variant::kRandomActivated, activated);
    for (int64_t d = 0; d < kEqualWriteDraws; ++d) add_equal_write(mine, pools, d);
    OutputEdit constant;
    if (!mine.empty()) {
      const auto sums = mean_write(update(mine), activations_);
      constant.constants.assign(sums.begin(), sums.end());
    }
    push(variant::kOutput, mine.size(), std::move(constant));
  }

  static int64_t count_in(const std::vector<NeuronId>& neurons, int32_t layer) {
    return std::ranges::count(neurons, layer, &NeuronId::layer);
  }

  static std::vector<NeuronId> draw(const std::vector<NeuronId>& pool, int64_t count,
                                    Random& random) {
    std::vector<NeuronId> chosen;
    for (const uint64_t i : random.sample(pool.size(), static_cast<uint64_t>(count))) {
      chosen.push_back(pool[i]);
    }
    return chosen;
  }

  /// By layer of `mine`, the tenth that is most active on own prompts, without located neurons.
  [[nodiscard]] std::map<int32_t, std::vector<NeuronId>> activated_pools(
      const std::vector<NeuronId>& mine) const {
    std::map<int32_t, std::vector<NeuronId>> pools;
    const at::Tensor decile = deciles(activations_);
    for (const NeuronId one : mine) {
      const auto [pool, fresh] = pools.try_emplace(one.layer);
      if (!fresh) continue;
      const at::Tensor row = decile.select(0, one.layer);
      for (int32_t i = 0; i < static_cast<int32_t>(row.numel()); ++i) {
        const NeuronId id{one.layer, i};
        if (row.const_data_ptr<uint8_t>()[i] == 9 && !never_.contains(id) &&
            std::ranges::find(mine, id) == mine.end()) {
          pool->second.push_back(id);
        }
      }
    }
    return pools;
  }

  /// Random activated neurons whose changes are rescaled, layer by layer, to write what those of
  /// `mine` write. A draw that writes next to nothing, or the other way, is drawn again.
  void add_equal_write(const std::vector<NeuronId>& mine,
                       const std::map<int32_t, std::vector<NeuronId>>& pools, int64_t number) {
    const std::string name = variant::kRandomEqualWrite + ("/" + std::to_string(number));
    const LayerSums wanted = sums(mine);
    Random random(choice_seed(run_.options.seed, "update " + name, fact()));
    std::vector<NeuronId> chosen;
    std::map<int32_t, double> factors;
    int64_t redraws = 0;
    for (const auto& [layer, pool] : pools) {
      const auto count = count_in(mine, layer);
      std::vector<NeuronId> set = draw(pool, count, random);
      std::optional<double> by = factor(wanted.at(layer), sums(set)[layer]);
      int64_t again = 0;
      for (; !by && again < kMostRedraws; ++again) {
        set = draw(pool, count, random);
        by = factor(wanted.at(layer), sums(set)[layer]);
      }
      redraws += again;
      if (!by) {
        chosen.clear();
        break;
      }
      factors[layer] = *by;
      chosen.insert(chosen.end(), set.begin(), set.end());
    }
    UpdateVariant& variant =
        add_scaled(name, chosen, [&](NeuronId id) { return factors[id.layer]; });
    variant.redraws = redraws;
    variant.aside = number == 0;
  }

  /// Neurons of another fact of the relation with another object (which is neither o nor o'), but
  /// those located for this fact: as they are, and rescaled to write as much in all layers
  /// together, for they need not be in the same ones.
  void add_other_facts(size_t f, const std::vector<NeuronId>& mine) {
    const OtherFact other =
        other_fact(f, mine, [&](size_t g) { return editable_neurons(located_, g); });
    add(variant::kOtherFact, other.first);
    add_scaled_other_fact(other);
  }

  struct OtherFact {
    std::vector<NeuronId> first;   ///< as they are
    std::vector<NeuronId> scaled;  ///< those that can write as much
    std::optional<double> by;
    int64_t redraws = 0;
  };
  void add_scaled_other_fact(const OtherFact& other) {
    add_scaled(variant::kOtherFactEqualWrite, other.scaled, [&](NeuronId) {
      return *other.by;
    }).redraws = other.redraws;
  }

  /// `neurons` gives those of a place of ids_.
  template <typename Neurons>
  OtherFact other_fact(size_t f, const std::vector<NeuronId>& mine, Neurons neurons) {
    OtherFact found;
    std::vector<size_t> order;
    if (!mine.empty()) order = other_facts(f);
    double wanted = 0;
    for (const auto& [layer, sum] : sums(mine)) wanted += sum;
    for (const size_t g : order) {
      std::vector<NeuronId> set = neurons(g);
      std::erase_if(set, [&](NeuronId id) {
        return std::ranges::find(located_[f].neurons, id) != located_[f].neurons.end();
      });
      if (set.empty()) continue;
      if (found.first.empty()) found.first = set;
      double sum = 0;
      for (const auto& [layer, part] : sums(set)) sum += part;
      found.by = factor(wanted, sum);
      if (found.by) {
        found.scaled = std::move(set);
        break;
      }
      if (++found.redraws == kMostRedraws) break;
    }
    return found;
  }

  /// Places of ids_, in seeded order.
  [[nodiscard]] std::vector<size_t> other_facts(size_t f) const {
    const UpdateSubject& one = subjects_[s_];
    std::vector<size_t> order;
    for (size_t g = 0; g < ids_.size(); ++g) {
      const Fact& other = run_.facts.fact(ids_[g]);
      if (g != f && other.subject != fact().subject && other.object != fact().object &&
          other.object != one.old && other.object != one.target) {
        order.push_back(g);
      }
    }
    Random random(choice_seed(run_.options.seed, "update other fact", fact()));
    random.shuffle(order);
    return order;
  }

  template <typename Factor>
  UpdateVariant& add_scaled(std::string name, const std::vector<NeuronId>& neurons, Factor by) {
    OutputEdit edit;
    if (!neurons.empty()) edit = update(neurons);
    for (size_t i = 0; i < neurons.size(); ++i) {
      edit.change.select(0, static_cast<int64_t>(i)).mul_(by(neurons[i]));
    }
    return push(std::move(name), neurons.size(), std::move(edit));
  }

  /// What makes the one sum the other; nothing where it is next to nothing, or negative where the
  /// other is not.
  static std::optional<double> factor(double wanted, double sum) {
    if (sum == 0 || (sum < 0 && wanted >= 0)) return {};
    if (std::abs(wanted) > kMostRescaling * std::abs(sum)) return {};
    return wanted / sum;
  }

  LayerSums sums(const std::vector<NeuronId>& neurons) {
    LayerSums found;
    for (const NeuronId id : neurons) {
      at::Tensor& lengths = lengths_[static_cast<size_t>(id.layer)];
      if (!lengths.defined()) {
        lengths = run_.model.weights()
                      .layers[static_cast<size_t>(id.layer)]
                      .ffn_out_weight.detach()
                      .to(at::kCPU, at::kDouble)
                      .norm(2, {0});  // [d_ff]
      }
      found[id.layer] +=
          activations_[id.layer][id.neuron].item<double>() * lengths[id.neuron].item<double>();
    }
    return found;
  }

  const RunContext& run_;
  const std::vector<UpdateSubject>& subjects_;
  const std::vector<int64_t>& ids_;
  std::vector<FactNeurons> located_, active_;
  const std::unordered_set<NeuronId>& never_;  ///< located for any fact of the run
  MatchedSampler sampler_;
  std::vector<at::Tensor> lengths_;  ///< [layers] of the value vectors, of layers asked for
  // Of the fact that is looked at:
  size_t s_ = 0;
  UpdateTokens tokens_;
  at::Tensor activations_;  ///< [layers, d_ff] at the mask, mean over own prompts
  std::vector<UpdateVariant> variants_;
};

}  // namespace

std::vector<UpdateVariant> update_variants(const RunContext& run, std::string_view relation,
                                           const std::vector<UpdateSubject>& subjects) {
  return VariantMaker(run, relation, subjects).make();
}

std::vector<UpdateVariant> located_variants(const RunContext& run, std::string_view relation,
                                            const std::vector<UpdateSubject>& subjects) {
  return VariantMaker(run, relation, subjects).make_located();
}

UpdateVariant edit_variant(const RunContext& run, size_t subject, std::string name, OutputEdit edit,
                           const at::Tensor& activations) {
  UpdateVariant variant;
  variant.subject = subject;
  variant.name = std::move(name);
  variant.neurons = static_cast<int64_t>(edit.neurons.size());
  at::Tensor total = at::zeros({run.model.config().d_model});
  for (const auto& [layer, sum] : mean_write(edit, activations)) total.add_(sum);
  variant.written = total.norm().item<double>();
  variant.edit = std::move(edit);
  return variant;
}

}  // namespace engram::experiments::update
