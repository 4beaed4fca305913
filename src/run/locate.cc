#include <algorithm>
#include <cstring>

#include "engram/error.h"
#include "engram/run/experiment.h"
#include "run/parts.h"
#include "run/sets.h"
#include "run/values.h"

namespace engram {
namespace {

constexpr std::array<std::pair<std::string_view, Score>, 2> kMethods = {
    {{"ig", Score::kIntegratedGradients}, {"activation", Score::kActivation}}};

/// Rows of one method for the prompts of some facts.
class PromptRows {
 public:
  PromptRows(const RunContext& run, std::string_view method) : run_(run), method_(method) {}

  void attribute_all(std::span<const PreparedFact> facts, const AttributionOptions& options) {
    std::vector<AttributionQuery> queries;
    std::vector<Probe> probes;
    std::vector<std::pair<int64_t, int64_t>> place;  // (fact, prompt)
    for (const PreparedFact& fact : facts) {
      for (size_t i = 0; i < fact.prompts.size(); ++i) {
        const Probe& probe = fact.prompts[i];
        queries.push_back({probe.ids, probe.positions, probe.answer, {}});
        probes.push_back(probe);
        place.emplace_back(static_cast<int64_t>(fact.index), static_cast<int64_t>(i));
      }
    }
    const Measured measured = measure(run_.model, probes, {}, {}, run_.measure);
    const SelectionOptions selection = selection_for(run_.options, method_);
    std::vector<Row> attributions(queries.size());
    std::vector<PromptNeurons> passing(queries.size());
    std::vector<std::vector<std::byte>> blobs(run_.options.keep_scores ? queries.size() : 0);
    attribute(run_.model, queries, options, [&](size_t i, Attribution&& attribution) {
      passing[i] = passing_neurons(attribution.scores, selection);
      attributions[i] =
          attribution_row(place[i], attribution, passing[i].largest, measured.before[i].rank,
                          options.score == Score::kIntegratedGradients);
      if (!blobs.empty()) blobs[i] = bytes_of(attribution.scores);
    });
    passing_ = passing;
    for (size_t i = 0; i < queries.size(); ++i) {
      attribution_.rows.push_back(std::move(attributions[i]));
      for (const ScoredNeuron& one : passing[i].neurons) {
        score_.rows.push_back({std::string(method_), place[i].first, place[i].second,
                               count(one.id.layer), count(one.id.neuron), real(one.score)});
      }
      if (!blobs.empty()) {
        blob_.rows.push_back(
            {std::string(method_), place[i].first, place[i].second, std::move(blobs[i])});
      }
    }
  }

  /// What passed, fact by fact as given to attribute_all().
  [[nodiscard]] std::vector<Bag> bags(std::span<const PreparedFact> facts) const {
    std::vector<Bag> bags;
    size_t next = 0;
    for (const PreparedFact& fact : facts) {
      bags.push_back(make_bag(std::span(passing_).subspan(next, fact.prompts.size())));
      next += fact.prompts.size();
    }
    return bags;
  }
  [[nodiscard]] int64_t negative() const {
    return std::ranges::count_if(passing_,
                                 [](const PromptNeurons& prompt) { return !(prompt.largest > 0); });
  }

  void move_to(std::vector<TableRows>& out) {
    for (TableRows* rows : {&attribution_, &score_, &blob_}) out.push_back(std::move(*rows));
  }

 private:
  [[nodiscard]] Row attribution_row(const std::pair<int64_t, int64_t>& place,
                                    const Attribution& attribution, float largest, int64_t rank,
                                    bool integrated) const {
    double gap = 0;
    double nodes = 0;
    bool converged = true;
    for (const LayerReport& layer : attribution.layers) {
      gap = std::max(gap, layer.gap / std::max(std::abs(layer.delta), 1e-3 * attribution.p));
      nodes += static_cast<double>(layer.nodes);
      converged = converged && layer.converged;
    }
    nodes /= static_cast<double>(attribution.layers.size());
    return {std::string(method_),
            place.first,
            place.second,
            real(attribution.p),
            count(rank),
            real(largest),
            integrated ? real(gap) : Value(),
            integrated ? real(nodes) : Value(),
            flag(converged)};
  }

  static std::vector<std::byte> bytes_of(const at::Tensor& scores) {
    const at::Tensor plain = scores.contiguous();
    std::vector<std::byte> bytes(static_cast<size_t>(plain.nbytes()));
    std::memcpy(bytes.data(), plain.const_data_ptr<float>(), bytes.size());
    return bytes;
  }

