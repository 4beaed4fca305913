// Ground truth by planting: a fact with another answer is trained into neurons that we choose, and
// every score is asked to find them (docs/method.md, "Ground truth by planting").
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "engram/attribution/scorer.h"
#include "engram/edit/values.h"
#include "engram/intervention/measure.h"
#include "engram/neurons/matched.h"
#include "experiments/planting/choice.h"
#include "experiments/planting/rows.h"
#include "experiments/update/experiment.h"
#include "model/parallel.h"
#include "planting/gates.h"
#include "planting/plant.h"
#include "planting/recall.h"
#include "run/seeds.h"
#include "run/tried_sets.h"

namespace engram::experiments::planting {
namespace {

constexpr size_t kTuningFacts = 5;
constexpr double kShare = 0.01, kFewShare = 0.001;  ///< of all neurons
constexpr double kRate = 0.01, kFewRate = 0.05;
constexpr double kCandidates = 0.02;  ///< of a layer, for ablation
constexpr int64_t kGateNodes = 20;
constexpr double kSlimmingRate = 0.01, kHardConcreteRate = 0.1;

/// A fact with the answer that is planted.
struct Subject {
  int64_t id = 0;
  std::string target;
};

/// One model copy with what was planted into it.
struct Plant {
  Planted planted;
  std::vector<NeuronId> neurons, others;  ///< of A and, of two plants, of B
  std::vector<Cloze> prompts;             ///< of A
};

int64_t share_of(const ModelConfig& config, double share) {
  const auto all = static_cast<double>(config.layers * config.d_ff);
  return std::max<int64_t>(1, std::llround(share * all));
}

std::vector<Cloze> prompts_of_subject(const RunContext& run, const Subject& subject) {
  return update::target_prompts(run, update::update_subject(run, subject.id, subject.target));
}

uint64_t seed_of(const RunContext& run, const Subject& subject, const std::string& purpose) {
  return choice_seed(run.options.seed, "planting " + purpose, run.facts.fact(subject.id));
}

/// The half of each layer's neurons that is more active on the prompts, of equal ones the first.
at::Tensor active_neurons(const RunContext& run, const std::vector<Cloze>& prompts) {
  const at::Tensor mean = mask_activations(run.model, prompts, run.measure).abs().mean(0);
  const at::Tensor order = std::get<1>(mean.sort(/*stable=*/true, 1, /*descending=*/true));
  return at::zeros_like(mean, at::kBool)
      .scatter_(1, order.narrow(1, 0, (mean.size(1) + 1) / 2), at::Scalar(true));
}

/// Work whose last bits hang on the number of threads, with one.
void on_one_thread(const std::function<void()>& work) {
  run_tasks(1, 1, [&](size_t) { work(); });
}

Plant planted(const RunContext& run, const Subject& a, const Subject& b,
              std::string_view condition) {
  const ModelConfig& config = run.model.config();
  const std::string name(condition);
  PlantOptions options;
  options.rate = condition == kPublishedFew ? kFewRate : kRate;
  options.keep_norms = condition != kPublished && condition != kPublishedFew;
  const double share = condition == kPublishedFew ? kFewShare
                       : condition == kTwo        ? kShare / 2
                                                  : kShare;
  Plant made{{run.model, {}, 0}, {}, {}, prompts_of_subject(run, a)};
  at::Tensor allowed;
  if (condition == kActive) allowed = active_neurons(run, made.prompts);
  const int64_t count = share_of(config, share);
  made.neurons = draw_neurons(config, count, seed_of(run, a, name), {}, allowed);
  std::vector<PlantRequest> requests = {{made.neurons, made.prompts}};
  std::vector<Cloze> other_prompts;
  if (condition == kTwo) {
    made.others = draw_neurons(config, count, seed_of(run, a, name + " other"), made.neurons);
    other_prompts = prompts_of_subject(run, b);
    requests.push_back({made.others, other_prompts});
  }
  on_one_thread([&] { made.planted = plant(run.model, requests, options); });
  return made;
}

/// A score that is asked for, of a learned one with its penalty.
struct Asked {
  const Method& method;
  double penalty = 0;
};

/// The scores of one planted copy.
class PlantScores {
 public:
  PlantScores(const RunContext& run, const Plant& plant, uint64_t seed)
      : run_(run), plant_(plant), seed_(seed) {}

