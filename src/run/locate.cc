#include <algorithm>
#include <cstring>

#include "engram/attribution/scorer.h"
#include "engram/error.h"
#include "engram/run/experiment.h"
#include "run/parts.h"
#include "run/seeds.h"
#include "run/sets.h"
#include "run/values.h"

namespace engram {
namespace {

constexpr std::string_view kIg = "ig";
constexpr std::string_view kActivation = "activation";  // the baseline

constexpr size_t kPartPrompts = 512;   // of a part, however small the model
constexpr int64_t kAdaptiveNodes = 3;  // of a layer, what the default rule takes on the average

/// A prompt that locates, by its fact.
struct PromptOfFact {
  int64_t fact = 0;
  int64_t prompt = 0;
};

/// Rows of integrated gradients for some prompts, under the name `method`, and with `baseline`
/// those of the activations, which the same pass makes.
class PromptRows {
 public:
  PromptRows(const RunContext& run, std::string_view method, bool baseline)
      : run_(run), method_(method), baseline_(baseline) {}

  void attribute_all(std::span<const PromptOfFact> place, const AttributionOptions& options) {
    std::vector<std::vector<Cloze>> bags;
    std::vector<size_t> first;  // of each bag: the place of its first prompt
    PreparedFact fact;
    for (size_t i = 0; i < place.size(); ++i) {
      if (i == 0 || place[i].fact != place[i - 1].fact) {
        fact = run_.facts.prepared(place[i].fact);
        bags.emplace_back();
        first.push_back(i);
      }
      bags.back().push_back(std::move(fact.prompts[static_cast<size_t>(place[i].prompt)]));
    }
    const SelectionOptions selection = selection_for(run_.options, method_);
    const SelectionOptions of_baseline = selection_for(run_.options, kActivation);
    std::vector<OfPrompt> found(place.size());
    std::vector<OfPrompt> active(baseline_ ? place.size() : 0);
    Scorer(run_.model, options)
        .prompts(bags, [&](size_t bag, size_t prompt, Attribution&& attribution) {
          const size_t i = first[bag] + prompt;
          found[i] = of_prompt(method_, place[i], attribution, attribution.scores, selection);
          if (!baseline_) return;
          active[i] =
              of_prompt(kActivation, place[i], attribution, attribution.activations, of_baseline);
        });
    for (size_t i = 0; i < found.size(); ++i) add(method_, place[i], found[i]);
    for (size_t i = 0; i < active.size(); ++i) add(kActivation, place[i], active[i]);
  }

  void move_to(std::vector<TableRows>& out) {
    for (TableRows* rows : {&attribution_, &score_, &near_, &blob_})
      out.push_back(std::move(*rows));
  }

 private:
  /// What is kept of one prompt.
  struct OfPrompt {
    Row attribution;
    PromptNeurons passing;
    std::vector<std::byte> blob;
  };

  [[nodiscard]] OfPrompt of_prompt(std::string_view method, const PromptOfFact& place,
                                   const Attribution& attribution, const at::Tensor& scores,
                                   const SelectionOptions& selection) const {
    OfPrompt one;
    one.passing = passing_neurons(scores, selection);
    one.attribution = attribution_row(method, place, attribution, one.passing.largest);
    if (run_.options.keep_scores) one.blob = bytes_of(scores);
    return one;
  }

  void add(std::string_view method, const PromptOfFact& place, OfPrompt& one) {
    attribution_.rows.push_back(std::move(one.attribution));
    add_scores(method, place, one.passing.neurons, score_);
    add_scores(method, place, one.passing.near, near_);
    if (one.blob.empty()) return;
    blob_.rows.push_back({std::string(method), place.fact, place.prompt, std::move(one.blob)});
  }

  [[nodiscard]] static Row attribution_row(std::string_view method, const PromptOfFact& place,
                                           const Attribution& attribution, float largest) {
    const bool integrated = method != kActivation;
    double gap = 0;
    double nodes = 0;
    bool converged = true;
    for (const LayerReport& layer : attribution.layers) {
      gap = std::max(gap, layer.gap / std::max(std::abs(layer.delta), 1e-3 * attribution.p));
      nodes += static_cast<double>(layer.nodes);
      converged = converged && layer.converged;
    }
    nodes /= static_cast<double>(attribution.layers.size());
    return {std::string(method),
            place.fact,
            place.prompt,
            real(attribution.p),
            count(attribution.rank),
            real(largest),
            integrated ? real(gap) : Value(),
            integrated ? real(nodes) : Value(),
            flag(!integrated || converged)};
  }

