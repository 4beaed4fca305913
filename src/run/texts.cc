#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_set>

#include "engram/evaluation/texts.h"
#include "engram/evaluation/top_texts.h"
#include "engram/neurons/matched.h"
#include "engram/run/experiment.h"
#include "run/parts.h"
#include "run/seeds.h"
#include "run/sets.h"
#include "run/values.h"

namespace engram {
namespace {

constexpr int64_t kTextsPerKind = 10;  // of a fact
constexpr int64_t kTextDraws = 5;      // random sets of a fact
constexpr int64_t kHubs = 5;           // of a relation, whose extreme texts are kept
constexpr int64_t kExamples = 5;       // of a neuron and end
constexpr int64_t kCorpusLines = 3000;

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
    const auto repeated = std::ranges::unique(objects_);
    objects_.erase(repeated.begin(), repeated.end());
    if (sampler_) return;
    // No neuron of either method that is shown, whatever the fact.
    std::unordered_set<NeuronId> located = located_of_run(run);
    const std::unordered_set<NeuronId>& active = located_of_run(run, "activation");
    located.insert(active.begin(), active.end());
    sampler_.emplace(run.model, std::move(located));
  }

  /// The fact's located neurons, the baseline's, and random ones; none that is empty.
  [[nodiscard]] TextFact sets_of(const RunContext& run, int64_t id) const {
    TextFact fact;
    fact.id = id;
    const auto add = [&](const std::string& source, int64_t draw, std::vector<NeuronId> set) {
      if (set.empty()) return;
      fact.names.push_back({source, draw});
      fact.sets.push_back(std::move(set));
    };
    const std::vector<NeuronId> located = stored_neurons(run.store, "ig", id);
    add("ig", 0, located);
    add("activation", 0, stored_neurons(run.store, "activation", id));
    MatchedSets random =
        sampler_->draw(located, MatchStrength::kLayer, {}, {}, kTextDraws,
                       choice_seed(run.options.seed, "texts draws", run.facts.fact(id)));
    for (size_t draw = 0; draw < random.draws.size(); ++draw) {
      add("random-layer", static_cast<int64_t>(draw), std::move(random.draws[draw]));
    }
    return fact;
  }

  static std::vector<TableRows> rows_of(const std::vector<TextFact>& facts,
                                        const std::vector<TextClozes>& clozes,
                                        const TextActivations& found) {
    TableRows activations{"text_activation", {}};
    TableRows odds{"text_odds", {}};
    TableRows counts{"text_count", {}};
    for (size_t f = 0; f < facts.size(); ++f) {
      for (size_t c = 0; c < clozes[f].counts.size(); ++c) {
        const TextCount& one = clozes[f].counts[c];
        const std::string kind = text_kind_name(one.kind);
        const std::string mask = text_mask_name(one.mask);
        counts.rows.push_back(
            {facts[f].id, kind, mask, count(one.texts), count(one.too_long), count(one.unfit)});
        for (size_t s = 0; s < facts[f].sets.size() && one.texts > 0; ++s) {
          activations.rows.push_back({facts[f].id, facts[f].names[s].source, kind, mask,
                                      count(facts[f].names[s].draw), count(one.texts),
                                      real(found.sums[f][s][c])});
          const OddsSums& o = found.odds[f][s][c];
          if (o.texts == 0) continue;
          odds.rows.push_back({facts[f].id, facts[f].names[s].source, kind, mask,
                               count(facts[f].names[s].draw), count(o.texts), real(o.x), real(o.y),
                               real(o.xx), real(o.xy)});
        }
      }
    }
    return {std::move(activations), std::move(odds), std::move(counts)};
  }

  [[nodiscard]] TableRows problem_rows(std::string_view relation) const {
    TableRows rows{"text_problem", {}};
    for (const FactProblem& problem : source_->problems(relation_)) {
      rows.rows.push_back({std::string(relation), count(problem.line), problem.message});
    }
    return rows;
  }

  std::optional<TextSource> source_;
  std::string relation_;
  std::map<std::pair<std::string, std::string>, FactTexts> texts_;
  std::vector<std::string> objects_;  ///< of the relation, each once
  std::optional<MatchedSampler> sampler_;
};

/// Extreme texts of the relations' most frequent neurons in the first lines of the corpus: every
/// part but the last looks at a stretch of lines, the last one chooses among what they have found.
class ExamplesExperiment : public Experiment {
 public:
  [[nodiscard]] std::string_view name() const override { return "examples"; }
  [[nodiscard]] int version() const override { return 1; }
  [[nodiscard]] std::vector<std::string_view> needs() const override { return {"locate"}; }
  [[nodiscard]] std::optional<std::string> skipped(const RunContext& run) const override {
    if (run.options.corpus.empty()) return "no file of ordinary text was given (--corpus)";
    return {};
  }
  [[nodiscard]] bool across() const override { return true; }
  [[nodiscard]] int64_t parts(const RunContext& run, std::string_view /*relation*/) const override {
    return static_cast<int64_t>(stretches(run).size()) + 1;
  }
  [[nodiscard]] int64_t facts(const RunContext& /*run*/, std::string_view /*relation*/,
                              int64_t /*part*/) const override {
    return 0;
  }

