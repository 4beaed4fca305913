#include <algorithm>
#include <map>

#include "engram/intervention/measure.h"
#include "engram/neurons/matched.h"
#include "engram/sources.h"
#include "engram/text/subject.h"
#include "experiments/words/rows.h"
#include "run/parts.h"
#include "run/seeds.h"
#include "run/sets.h"

namespace engram::experiments::words {
namespace {

constexpr int64_t kOthers = 3;  ///< facts of a condition
constexpr int64_t kDraws = 3;   ///< matched sets

/// The prompts of one condition, and which trials they take.
struct Asked {
  std::string_view condition;
  size_t first = 0;  ///< of all prompts of the part
  size_t count = 0;
};

class WordsExperiment : public FactExperiment {
 public:
  [[nodiscard]] std::string_view name() const override { return "words"; }
  [[nodiscard]] int version() const override { return 1; }
  [[nodiscard]] bool of_audit() const override { return true; }
  [[nodiscard]] std::optional<std::string> skipped(const RunContext& run) const override {
    return not_all_located(run);
  }

  std::vector<TableRows> run(const RunContext& run, std::string_view relation,
                             int64_t part) override {
    const std::span<const int64_t> facts = part_of(run, relation, part);
    const std::vector<std::vector<std::vector<NeuronId>>> sets = sets_of(run, facts);
    std::vector<Cloze> prompts;
    std::vector<std::vector<NeuronChange>> changes;
    std::vector<Trial> trials;
    std::vector<WordRow> rows;
    struct Place {
      size_t first_trial = 0;
      size_t trials = 0;
      size_t sets = 0;
    };
    std::vector<Place> places;  // of the rows
    for (size_t f = 0; f < facts.size(); ++f) {
      // One set of the located and of the next neurons, kDraws of the matched ones.
      std::vector<std::vector<uint32_t>> of_source(kSets.size());
      for (size_t i = 0; i < sets[f].size(); ++i) {
        const size_t source = i == 0 ? 0 : (i + 1 == sets[f].size() ? 2 : 1);
        of_source[source].push_back(static_cast<uint32_t>(changes.size()));
        std::vector<NeuronChange>& change = changes.emplace_back();
        for (const NeuronId id : sets[f][i]) change.push_back({id, 0.0F, 0.0F});
      }
      for (const Asked& asked : asked_prompts(run, relation, facts[f], prompts)) {
        for (size_t source = 0; source < kSets.size(); ++source) {
          WordRow& row = rows.emplace_back();
          row.fact = facts[f];
          row.condition = asked.condition;
          row.source = kSets[source];
          row.neurons = static_cast<int64_t>(sets[f].front().size());
          row.prompts = static_cast<int64_t>(asked.count);
          const Place place{trials.size(), asked.count * of_source[source].size(),
                            of_source[source].size()};
          for (size_t p = 0; p < asked.count; ++p) {
            for (const uint32_t set : of_source[source]) {
              trials.push_back({static_cast<uint32_t>(asked.first + p), set});
            }
          }
          places.push_back(place);
        }
      }
    }
    const Measured measured = measure(run.model, prompts, changes, trials, run.measure);
    for (size_t r = 0; r < rows.size(); ++r) {
      const Place& place = places[r];
      const double share = 1.0 / static_cast<double>(place.sets);
      for (size_t t = place.first_trial; t < place.first_trial + place.trials; ++t) {
        const Answered& before = measured.before[trials[t].cloze];
        const Answered& after = measured.after[t];
        rows[r].log_odds += share * before.log_odds;
        rows[r].top += before.top() ? share : 0;
        rows[r].change_log_odds += share * (after.log_odds - before.log_odds);
        rows[r].top_after += after.top() ? share : 0;
      }
    }
    return {to_rows(std::move(rows))};
  }

 protected:
  [[nodiscard]] double cost(const RunContext& run, int64_t id) const override {
    const Fact& fact = run.facts.fact(id);
    const auto conditions = static_cast<double>(2 + 3 * kOthers);
    return static_cast<double>(fact.held_out.size()) * conditions *
           static_cast<double>(3 + kDraws) * changed_run_flops(run, run.facts.size(id));
  }

