#include <algorithm>
#include <map>
#include <optional>

#include "base/random.h"
#include "engram/attribution/scorer.h"
#include "engram/error.h"
#include "engram/intervention/measure.h"
#include "engram/run/experiment.h"
#include "experiments/sizes/rows.h"
#include "run/parts.h"
#include "run/seeds.h"

namespace engram::experiments::sizes {
namespace {

constexpr int64_t kRanks = 2 * kLargest;  ///< places that are kept: the next k need them
constexpr int64_t kNodesGuess = 4;        ///< of a layer, for the cut into parts

std::vector<NeuronChange> suppressed(std::span<const NeuronId> neurons) {
  std::vector<NeuronChange> changes;
  for (const NeuronId id : neurons) changes.push_back({id, 0.0F, 0.0F});
  return changes;
}

/// The best scored neurons, the best first; ties by id.
std::vector<Ranked> ranked(int64_t fact, const at::Tensor& scores) {
  const at::Tensor all = scores.to(at::kCPU).contiguous();
  const float* value = all.const_data_ptr<float>();
  std::vector<int64_t> order(static_cast<size_t>(all.numel()));
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
  const auto kept = static_cast<std::ptrdiff_t>(std::min<int64_t>(kRanks, all.numel()));
  std::partial_sort(order.begin(), order.begin() + kept, order.end(), [&](int64_t a, int64_t b) {
    return value[a] != value[b] ? value[a] > value[b] : a < b;
  });
  std::vector<Ranked> rows;
  for (int64_t place = 0; place < kept; ++place) {
    const int64_t at = order[static_cast<size_t>(place)];
    rows.push_back(
        {fact, place, at / all.size(1), at % all.size(1), static_cast<double>(value[at])});
  }
  return rows;
}

/// Parts of a relation: its sampled facts are attributed, and then measured. Another fact's neurons
/// are a control, so that all of a relation are attributed first.
class SizesExperiment : public Experiment {
 public:
  [[nodiscard]] std::string_view name() const override { return "sizes"; }
  [[nodiscard]] int version() const override { return 1; }
  [[nodiscard]] std::vector<std::string_view> needs() const override { return {"locate"}; }
  [[nodiscard]] std::string details(const RunOptions& options) const override {
    return std::to_string(options.size_facts) + " facts of a relation";
  }
  [[nodiscard]] std::optional<std::string> skipped(const RunContext& run) const override {
    for (const int64_t id : run.facts.usable()) {
      if (!run.facts.fact(id).held_out.empty()) return {};
    }
    return "needs held-out prompts, which these facts do not have";
  }
  [[nodiscard]] int64_t parts(const RunContext& run, std::string_view relation) const override {
    const Plan plan(run, relation);
    return static_cast<int64_t>(plan.attributed.size() + plan.measured.size());
  }
  [[nodiscard]] int64_t facts(const RunContext& run, std::string_view relation,
                              int64_t part) const override {
    const Plan plan(run, relation);
    const auto at = static_cast<size_t>(part);
    if (at < plan.attributed.size()) return 0;
    const PartRange& range = plan.measured.at(at - plan.attributed.size());
    return static_cast<int64_t>(range.end - range.begin);
  }
  std::vector<TableRows> run(const RunContext& run, std::string_view relation,
                             int64_t part) override {
    const Plan plan(run, relation);
    const auto at = static_cast<size_t>(part);
    if (at < plan.attributed.size()) return attribute_facts(run, plan.of(plan.attributed[at]));
    return measure_facts(run, plan, plan.of(plan.measured.at(at - plan.attributed.size())));
  }

 private:
  /// The facts of a relation that sizes are tried on, and how they are cut.
  struct Plan {
    std::vector<int64_t> chosen;
    std::vector<PartRange> attributed, measured;