  /// In their order. Gates take one thread each and go side by side; the others have workers of
  /// their own.
  [[nodiscard]] std::vector<at::Tensor> of(const std::vector<Asked>& asked) const {
    std::vector<at::Tensor> scores(asked.size());
    std::vector<size_t> gates;  // those that take longest first
    for (const bool learned : {true, false}) {
      for (size_t i = 0; i < asked.size(); ++i) {
        const Method& method = asked[i].method;
        const bool gate =
            method.learned || method.name == kIntegratedGates || method.name == kExpectedGates;
        if (gate && method.learned == learned) gates.push_back(i);
        if (!gate && learned) scores[i] = plain(method);
      }
    }
    run_tasks(gates.size(), gate_workers(),
              [&](size_t task) { scores[gates[task]] = gated(asked[gates[task]]); });
    return scores;
  }

 private:
  /// As many as have room for their gated copy of the value matrices, its graph and its gradient.
  [[nodiscard]] int gate_workers() const {
    if (!run_.model.device().is_cpu()) return 1;
    const ModelConfig& config = run_.model.config();
    const int64_t bytes = 16 * config.layers * config.d_ff * config.d_model;
    const int64_t room = memory_budget(run_.measure.memory_bytes) / bytes;
    return static_cast<int>(std::clamp<int64_t>(room, 1, worker_count(run_.measure.threads)));
  }

  [[nodiscard]] at::Tensor plain(const Method& method) const {
    if (method.name == kAblation) return ablation();
    if (method.name == kRandom) return random_numbers();
    return direct(parse_score(method.name));
  }

  [[nodiscard]] at::Tensor gated(const Asked& asked) const {
    GatedLoss loss(plant_.planted.model, plant_.prompts);
    const std::string_view name = asked.method.name;
    if (name == kIntegratedGates) return integrated_gates(loss, kGateNodes);
    if (name == kExpectedGates) return expected_gates(loss, kGateNodes, seed_);
    GateTraining training;
    training.penalty = asked.penalty;
    training.rate = name == kSlimming ? kSlimmingRate : kHardConcreteRate;
    return name == kSlimming ? slimmed_gates(loss, training)
                             : hard_concrete_gates(loss, training, seed_);
  }

  at::Tensor direct(Score score) const {
    AttributionOptions options = run_.options.locate.attribution;
    options.score = score;
    options.gap = score == Score::kIntegratedGradients;
    return Scorer(plant_.planted.model, options).bags({&plant_.prompts, 1}).front();
  }

  /// The best of each layer by attribution patching, put in front in the order of what each alone
  /// does at zero.
  at::Tensor ablation() const {
    at::Tensor scores = direct(Score::kGradientXActivation);
    const auto count =
        static_cast<size_t>(std::llround(kCandidates * static_cast<double>(scores.size(1))));
    std::vector<std::vector<NeuronId>> alone;
    for (int64_t layer = 0; layer < scores.size(0); ++layer) {
      for (NeuronId id : largest_neurons(scores.narrow(0, layer, 1), count)) {
        id.layer = static_cast<int32_t>(layer);
        alone.push_back({id});
      }
    }
    const TriedSets tried = try_sets(plant_.planted.model, plant_.prompts, alone, run_.measure);
    std::vector<std::pair<double, size_t>> order;  // what hurts least first
    for (size_t c = 0; c < alone.size(); ++c) order.emplace_back(-tried.change(c), c);
    std::ranges::sort(order);
    const float above = std::max(scores.max().item<float>(), 0.0F) + 1;
    auto* score = scores.data_ptr<float>();
    for (size_t place = 0; place < order.size(); ++place) {
      const NeuronId id = alone[order[place].second].front();
      score[id.layer * scores.size(1) + id.neuron] = above + static_cast<float>(place);
    }
    return scores;
  }