 private:
  /// Of each fact: located, matched kDraws times, next.
  static std::vector<std::vector<std::vector<NeuronId>>> sets_of(const RunContext& run,
                                                                 std::span<const int64_t> facts) {
    std::vector<Cloze> clozes;
    std::vector<int64_t> group;
    for (size_t f = 0; f < facts.size(); ++f) {
      for (Cloze& cloze : run.facts.prepared(facts[f]).prompts) {
        clozes.push_back(std::move(cloze));
        group.push_back(static_cast<int64_t>(f));
      }
    }
    const ActivationProfile profile = activation_profiles(
        run.model, clozes, group, static_cast<int64_t>(facts.size()), run.measure);
    const MatchedSampler sampler(run.model, located_of_run(run));
    std::vector<std::vector<std::vector<NeuronId>>> sets(facts.size());
    for (size_t f = 0; f < facts.size(); ++f) {
      const auto row = static_cast<int64_t>(f);
      const std::vector<NeuronId> located = stored_neurons(run.store, sources::kIg, facts[f]);
      if (located.empty()) {  // nothing is changed, and nothing to match
        sets[f].assign(kSets.size(), {});
        continue;
      }
      sets[f].push_back(located);
      std::ranges::move(
          sampler
              .draw(located, MatchStrength::kGradient, profile.activation.select(0, row),
                    profile.product.select(0, row), kDraws,
                    choice_seed(run.options.seed, "words", run.facts.fact(facts[f])))
              .draws,
          std::back_inserter(sets[f]));
      sets[f].push_back(sampler.next(located, profile.product.select(0, row)));
    }
    return sets;
  }

  /// A seeded sample of the relation's other facts, with another object or with the same.
  static std::vector<int64_t> others(const RunContext& run, std::string_view relation, int64_t fact,
                                     bool same_object) {
    const Fact& own = run.facts.fact(fact);
    std::vector<int64_t> all;
    for (const int64_t id : run.facts.of(relation)) {
      if (id != fact && (run.facts.fact(id).object == own.object) == same_object) {
        all.push_back(id);
      }
    }
    Random random(choice_seed(run.options.seed, same_object ? "words, same" : "words, other", own));
    std::vector<int64_t> chosen;
    for (const uint64_t i : random.sample(all.size(), static_cast<uint64_t>(kOthers))) {
      chosen.push_back(all[i]);
    }
    return chosen;
  }

  static std::vector<Asked> asked_prompts(const RunContext& run, std::string_view relation,
                                          int64_t id, std::vector<Cloze>& prompts) {
    const Fact& own = run.facts.fact(id);
    const PromptForm form = prompt_form(run.model.config());
    std::vector<Asked> asked;
    const auto add = [&](std::string_view condition, const std::vector<Cloze>& more) {
      if (more.empty()) return;
      asked.push_back({condition, prompts.size(), more.size()});
      prompts.insert(prompts.end(), more.begin(), more.end());
    };
    const std::vector<Cloze> held_out = run.facts.prepared(id).held_out;
    add(kHeldOut, held_out);
    std::vector<Cloze> for_ours;
    std::vector<Cloze> for_theirs;
    for (const int64_t other : others(run, relation, id, false)) {
      Fact asks = run.facts.fact(other);
      asks.object = own.object;
      asks.prompts = asks.held_out;
      std::vector<FactProblem> problems;  // our answer may be too long for their prompt
      const std::optional<PreparedFact> ours = prepare_fact(asks, run.tokenizer, form, problems);
      if (!ours) continue;
      for_ours.insert(for_ours.end(), ours->prompts.begin(), ours->prompts.end());
      const std::vector<Cloze> theirs = run.facts.prepared(other).held_out;
      for_theirs.insert(for_theirs.end(), theirs.begin(), theirs.end());
    }
    add(kOtherSubject, for_ours);
    add(kTheirOwn, for_theirs);
    std::vector<Cloze> same;
    for (const int64_t other : others(run, relation, id, true)) {
      const std::vector<Cloze> theirs = run.facts.prepared(other).held_out;
      same.insert(same.end(), theirs.begin(), theirs.end());
    }
    add(kSameObject, same);
    if (form.causal) return asked;
    std::vector<Cloze> masked;
    for (size_t i = 0; i < held_out.size(); ++i) {
      // A prompt that names its subject otherwise than the fact set does cannot be masked.
      if (std::optional<Cloze> one =
              without_subject(held_out[i], run.tokenizer, own.held_out[i], own.subject, form)) {
        masked.push_back(*std::move(one));
      }
    }
    add(kMaskedSubject, masked);
    return asked;
  }
};

}  // namespace

std::unique_ptr<Experiment> make_experiment() { return std::make_unique<WordsExperiment>(); }

}  // namespace engram::experiments::words