  static void add_scores(std::string_view method, const PromptOfFact& place,
                         std::span<const ScoredNeuron> neurons, TableRows& to) {
    for (const ScoredNeuron& one : neurons) {
      to.rows.push_back({std::string(method), place.fact, place.prompt, count(one.id.layer),
                         count(one.id.neuron), real(one.score)});
    }
  }

  static std::vector<std::byte> bytes_of(const at::Tensor& scores) {
    const at::Tensor plain = scores.contiguous();
    std::vector<std::byte> bytes(static_cast<size_t>(plain.nbytes()));
    std::memcpy(bytes.data(), plain.const_data_ptr<float>(), bytes.size());
    return bytes;
  }

  const RunContext& run_;
  std::string_view method_;
  bool baseline_;
  TableRows attribution_{"attribution", {}};
  TableRows score_{"score", {}};
  TableRows near_{"score_near", {}};
  TableRows blob_{"score_blob", {}};
};

/// The prompts of some facts, cut into parts by what integrated gradients take.
class PromptParts {
 public:
  PromptParts(const RunContext& run, std::span<const int64_t> facts,
              const AttributionOptions& options) {
    std::vector<double> costs;
    const IntegrationOptions& how = options.integration;
    for (const int64_t fact : facts) {
      const double cost = attribution_flops(
          run, run.facts.size(fact), how.steps && !how.interpolate ? *how.steps : kAdaptiveNodes);
      for (size_t i = 0; i < run.facts.fact(fact).prompts.size(); ++i) {
        prompts_.push_back({fact, static_cast<int64_t>(i)});
        costs.push_back(cost);
      }
    }
    ranges_ = cut_parts(costs, kPartPrompts, run.part_flops);
  }

  [[nodiscard]] int64_t parts() const { return static_cast<int64_t>(ranges_.size()); }
  [[nodiscard]] std::span<const PromptOfFact> of(int64_t part) const {
    const PartRange range = ranges_.at(static_cast<size_t>(part));
    return std::span(prompts_).subspan(range.begin, range.end - range.begin);
  }
  /// Facts whose last prompt the part has.
  [[nodiscard]] int64_t facts(int64_t part) const {
    const PartRange range = ranges_.at(static_cast<size_t>(part));
    int64_t count = 0;
    for (size_t i = range.begin; i < range.end; ++i) {
      if (i + 1 == prompts_.size() || prompts_[i + 1].fact != prompts_[i].fact) ++count;
    }
    return count;
  }

 private:
  std::vector<PromptOfFact> prompts_;
  std::vector<PartRange> ranges_;
};

/// What passed on the prompts of some facts, and on how many nothing was positive.
struct StoredBags {
  std::vector<Bag> bags;
  int64_t negative = 0;
};
StoredBags stored_bags(const RunContext& run, std::string_view method,
                       std::span<const int64_t> facts) {
  StoredBags stored;
  for (const int64_t fact : facts) {
    const std::vector<PromptNeurons> prompts = stored_prompts(run.store, method, fact);
    stored.negative += std::ranges::count_if(
        prompts, [](const PromptNeurons& prompt) { return !(prompt.largest > 0); });
    stored.bags.push_back(make_bag(prompts));
  }
  return stored;
}

/// Part 0: the facts of a relation with their prompts; then both scores of all prompts, part by
/// part; the last one is the selection, which needs all of them.
class LocateExperiment : public Experiment {
 public:
  [[nodiscard]] std::string_view name() const override { return "locate"; }
  [[nodiscard]] int version() const override { return 3; }
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
    if (part == 0) return fact_rows(run, relation);
    const PromptParts parts = prompts(run, relation);
    if (part > parts.parts()) return select(run, relation);
    std::vector<TableRows> out;
    PromptRows rows(run, kIg, /*baseline=*/true);
    rows.attribute_all(parts.of(part - 1), run.options.locate.attribution);
    rows.move_to(out);
    return out;
  }