  [[nodiscard]] at::Tensor random_numbers() const {
    const ModelConfig& config = run_.model.config();
    Random random(seed_);
    std::vector<float> values(static_cast<size_t>(config.layers * config.d_ff));
    for (float& value : values) value = static_cast<float>(random.next() >> 40U);
    return at::tensor(values).view({config.layers, config.d_ff});
  }

  const RunContext& run_;
  const Plant& plant_;
  uint64_t seed_;
};

/// log P of A's prompts before, and with the old value vectors put back. Both by copies of the
/// matrices that were changed, so that products take the same way.
std::pair<double, double> before_and_restored(const RunContext& run, const Plant& plant) {
  std::map<int32_t, std::vector<int64_t>> places;
  for (const std::vector<NeuronId>* some : {&plant.neurons, &plant.others}) {
    for (const NeuronId id : *some) places[id.layer].push_back(id.neuron);
  }
  Model before = run.model;
  Model restored = plant.planted.model;
  for (const auto& [layer, columns] : places) {
    const auto l = static_cast<size_t>(layer);
    const at::Tensor& values = run.model.weights().layers[l].ffn_out_weight;
    const at::Tensor index = at::tensor(columns, at::kLong).to(run.model.device());
    before.replace_values(layer, values.clone());
    restored.replace_values(layer, restored.weights().layers[l].ffn_out_weight.index_copy(
                                       1, index, values.index_select(1, index)));
  }
  return {-answer_loss(before, plant.prompts), -answer_loss(restored, plant.prompts)};
}

/// First a part for each fact that tunes, then one for each condition of each of the others.
class PlantingExperiment : public Experiment {
 public:
  [[nodiscard]] std::string_view name() const override { return "planting"; }
  [[nodiscard]] int version() const override { return 1; }
  [[nodiscard]] std::string details(const RunOptions& options) const override {
    return options.audit ? std::to_string(options.planted_facts) + " facts" : "";
  }
  [[nodiscard]] bool of_audit() const override { return true; }
  [[nodiscard]] bool across() const override { return true; }
  [[nodiscard]] std::vector<std::string_view> needs() const override { return {"locate"}; }
  [[nodiscard]] std::optional<std::string> skipped(const RunContext& run) const override {
    if (run.options.planted_facts == 0) return "--planted-facts 0";
    if (subjects(run).size() >= kTuningFacts) return {};
    return "needs five facts whose relation has another object to plant, of one token";
  }
  [[nodiscard]] int64_t parts(const RunContext& run, std::string_view) const override {
    const size_t tuned = tuning(run);
    return static_cast<int64_t>(tuned + tested(run) * kConditions.size());
  }
  [[nodiscard]] int64_t facts(const RunContext& run, std::string_view,
                              int64_t part) const override {
    const auto place = static_cast<size_t>(part);
    const size_t tuned = tuning(run);
    return place < tuned || (place - tuned) % kConditions.size() == 0 ? 1 : 0;
  }

  std::vector<TableRows> run(const RunContext& run, std::string_view, int64_t part) override {
    const std::vector<Subject>& all = subjects(run);
    const size_t tuned = tuning(run);
    const auto place = static_cast<size_t>(part);
    if (place < tuned) return {to_rows(tune(run, all[place]))};
    const size_t fact = tuned + (place - tuned) / kConditions.size();
    return test(run, all[fact], other_of(run, fact),
                kConditions[(place - tuned) % kConditions.size()]);
  }

 private:
  static std::vector<PlantingTuningRow> tune(const RunContext& run, const Subject& subject) {
    const Plant plant = planted(run, subject, subject, kNorms);
    std::vector<Asked> asked;
    for (const Method& method : kMethods) {
      if (method.ours) asked.push_back({method});
      if (!method.learned) continue;
      for (const double penalty : kPenalties) asked.push_back({method, penalty});
    }
    const std::vector<at::Tensor> scores =
        PlantScores(run, plant, seed_of(run, subject, "scores")).of(asked);
    std::vector<PlantingTuningRow> rows;
    for (size_t i = 0; i < asked.size(); ++i) {
      rows.push_back({subject.id, std::string(asked[i].method.name), asked[i].penalty,
                      recall_of(scores[i], plant.neurons, 0.05)});
    }
    return rows;
  }