    Plan(const RunContext& run, std::string_view relation) {
      std::vector<int64_t> fit;
      for (const int64_t id : run.facts.of(relation)) {
        if (!run.facts.copies(id) && !run.facts.fact(id).held_out.empty()) fit.push_back(id);
      }
      Random random(choice_seed(run.options.seed, "sizes", relation));
      for (const uint64_t i :
           random.sample(fit.size(), static_cast<uint64_t>(run.options.size_facts))) {
        chosen.push_back(fit[i]);
      }
      std::ranges::sort(chosen);
      std::vector<double> attribute_cost;
      std::vector<double> measure_cost;
      for (const int64_t id : chosen) {
        const Fact& fact = run.facts.fact(id);
        const TokenCounts& size = run.facts.size(id);
        attribute_cost.push_back(static_cast<double>(fact.prompts.size()) *
                                 attribution_flops(run, size, kNodesGuess));
        measure_cost.push_back(
            static_cast<double>(fact.held_out.size() * kOrders.size() * kSizes.size()) *
            changed_run_flops(run, size));
      }
      attributed = cut_parts(attribute_cost, kPartFacts, run.part_flops);
      measured = cut_parts(measure_cost, kPartFacts, run.part_flops);
    }
    [[nodiscard]] std::span<const int64_t> of(const PartRange& range) const {
      return std::span(chosen).subspan(range.begin, range.end - range.begin);
    }
    /// Another chosen fact with another object: the next one in the list.
    [[nodiscard]] std::optional<int64_t> other(const RunContext& run, int64_t fact) const {
      const auto own = std::ranges::find(chosen, fact) - chosen.begin();
      for (size_t i = 1; i < chosen.size(); ++i) {
        const int64_t id = chosen[(static_cast<size_t>(own) + i) % chosen.size()];
        if (run.facts.fact(id).object != run.facts.fact(fact).object) return id;
      }
      return {};
    }
  };

  static std::vector<TableRows> attribute_facts(const RunContext& run,
                                                std::span<const int64_t> facts) {
    std::vector<std::vector<Cloze>> bags;
    for (const int64_t id : facts) bags.push_back(std::move(run.facts.prepared(id).prompts));
    const std::vector<at::Tensor> scores =
        Scorer(run.model, run.options.locate.attribution).bags(bags);
    std::vector<Ranked> rows;
    for (size_t f = 0; f < facts.size(); ++f) {
      std::ranges::move(ranked(facts[f], scores[f]), std::back_inserter(rows));
    }
    return {to_rows(std::move(rows))};
  }

  static std::vector<NeuronId> ranking(const RunContext& run, int64_t fact) {
    std::vector<NeuronId> neurons;
    read_rows<Ranked>(run.store, {is(&Ranked::fact, fact)},
                      [&](const Ranked& row) { neurons.push_back(neuron_of(row)); });
    if (neurons.empty()) throw InternalError("sizes: a fact was not attributed");
    return neurons;
  }

  static std::vector<TableRows> measure_facts(const RunContext& run, const Plan& plan,
                                              std::span<const int64_t> facts) {
    std::vector<Cloze> prompts;
    std::vector<std::vector<NeuronChange>> sets;
    std::vector<Trial> trials;
    std::vector<Effect> rows;
    std::vector<size_t> first_trial;  // of each row; its prompts follow each other
    for (const int64_t id : facts) {
      PreparedFact fact = run.facts.prepared(id);
      const auto first = static_cast<uint32_t>(prompts.size());
      std::ranges::move(fact.held_out, std::back_inserter(prompts));
      const std::vector<NeuronId> own = ranking(run, id);
      std::vector<NeuronId> others;
      if (const std::optional<int64_t> other = plan.other(run, id)) others = ranking(run, *other);
      const auto add = [&](const char* order, int64_t k, std::span<const NeuronId> from,
                           int64_t behind) {
        if (std::cmp_less(from.size(), behind + k)) return;
        sets.push_back(
            suppressed(from.subspan(static_cast<size_t>(behind), static_cast<size_t>(k))));
        Effect& row = rows.emplace_back();
        row.fact = id;
        row.order = order;
        row.k = k;
        first_trial.push_back(trials.size());
        for (auto prompt = first; prompt < prompts.size(); ++prompt) {
          trials.push_back({prompt, static_cast<uint32_t>(sets.size() - 1)});
        }
      };
      for (const int64_t k : kSizes) {
        add(kByScore, k, own, 0);
        add(kNextOnes, k, own, k);
        add(kOtherFact, k, others, 0);
      }
    }
    const Measured measured = measure(run.model, prompts, sets, trials, run.measure);
    for (size_t r = 0; r < rows.size(); ++r) {
      Effect& row = rows[r];
      const size_t end = r + 1 < rows.size() ? first_trial[r + 1] : trials.size();
      for (size_t t = first_trial[r]; t < end; ++t) {
        const Answered& before = measured.before[trials[t].cloze];
        const Answered& after = measured.after[t];
        ++row.prompts;
        row.log_odds += before.log_odds;
        row.top += before.top() ? 1 : 0;
        row.change_log_odds += after.log_odds - before.log_odds;
        row.change_p += after.p - before.p;
        row.top_after += after.top() ? 1 : 0;
      }
    }
    return {to_rows(std::move(rows))};
  }
};

}  // namespace

std::unique_ptr<Experiment> make_experiment() { return std::make_unique<SizesExperiment>(); }

}  // namespace engram::experiments::sizes