 private:
  static PromptParts prompts(const RunContext& run, std::string_view relation) {
    return {run, run.facts.of(relation), run.options.locate.attribution};
  }

  static std::vector<TableRows> fact_rows(const RunContext& run, std::string_view relation) {
    TableRows facts{"fact", {}};
    TableRows prompts{"prompt", {}};
    int64_t locating = 0;
    int64_t held_out = 0;
    for (const int64_t id : run.facts.of(relation)) {
      const Fact& fact = run.facts.fact(id);
      const auto tokens =
          static_cast<int64_t>(run.facts.prepared(id).prompts.front().answer.size());
      facts.rows.push_back(
          {id, fact.relation, fact.subject, fact.object, tokens, flag(run.facts.copies(id))});
      const auto add = [&](const std::vector<std::string>& texts, bool held) {
        for (size_t i = 0; i < texts.size(); ++i) {
          prompts.rows.push_back({id, flag(held), count(static_cast<int64_t>(i)), texts[i]});
        }
      };
      add(fact.prompts, false);
      add(fact.held_out, true);
      locating += static_cast<int64_t>(fact.prompts.size());
      held_out += static_cast<int64_t>(fact.held_out.size());
    }
    TableRows of_relation{"relation",
                          {{std::string(relation), count(static_cast<int64_t>(facts.rows.size())),
                            locating, held_out}}};
    return {std::move(of_relation), std::move(facts), std::move(prompts)};
  }

  static std::vector<TableRows> select(const RunContext& run, std::string_view relation) {
    std::vector<TableRows> out;
    const std::vector<int64_t>& facts = run.facts.of(relation);
    for (const std::string_view method : {kIg, kActivation}) {
      const StoredBags stored = stored_bags(run, method, facts);
      const RelationSelection selection =
          select_neurons(stored.bags, selection_for(run.options, method));
      for (TableRows& rows :
           selection_rows(run, method, relation, facts, selection, stored.negative)) {
        out.push_back(std::move(rows));
      }
    }
    return out;
  }
};

/// The paper's released rule, by which a sample of the facts is attributed again.
constexpr int64_t kReleasedSteps = 20;
constexpr std::string_view kOtherRule = "ig-riemann-left";

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
    PromptRows rows(run, kOtherRule, /*baseline=*/false);
    rows.attribute_all(parts.of(part - 1), other_rule(run));
    std::vector<TableRows> out;
    rows.move_to(out);
    return out;
  }

 private:
  static std::vector<TableRows> halves(const RunContext& run, std::string_view relation) {
    const std::vector<int64_t>& facts = run.facts.of(relation);
    std::vector<std::vector<PromptNeurons>> stored;
    size_t fewest = SIZE_MAX;
    size_t most = 0;
    for (const int64_t fact : facts) {
      stored.push_back(stored_prompts(run.store, "ig", fact));
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
        negative += std::ranges::count_if(
            mine, [](const PromptNeurons& prompt) { return !(prompt.largest > 0); });
        bags.push_back(make_bag(mine));
      }
      const RelationSelection selection = select_neurons(bags, selection_for(run.options, "ig"));
      for (TableRows& rows : selection_rows(run, half == 0 ? "ig-half-0" : "ig-half-1", relation,
                                            facts, selection, negative)) {
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
    const StoredBags stored = stored_bags(run, kOtherRule, chosen);
    // The share of prompts is that of the sets which these are compared with: it belongs to the
    // whole relation.
    SelectionOptions selection = selection_for(run.options, kOtherRule);
    const std::vector<Row> stands = run.store.read(
        "selection", {{"source", std::string("ig")}, {"relation", std::string(relation)}});
    if (stands.empty()) throw InternalError("stability before locate");
    selection.share = real_of(stands.front()[run_table("selection").column("share")]);
    selection.adapt = false;
    return selection_rows(run, kOtherRule, relation, chosen, select_neurons(stored.bags, selection),
                          stored.negative);
  }
};

}  // namespace

std::unique_ptr<Experiment> make_locate_experiment() {
  return std::make_unique<LocateExperiment>();
}
std::unique_ptr<Experiment> make_stability_experiment() {
  return std::make_unique<StabilityExperiment>();
}

}  // namespace engram
