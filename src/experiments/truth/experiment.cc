// What every neuron does, alone: the yardstick of scores (docs/method.md, "Complete truth").
#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <utility>

#include "engram/attribution/scorer.h"
#include "engram/intervention/measure.h"
#include "engram/run/experiment.h"
#include "experiments/screen/groups.h"
#include "experiments/truth/rows.h"
#include "run/blobs.h"
#include "run/seeds.h"
#include "statistics/correlation.h"

namespace engram::experiments::truth {
namespace {

constexpr size_t kPrompts = 2;  ///< of a fact
constexpr size_t kTop = 10;

/// A prompt whose neurons are all tried.
struct Place {
  int64_t fact = 0;
  int64_t prompt = 0;
};

/// A prompt is a part: its ablations take as many forwards as the model has neurons.
class TruthExperiment : public Experiment {
 public:
  [[nodiscard]] std::string_view name() const override { return "truth"; }
  [[nodiscard]] int version() const override { return 1; }
  [[nodiscard]] std::string details(const RunOptions& options) const override {
    return options.truth_facts > 0 ? std::to_string(options.truth_facts) + " facts" : "";
  }
  [[nodiscard]] bool of_audit() const override { return true; }
  [[nodiscard]] bool across() const override { return true; }
  [[nodiscard]] std::vector<std::string_view> needs() const override { return {"locate"}; }
  [[nodiscard]] std::optional<std::string> skipped(const RunContext& run) const override {
    if (run.options.truth_facts == 0) return "needs --truth-facts";
    if (places(run).empty()) return "needs facts that the model knows; it knows none of these";
    return {};
  }
  [[nodiscard]] int64_t parts(const RunContext& run, std::string_view) const override {
    return std::ssize(places(run));
  }
  [[nodiscard]] int64_t facts(const RunContext& run, std::string_view,
                              int64_t part) const override {
    return first_of_fact(run, static_cast<size_t>(part)) ? 1 : 0;
  }

  std::vector<TableRows> run(const RunContext& run, std::string_view, int64_t part) override {
    const auto at = static_cast<size_t>(part);
    const Place place = places(run).at(at);
    const std::vector<std::vector<Cloze>> bag = {
        {run.facts.prepared(place.fact).prompts.at(static_cast<size_t>(place.prompt))}};
    const auto score = [&](Score which, const at::Tensor& to) {
      AttributionOptions options = run.options.locate.attribution;
      options.score = which;
      options.gap = which == Score::kIntegratedGradients;
      options.ablate_to = to;
      Attribution found;
      Scorer(run.model, options).prompts(bag, [&](size_t, size_t, Attribution&& one) {
        found = std::move(one);
      });
      return found;
    };
    const Attribution zero = score(Score::kAblation, {});
    const Attribution mean = score(Score::kAblation, mean_activations(run));
    TruthRow truth;
    truth.fact = place.fact;
    truth.prompt = place.prompt;
    truth.text = run.facts.fact(place.fact).prompts.at(static_cast<size_t>(place.prompt));
    truth.p = zero.p;
    truth.zero = bytes_of(zero.scores);
    truth.mean = bytes_of(mean.scores);
    truth.activation = bytes_of(zero.activations);

    const std::vector<float> at_zero = floats_of(truth.zero);
    const std::vector<float> at_mean = floats_of(truth.mean);
    std::vector<TruthScoreRow> rows;
    const auto add = [&](std::string_view method, std::span<const float> to_zero,
                         std::span<const float> to_mean) {
      const size_t top = std::min(kTop, at_zero.size());
      rows.push_back({place.fact, place.prompt, std::string(method),
                      rank_correlation(to_zero, at_zero), shared_largest(to_zero, at_zero, top),
                      rank_correlation(to_mean, at_mean), shared_largest(to_mean, at_mean, top)});
    };
    for (const std::string_view method : kMethods) {
      if (method == kCeiling) continue;
      const std::vector<float> scores = floats_of(bytes_of(score(parse_score(method), {}).scores));
      add(method, scores, scores);
    }
    if (!first_of_fact(run, at)) {
      const int64_t other = places(run).at(at - 1).prompt;
      for (const TruthRow& row : read_all<TruthRow>(
               run.store, {is(&TruthRow::fact, place.fact), is(&TruthRow::prompt, other)})) {
        add(kCeiling, floats_of(row.zero), floats_of(row.mean));
      }
    }
    return {to_rows(std::vector{std::move(truth)}), to_rows(std::move(rows))};
  }

 private:
  [[nodiscard]] bool first_of_fact(const RunContext& run, size_t part) const {
    return part == 0 || places(run)[part].fact != places(run)[part - 1].fact;
  }

  /// Known facts, one of each relation in turn, with two of their prompts.
  [[nodiscard]] const std::vector<Place>& places(const RunContext& run) const {
    if (facts_ == &run.facts) return places_;
    facts_ = &run.facts;
    mean_ = at::Tensor();
    places_.clear();
    const std::set<int64_t> ids_known = screen::known_facts(run.store);
    std::vector<Fact> known;
    std::map<std::string, int64_t> ids;
    for (const int64_t id : run.facts.usable()) {
      if (!ids_known.contains(id)) continue;
      const Fact& fact = run.facts.fact(id);
      ids[fact.relation + '\n' + fact.subject + '\n' + fact.object] = id;
      known.push_back(fact);
    }
    if (known.empty()) return places_;
    FactChoice choice;
    choice.limit = run.options.truth_facts;
    for (const Fact& fact : choose_facts(known, choice, run.options.seed, "the run")) {
      const int64_t id = ids.at(fact.relation + '\n' + fact.subject + '\n' + fact.object);
      Random random(choice_seed(run.options.seed, "truth prompts", fact));
      for (const uint64_t prompt : random.sample(fact.prompts.size(), kPrompts)) {
        places_.push_back({id, static_cast<int64_t>(prompt)});
      }
    }
    return places_;
  }

  /// Over the first prompt of every fact of the audit, [layers, d_ff].
  [[nodiscard]] const at::Tensor& mean_activations(const RunContext& run) const {
    if (!mean_.defined()) {
      std::vector<Cloze> prompts;
      for (const int64_t id : run.facts.usable()) {
        prompts.push_back(run.facts.prepared(id).prompts.front());
      }
      mean_ = mask_activations(run.model, prompts, run.measure).mean(0).contiguous();
    }
    return mean_;
  }

  mutable const RunFacts* facts_ = nullptr;
  mutable std::vector<Place> places_;
  mutable at::Tensor mean_;
};

}  // namespace

std::unique_ptr<Experiment> make_experiment() { return std::make_unique<TruthExperiment>(); }

}  // namespace engram::experiments::truth