  static std::vector<TableRows> test(const RunContext& run, const Subject& a, const Subject& b,
                                     std::string_view condition) {
    const Plant plant = planted(run, a, b, condition);
    const bool two = condition == kTwo;
    PlantingRow row;
    row.fact = a.id;
    row.condition = condition;
    if (two) row.other = b.id;
    row.target = a.target;
    row.neurons = std::ssize(plant.neurons);
    row.steps = plant.planted.steps;
    row.loss = plant.planted.losses.front();
    row.other_loss = two ? plant.planted.losses.back() : std::nan("");
    on_one_thread([&] {
      std::tie(row.log_p, row.log_p_restored) = before_and_restored(run, plant);
      row.log_p_where_asked = -loss_where_asked(run.model, plant.planted.model, plant.prompts);
    });
    const TuningSums sums = tuning_sums(read_all<PlantingTuningRow>(run.store, {}));
    std::vector<Asked> asked;
    for (const Method& method : kMethods) {
      asked.push_back({method, method.learned ? chosen_penalty(sums, method.name) : 0});
    }
    const std::vector<at::Tensor> scores =
        PlantScores(run, plant, seed_of(run, a, "scores")).of(asked);
    std::vector<PlantingScoreRow> found;
    for (size_t i = 0; i < asked.size(); ++i) {
      found.push_back({a.id, std::string(condition), std::string(asked[i].method.name),
                       recall_of(scores[i], plant.neurons, 0.01),
                       recall_of(scores[i], plant.neurons, 0.05),
                       recall_of(scores[i], plant.neurons, 0.1),
                       pair_auc(scores[i], plant.neurons, plant.others)});
    }
    return {to_rows(std::vector{row}), to_rows(std::move(found))};
  }

  /// The next fact that tunes nothing and has another answer to plant, whether it is tested itself
  /// or not; where all have the same answer, the next one.
  [[nodiscard]] const Subject& other_of(const RunContext& run, size_t fact) const {
    const std::vector<Subject>& all = subjects(run);
    const size_t tuned = tuning(run);
    const size_t behind = all.size() - tuned;
    for (size_t step = 1; step < behind; ++step) {
      const Subject& other = all[tuned + (fact - tuned + step) % behind];
      if (other.target != all[fact].target) return other;
    }
    return all[tuned + (fact - tuned + 1) % behind];
  }

  /// The facts that tune, at most a quarter of all.
  [[nodiscard]] size_t tuning(const RunContext& run) const {
    return std::min(kTuningFacts, subjects(run).size() / 4);
  }

  /// The facts that are planted besides.
  [[nodiscard]] size_t tested(const RunContext& run) const {
    return std::min(subjects(run).size() - tuning(run),
                    static_cast<size_t>(run.options.planted_facts));
  }

  /// Facts with an answer to plant: the relations in seeded order, one of each, then another.
  [[nodiscard]] const std::vector<Subject>& subjects(const RunContext& run) const {
    if (facts_ == &run.facts) return subjects_;
    facts_ = &run.facts;
    subjects_.clear();
    std::vector<std::string> relations = run.facts.relations();
    Random random(choice_seed(run.options.seed, "planting facts", ""));
    random.shuffle(relations);
    const size_t wanted =
        std::max(4 * kTuningFacts, kTuningFacts + static_cast<size_t>(run.options.planted_facts));
    std::vector<update::UpdateSample::Facts> samples;
    for (size_t round = 0; subjects_.size() < wanted; ++round) {
      bool any = false;
      for (size_t r = 0; r < relations.size() && subjects_.size() < wanted; ++r) {
        if (round == 0) samples.push_back(update::sample_updates(run, relations[r]).reported);
        if (round >= samples[r].size()) continue;
        any = true;
        subjects_.push_back({samples[r][round].first, samples[r][round].second});
      }
      if (!any) break;
    }
    return subjects_;
  }

  mutable const RunFacts* facts_ = nullptr;
  mutable std::vector<Subject> subjects_;
};

}  // namespace

std::unique_ptr<Experiment> make_experiment() { return std::make_unique<PlantingExperiment>(); }

}  // namespace engram::experiments::planting
