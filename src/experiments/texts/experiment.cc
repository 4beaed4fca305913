#include <algorithm>
#include <map>
#include <memory>
#include <unordered_set>

#include "engram/neurons/matched.h"
#include "engram/run/experiment.h"
#include "engram/sources.h"
#include "experiments/texts/experiment_activations.h"
#include "experiments/texts/rows.h"
#include "run/parts.h"
#include "run/seeds.h"
#include "run/sets.h"

namespace engram::experiments::texts {
namespace {

constexpr int64_t kTextsPerKind = 10;  // of a fact
constexpr int64_t kTextDraws = 5;      // random sets of a fact

/// A fact of a part that has texts, with its neuron sets in the order of `rows`.
struct TextFact {
  int64_t id = 0;
  struct SetName {
    std::string source;
    int64_t draw;
  };
  std::vector<SetName> names;
  std::vector<std::vector<NeuronId>> sets;
};

/// Activation of each fact's neurons on texts that hold its names. Facts without texts of both and
/// of head are left out, as by the paper's code, so that the kinds speak of the same facts.
class TextsExperiment : public FactExperiment {
 public:
  [[nodiscard]] std::string_view name() const override { return "texts"; }
  [[nodiscard]] int version() const override { return 1; }
  [[nodiscard]] std::optional<std::string> skipped(const RunContext& run) const override {
    if (run.options.texts.empty()) return "no folder of texts was given (--texts)";
    return not_all_located(run);
  }

  std::vector<TableRows> run(const RunContext& run, std::string_view relation,
                             int64_t part) override {
    open(run, relation);
    std::vector<TextFact> facts;
    std::vector<TextClozes> clozes;
    for (const int64_t id : part_of(run, relation, part)) {
      const Fact& fact = run.facts.fact(id);
      const auto found = texts_.find({fact.subject, fact.object});
      if (found == texts_.end() || run.facts.copies(id)) continue;
      const FactTexts& texts = found->second;
      if (texts.of(TextKind::kBoth).empty() || texts.of(TextKind::kHead).empty()) continue;
      clozes.push_back(text_clozes(texts, objects_, run.tokenizer, run.model.config(),
                                   choice_seed(run.options.seed, "texts masks", fact),
                                   run.options.as_published));
      facts.push_back(sets_of(run, id));
    }
    std::vector<std::vector<std::vector<NeuronId>>> sets;
    for (const TextFact& fact : facts) sets.push_back(fact.sets);
    const TextActivations found = text_activations(run.model, clozes, sets, run.measure);
    std::vector<TableRows> rows = rows_of(facts, clozes, found);
    if (part == 0) rows.push_back(problem_rows(relation));
    return rows;
  }

 protected:
  /// Every text under every mask that applies to its kind.
  [[nodiscard]] double cost(const RunContext& run, int64_t /*fact*/) const override {
    int64_t texts = 0;
    for (const TextKind kind : kTextKinds) {
      for (const TextMask mask : kTextMasks) {
        if (text_mask_applies(kind, mask)) texts += kTextsPerKind;
      }
    }
    return static_cast<double>(texts) * run_flops(run, text_size(run));
  }

 private:
  /// What all parts of a relation share.
  void open(const RunContext& run, std::string_view relation) {
    if (!source_) {
      source_.emplace(run.options.texts, kTextsPerKind, run.options.seed);
    }
    if (relation_ == relation) return;
    relation_ = relation;
    texts_ = source_->of(relation_);
    objects_.clear();
    for (const int64_t id : run.facts.of(relation)) objects_.push_back(run.facts.fact(id).object);
    std::ranges::sort(objects_);
    objects_.erase(std::unique(objects_.begin(), objects_.end()), objects_.end());
    if (sampler_) return;
    // No neuron of either method that is shown, whatever the fact.
    std::unordered_set<NeuronId> located = located_of_run(run);
    const std::unordered_set<NeuronId>& active = located_of_run(run, sources::kActivation);
    located.insert(active.begin(), active.end());
    sampler_.emplace(run.model, std::move(located));
  }

  /// The fact's located neurons, the baseline's, and random ones; none that is empty.
  [[nodiscard]] TextFact sets_of(const RunContext& run, int64_t id) const {
    TextFact fact;
    fact.id = id;
    const auto add = [&](std::string_view source, int64_t draw, std::vector<NeuronId> set) {
      if (set.empty()) return;
      fact.names.push_back({std::string(source), draw});
      fact.sets.push_back(std::move(set));
    };
    const std::vector<NeuronId> located = stored_neurons(run.store, sources::kIg, id);
    add(sources::kIg, 0, located);
    add(sources::kActivation, 0, stored_neurons(run.store, sources::kActivation, id));
    MatchedSets random =
        sampler_->draw(located, MatchStrength::kLayer, {}, {}, kTextDraws,
                       choice_seed(run.options.seed, "texts draws", run.facts.fact(id)));
    for (size_t draw = 0; draw < random.draws.size(); ++draw) {
      add(sources::kRandomLayer, static_cast<int64_t>(draw), std::move(random.draws[draw]));
    }
    return fact;
  }

  static std::vector<TableRows> rows_of(const std::vector<TextFact>& facts,
                                        const std::vector<TextClozes>& clozes,
                                        const TextActivations& found) {
    std::vector<TextActivationRow> activations;
    std::vector<TextOddsRow> odds;
    std::vector<TextCountRow> counts;
    for (size_t f = 0; f < facts.size(); ++f) {
      for (size_t c = 0; c < clozes[f].counts.size(); ++c) {
        const TextCount& one = clozes[f].counts[c];
        const std::string kind = text_kind_name(one.kind);
        const std::string mask = text_mask_name(one.mask);
        counts.push_back({facts[f].id, kind, mask, one.texts, one.too_long, one.unfit});
        for (size_t s = 0; s < facts[f].sets.size() && one.texts > 0; ++s) {
          const TextFact::SetName& set = facts[f].names[s];
          TextActivationRow& active = activations.emplace_back();
          active.fact = facts[f].id;
          active.source = set.source;
          active.kind = kind;
          active.mask = mask;
          active.draw = set.draw;
          active.texts = one.texts;
          active.sum = found.sums[f][s][c];
          const OddsSums& o = found.odds[f][s][c];
          if (o.texts == 0) continue;
          TextOddsRow& row = odds.emplace_back();
          row.fact = facts[f].id;
          row.source = set.source;
          row.kind = kind;
          row.mask = mask;
          row.draw = set.draw;
          row.texts = o.texts;
          row.log_odds = o.x;
          row.activation = o.y;
          row.log_odds_squared = o.xx;
          row.product = o.xy;
        }
      }
    }
    return {to_rows(std::move(activations)), to_rows(std::move(odds)), to_rows(std::move(counts))};
  }

  [[nodiscard]] TableRows problem_rows(std::string_view relation) const {
    std::vector<TextProblemRow> rows;
    for (const FactProblem& problem : source_->problems(relation_)) {
      rows.push_back({std::string(relation), problem.line, problem.message});
    }
    return to_rows(std::move(rows));
  }

  std::optional<TextSource> source_;
  std::string relation_;
  std::map<std::pair<std::string, std::string>, FactTexts> texts_;
  std::vector<std::string> objects_;  ///< of the relation, each once
  std::optional<MatchedSampler> sampler_;
};

}  // namespace

std::unique_ptr<Experiment> make_experiment() { return std::make_unique<TextsExperiment>(); }

}  // namespace engram::experiments::texts
