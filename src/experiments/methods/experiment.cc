#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "engram/attribution/scorer.h"
#include "engram/intervention/intervention.h"
#include "engram/intervention/measure.h"
#include "engram/neurons/matched.h"
#include "experiments/methods/rows.h"
#include "experiments/screen/groups.h"
#include "run/seeds.h"
#include "run/sets.h"
#include "run/tried_sets.h"

namespace engram::experiments::methods {
namespace {

constexpr size_t kCandidates = 200;  ///< of the single search
constexpr size_t kGreedyPool = 40;
constexpr int64_t kDraws = 3;  ///< of random sets

using Sets = std::vector<std::vector<NeuronId>>;

/// The candidates by what each alone does, the strongest first; ties by id.
std::vector<NeuronId> single_search(const RunContext& run, std::span<const Cloze> prompts,
                                    const std::vector<NeuronId>& candidates) {
  Sets alone;
  for (const NeuronId id : candidates) alone.push_back({id});
  const TriedSets tried = try_sets(run.model, prompts, alone, run.measure);
  std::vector<std::pair<double, NeuronId>> order;
  for (size_t i = 0; i < candidates.size(); ++i) order.emplace_back(tried.change(i), candidates[i]);
  std::ranges::sort(order);
  std::vector<NeuronId> ranked;
  for (const auto& one : order) ranked.push_back(one.second);
  return ranked;
}

/// The first of the pool, then each time what lowers the answer most together with those taken.
std::vector<NeuronId> greedy_search(const RunContext& run, std::span<const Cloze> prompts,
                                    std::vector<NeuronId> pool) {
  std::vector<NeuronId> taken = {pool.front()};
  pool.erase(pool.begin());
  while (std::cmp_less(taken.size(), kNeurons) && !pool.empty()) {
    Sets sets;
    for (const NeuronId id : pool) {
      sets.push_back(taken);
      sets.back().push_back(id);
    }
    const TriedSets tried = try_sets(run.model, prompts, sets, run.measure);
    size_t best = 0;
    for (size_t i = 1; i < pool.size(); ++i) {
      if (tried.change(i) < tried.change(best)) best = i;
    }
    taken.push_back(pool[best]);
    pool.erase(pool.begin() + static_cast<std::ptrdiff_t>(best));
  }
  return taken;
}

/// A fact is a part: its search takes longer than anything else of an audit.
class MethodsExperiment : public Experiment {
 public:
  [[nodiscard]] std::string_view name() const override { return "methods"; }
  [[nodiscard]] int version() const override { return 1; }
  [[nodiscard]] bool of_audit() const override { return true; }
  [[nodiscard]] std::vector<std::string_view> needs() const override { return {"locate"}; }
  [[nodiscard]] std::optional<std::string> skipped(const RunContext& run) const override {
    const auto none = [&](const std::string& relation) { return chosen(run, relation).empty(); };
    if (std::ranges::all_of(run.facts.relations(), none)) {
      return "needs facts that the model knows; it knows none of these";
    }
    return not_all_located(run);
  }
  [[nodiscard]] int64_t parts(const RunContext& run, std::string_view relation) const override {
    return static_cast<int64_t>(chosen(run, relation).size());
  }
  [[nodiscard]] int64_t facts(const RunContext&, std::string_view, int64_t) const override {
    return 1;
  }

  std::vector<TableRows> run(const RunContext& run, std::string_view relation,
                             int64_t part) override {
    const int64_t id = chosen(run, relation).at(static_cast<size_t>(part));
    const PreparedFact fact = run.facts.prepared(id);
    const std::map<std::string_view, Sets> found = find(run, id, fact.prompts);
    std::vector<MethodRow> rows;
    std::vector<MethodNeuronRow> neurons;
    for (const std::string_view method : kMethods) {
      const Sets& sets = found.at(method);
      if (method != kRandom) {
        for (size_t i = 0; i < sets.front().size(); ++i) {
          neurons.push_back({id, std::string(method), static_cast<int64_t>(i),
                             sets.front()[i].layer, sets.front()[i].neuron});
        }
      }
      for (const bool held_out : {false, true}) {
        const std::vector<Cloze>& prompts = held_out ? fact.held_out : fact.prompts;
        const TriedSets tried = try_sets(run.model, prompts, sets, run.measure);
        MethodRow& row = rows.emplace_back();
        row.fact = id;
        row.method = method;
        row.held_out = held_out;
        row.prompts = static_cast<int64_t>(prompts.size());
        const double share = 1.0 / static_cast<double>(sets.size());
        for (size_t p = 0; p < prompts.size(); ++p) {
          row.log_odds += tried.before[p].log_odds;
          row.top += tried.before[p].top() ? 1 : 0;
          for (const std::vector<Answered>& after : tried.after) {
            row.change_log_odds += share * (after[p].log_odds - tried.before[p].log_odds);
            row.top_after += after[p].top() ? share : 0;
          }
        }
      }
    }
    return {to_rows(std::move(rows)), to_rows(std::move(neurons))};
  }

 private:
  /// The known facts of a relation at even places of a seeded order, by id.
  static std::vector<int64_t> chosen(const RunContext& run, std::string_view relation) {
    const std::set<int64_t> ids_known = screen::known_facts(run.store);
    std::vector<std::pair<uint64_t, int64_t>> known;
    for (const int64_t id : run.facts.of(relation)) {
      if (!ids_known.contains(id)) continue;
      known.emplace_back(choice_seed(run.options.seed, "methods", run.facts.fact(id)), id);
    }
    std::ranges::sort(known);
    std::vector<int64_t> ids;
    for (size_t i = 0; i < known.size(); i += 2) ids.push_back(known[i].second);
    std::ranges::sort(ids);
    return ids;
  }

  /// What every method finds on the prompts that locate: one set, and kDraws random ones.
  static std::map<std::string_view, Sets> find(const RunContext& run, int64_t id,
                                               const std::vector<Cloze>& prompts) {
    std::map<std::string_view, Sets> found;
    std::vector<NeuronId> candidates;
    for (const std::string_view method : kMethods) {
      if (method == kSingle) break;
      AttributionOptions options = run.options.locate.attribution;
      options.score = parse_score(method);
      options.gap = options.score == Score::kIntegratedGradients;
      const at::Tensor scores = Scorer(run.model, options).bags({&prompts, 1}).front();
      found[method] = {largest_neurons(scores, kNeurons)};
      if (options.score == Score::kGradientXActivation) {
        candidates = largest_neurons(scores, kCandidates);
      }
    }
    std::vector<NeuronId> ranked = single_search(run, prompts, candidates);
    const auto first = [&](size_t count) {
      return std::vector<NeuronId>(
          ranked.begin(),
          ranked.begin() + static_cast<std::ptrdiff_t>(std::min(count, ranked.size())));
    };
    found[kSingle] = {first(kNeurons)};
    found[kGreedy] = {greedy_search(run, prompts, first(kGreedyPool))};

    const std::vector<int64_t> group(prompts.size(), 0);
    const ActivationProfile profile =
        activation_profiles(run.model, prompts, group, 1, run.measure);
    found[kRandom] = MatchedSampler(run.model, located_of_run(run))
                         .draw(found["ig"].front(), MatchStrength::kGradient,
                               profile.activation.select(0, 0), profile.product.select(0, 0),
                               kDraws, choice_seed(run.options.seed, "methods", run.facts.fact(id)))
                         .draws;
    return found;
  }
};

}  // namespace

std::unique_ptr<Experiment> make_experiment() { return std::make_unique<MethodsExperiment>(); }

}  // namespace engram::experiments::methods