  const RunContext& run_;
  std::string_view method_;
  std::vector<PromptNeurons> passing_;
  TableRows attribution_{"attribution", {}};
  TableRows score_{"score", {}};
  TableRows blob_{"score_blob", {}};
};

std::vector<PreparedFact> prepared_part(const RunContext& run, std::string_view relation,
                                        int64_t part) {
  std::vector<PreparedFact> facts;
  for (const int64_t id : part_of(run.facts.of(relation), part)) {
    facts.push_back(run.facts.prepared(id));
  }
  return facts;
}

/// The facts of a relation with their prompts; both scores of all prompts, part by part; then the
/// selection, which needs all of them.
class LocateExperiment : public Experiment {
 public:
  [[nodiscard]] std::string_view name() const override { return "locate"; }
  [[nodiscard]] int64_t parts(const RunContext& run, std::string_view relation) const override {
    return fact_parts(run, relation) + 2;
  }
  [[nodiscard]] int64_t facts(const RunContext& run, std::string_view relation,
                              int64_t part) const override {
    if (part == 0 || part == fact_parts(run, relation) + 1) return 0;
    return static_cast<int64_t>(part_of(run.facts.of(relation), part - 1).size());
  }
  std::vector<TableRows> run(const RunContext& run, std::string_view relation,
                             int64_t part) override {
    if (part == 0) return fact_rows(run, relation);
    if (part == fact_parts(run, relation) + 1) return select(run, relation);
    const std::vector<PreparedFact> facts = prepared_part(run, relation, part - 1);
    std::vector<TableRows> out;
    for (const auto& [method, score] : kMethods) {
      AttributionOptions options = run.options.locate.attribution;
      options.score = score;
      PromptRows rows(run, method);
      rows.attribute_all(facts, options);
      rows.move_to(out);
    }
    return out;
  }

 private:
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
    for (const auto& [method, score] : kMethods) {
      std::vector<Bag> bags;
      int64_t negative = 0;
      for (const int64_t fact : facts) {
        const std::vector<PromptNeurons> prompts = stored_prompts(run.store, method, fact);
        negative += std::ranges::count_if(
            prompts, [](const PromptNeurons& prompt) { return !(prompt.largest > 0); });
        bags.push_back(make_bag(prompts));
      }
      const RelationSelection selection = select_neurons(bags, selection_for(run.options, method));
      for (TableRows& rows : selection_rows(run, method, relation, facts, selection, negative)) {
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
/// disjoint halves of the prompts, part 1 attributes a seeded sample of facts by another rule.
class StabilityExperiment : public Experiment {
 public:
  [[nodiscard]] std::string_view name() const override { return "stability"; }
  [[nodiscard]] std::vector<std::string_view> needs() const override { return {"locate"}; }
  [[nodiscard]] int64_t parts(const RunContext&, std::string_view) const override { return 2; }
  [[nodiscard]] int64_t facts(const RunContext& run, std::string_view relation,
                              int64_t part) const override {
    return part == 0 ? 0 : static_cast<int64_t>(sample(run, relation).size());
  }
  std::vector<TableRows> run(const RunContext& run, std::string_view relation,
                             int64_t part) override {
    return part == 0 ? halves(run, relation) : other_rule(run, relation);
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

  static std::vector<TableRows> other_rule(const RunContext& run, std::string_view relation) {
    std::vector<PreparedFact> facts;
    const std::vector<int64_t> chosen = sample(run, relation);
    for (const int64_t id : chosen) facts.push_back(run.facts.prepared(id));
    AttributionOptions options = run.options.locate.attribution;
    options.score = Score::kIntegratedGradients;
    options.rule = Rule::kRiemannLeft;
    options.steps = kReleasedSteps;
    PromptRows rows(run, kOtherRule);
    rows.attribute_all(facts, options);
    const std::vector<Bag> bags = rows.bags(facts);
    // The share of prompts is that of the sets which these are compared with: it belongs to the
    // whole relation.
    SelectionOptions selection = selection_for(run.options, kOtherRule);
    const std::vector<Row> stands = run.store.read(
        "selection", {{"source", std::string("ig")}, {"relation", std::string(relation)}});
    if (stands.empty()) throw InternalError("stability before locate");
    selection.share = real_of(stands.front()[run_table("selection").column("share")]);
    selection.adapt = false;
    std::vector<TableRows> out;
    const RelationSelection selected = select_neurons(bags, selection);
    for (TableRows& one :
         selection_rows(run, kOtherRule, relation, chosen, selected, rows.negative())) {
      out.push_back(std::move(one));
    }
    rows.move_to(out);
    return out;
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
