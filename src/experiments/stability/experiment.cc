#include <algorithm>

#include "base/random.h"
#include "engram/error.h"
#include "engram/run/experiment.h"
#include "engram/sources.h"
#include "experiments/locate/rows.h"
#include "run/prompt_scores.h"
#include "run/seeds.h"
#include "run/sets.h"

namespace engram::experiments::stability {
namespace {

using locate::SelectionRow;

/// The paper's released rule, by which a sample of the facts is attributed again.
constexpr int64_t kReleasedSteps = 20;

/// How much of a fact's set depends on the prompts and on the rule: part 0 chooses sets from two
/// disjoint halves of the prompts; the next ones attribute the prompts of a seeded sample of facts
/// by another rule, and the last one chooses sets from those.
class StabilityExperiment : public Experiment {
 public:
  [[nodiscard]] std::string_view name() const override { return "stability"; }
  [[nodiscard]] std::vector<std::string_view> needs() const override { return {"locate"}; }
  [[nodiscard]] int version() const override { return 1; }
  [[nodiscard]] int64_t parts(const RunContext& run, std::string_view relation) const override {
    return prompts(run, relation).parts() + 2;
  }
  [[nodiscard]] int64_t facts(const RunContext& run, std::string_view relation,
                              int64_t part) const override {
    const PromptParts parts = prompts(run, relation);
    return part == 0 || part > parts.parts() ? 0 : parts.facts(part - 1);
  }
  std::vector<TableRows> run(const RunContext& run, std::string_view relation,
                             int64_t part) override {
    if (part == 0) return halves(run, relation);
    const PromptParts parts = prompts(run, relation);
    if (part > parts.parts()) return select(run, relation);
    return score_rows(run, sources::kReleasedRule, /*baseline=*/false, parts.of(part - 1),
                      other_rule(run));
  }

 private:
  static std::vector<TableRows> halves(const RunContext& run, std::string_view relation) {
    const std::vector<int64_t>& facts = run.facts.of(relation);
    std::vector<std::vector<PromptNeurons>> stored;
    size_t fewest = SIZE_MAX;
    size_t most = 0;
    for (const int64_t fact : facts) {
      stored.push_back(stored_prompts(run.store, sources::kIg, fact));
      fewest = std::min(fewest, stored.back().size());
      most = std::max(most, stored.back().size());
    }
    if (fewest < 2 * static_cast<size_t>(kLocatingPrompts)) return {};
    // One split for the whole relation: where prompts are patterns, facts agree on them.
    std::vector<size_t> order(most);
    for (size_t i = 0; i < most; ++i) order[i] = i;
    Random random(choice_seed(run.options.seed, "halves", relation));
    random.shuffle(order);
    std::vector<TableRows> out;
    for (size_t half = 0; half < 2; ++half) {
      std::vector<Bag> bags;
      int64_t negative = 0;
      for (const std::vector<PromptNeurons>& prompts : stored) {
        std::vector<PromptNeurons> mine;
        size_t place = 0;
        for (const size_t i : order) {
          if (i < prompts.size() && place++ % 2 == half) mine.push_back(prompts[i]);
        }
        negative += count_negative(mine);
        bags.push_back(make_bag(mine));
      }
      const RelationSelection selection =
          select_neurons(bags, selection_for(run.options, sources::kIg));
      for (TableRows& rows : selection_rows(run, half == 0 ? sources::kHalf0 : sources::kHalf1,
                                            relation, facts, selection, negative)) {
        out.push_back(std::move(rows));
      }
    }
    return out;
  }

  static std::vector<int64_t> sample(const RunContext& run, std::string_view relation) {
    const std::vector<int64_t>& facts = run.facts.of(relation);
    Random random(choice_seed(run.options.seed, "another rule", relation));
    std::vector<int64_t> chosen;
    for (const uint64_t i :
         random.sample(facts.size(), static_cast<uint64_t>(run.options.stability_facts))) {
      chosen.push_back(facts[i]);
    }
    std::ranges::sort(chosen);
    return chosen;
  }

  static AttributionOptions other_rule(const RunContext& run) {
    AttributionOptions options = run.options.locate.attribution;
    options.score = Score::kIntegratedGradients;
    options.integration.rule = Rule::kRiemannLeft;
    options.integration.steps = kReleasedSteps;
    return options;
  }

  static PromptParts prompts(const RunContext& run, std::string_view relation) {
    return {run, sample(run, relation), other_rule(run)};
  }

  static std::vector<TableRows> select(const RunContext& run, std::string_view relation) {
    const std::vector<int64_t> chosen = sample(run, relation);
    const StoredBags stored = stored_bags(run, sources::kReleasedRule, chosen);
    // The share of prompts is that of the sets which these are compared with: it belongs to the
    // whole relation.
    SelectionOptions selection = selection_for(run.options, sources::kReleasedRule);
    const auto stands = read_all<SelectionRow>(run.store, {is(&SelectionRow::source, sources::kIg),
                                                           is(&SelectionRow::relation, relation)});
    if (stands.empty()) throw InternalError("stability before locate");
    selection.share = stands.front().share;
    selection.adapt = false;
    return selection_rows(run, sources::kReleasedRule, relation, chosen,
                          select_neurons(stored.bags, selection), stored.negative);
  }
};

}  // namespace

std::unique_ptr<Experiment> make_experiment() { return std::make_unique<StabilityExperiment>(); }

}  // namespace engram::experiments::stability