  std::vector<TableRows> run(const RunContext& run, std::string_view /*relation*/,
                             int64_t part) override {
    const std::vector<PartRange> lines = stretches(run);
    if (part == static_cast<int64_t>(lines.size())) return {choose(run, part)};
    return {look(run, part, lines.at(static_cast<size_t>(part)))};
  }

 private:
  static std::vector<PartRange> stretches(const RunContext& run) {
    const std::vector<double> costs(kCorpusLines, run_flops(run, text_size(run)));
    return cut_parts(costs, kCorpusLines, run.part_flops);
  }

  /// Rows of the table behind the key's place: activation, text and tokens.
  struct Example {
    double activation = 0;
    std::string text;
    std::string tokens;
  };

  static TableRows look(const RunContext& run, int64_t part, PartRange lines) {
    std::set<NeuronId> neurons;
    for (const std::string& relation : run.facts.relations()) {
      for (const NeuronId id : hubs(run, relation)) neurons.insert(id);
    }
    TableRows rows{"text_candidate", {}};
    if (neurons.empty()) return rows;
    TopTextsOptions options;
    options.top = kExamples;
    options.first = static_cast<int64_t>(lines.begin);
    options.limit = static_cast<int64_t>(lines.end - lines.begin);
    options.need_text = false;
    options.measure = run.measure;
    const std::vector<NeuronId> wanted(neurons.begin(), neurons.end());
    const TopTexts found = top_texts(run.model, run.tokenizer, run.options.corpus, wanted, options);
    for (const NeuronTexts& one : found.neurons) {
      for (const bool lowest : {false, true}) {
        int64_t place = 0;
        for (const TextExample& example : lowest ? one.lowest : one.highest) {
          rows.rows.push_back({count(part), count(one.neuron.layer), count(one.neuron.neuron),
                               flag(lowest), count(place++), real(example.activation), example.text,
                               tokens_json(example)});
        }
      }
    }
    return rows;
  }

  static TableRows choose(const RunContext& run, int64_t parts) {
    const Table& table = run_table("text_candidate");
    std::map<std::pair<NeuronId, bool>, std::vector<Example>> candidates;  // in the file's order
    for (int64_t part = 0; part < parts; ++part) {
      for (const Row& row : run.store.read("text_candidate", {{"part", part}})) {
        const NeuronId id{static_cast<int32_t>(integer_of(row[table.column("layer")])),
                          static_cast<int32_t>(integer_of(row[table.column("neuron")]))};
        candidates[{id, integer_of(row[table.column("lowest")]) != 0}].push_back(
            {real_of(row[table.column("activation")]), text_of(row[table.column("text")]),
             text_of(row[table.column("tokens")])});
      }
    }
    TableRows rows{"text_example", {}};
    for (const std::string& relation : run.facts.relations()) {
      for (const NeuronId id : hubs(run, relation)) {
        for (const bool lowest : {false, true}) {
          int64_t place = 0;
          for (const Example& one : best(candidates[{id, lowest}], lowest)) {
            rows.rows.push_back({relation, count(id.layer), count(id.neuron), flag(lowest),
                                 count(place++), real(one.activation), one.text, one.tokens});
          }
        }
      }
    }
    return rows;
  }

  /// The extreme ones, each text once.
  static std::vector<Example> best(std::vector<Example> all, bool lowest) {
    std::ranges::stable_sort(all, [&](const Example& a, const Example& b) {
      return lowest ? a.activation < b.activation : a.activation > b.activation;
    });
    std::vector<Example> chosen;
    for (Example& one : all) {
      if (static_cast<int64_t>(chosen.size()) == kExamples) break;
      if (std::ranges::find(chosen, one.text, &Example::text) == chosen.end()) {
        chosen.push_back(std::move(one));
      }
    }
    return chosen;
  }

  static std::vector<NeuronId> hubs(const RunContext& run, const std::string& relation) {
    const Table& table = run_table("relation_neuron");
    const size_t place = table.column("place");
    const size_t layer = table.column("layer");
    const size_t neuron = table.column("neuron");
    std::vector<NeuronId> found;
    for (const Row& row : run.store.read("relation_neuron",
                                         {{"source", std::string("ig")}, {"relation", relation}})) {
      if (integer_of(row[place]) >= kHubs) continue;
      found.push_back({static_cast<int32_t>(integer_of(row[layer])),
                       static_cast<int32_t>(integer_of(row[neuron]))});
    }
    return found;
  }

  static std::string tokens_json(const TextExample& example) {
    nlohmann::json tokens = nlohmann::json::array();
    for (const auto& [token, value] : example.tokens) {
      tokens.push_back({token, std::round(static_cast<double>(value) * 1e4) / 1e4});
    }
    return tokens.dump();
  }
};

}  // namespace

std::unique_ptr<Experiment> make_texts_experiment() { return std::make_unique<TextsExperiment>(); }

std::unique_ptr<Experiment> make_examples_experiment() {
  return std::make_unique<ExamplesExperiment>();
}

}  // namespace engram
