// Facts, or any association? The same five neurons are looked for in facts, in minimal pairs of
// grammar and in word associations (docs/method.md, "Facts, or any association?").
#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <utility>

#include "engram/attribution/scorer.h"
#include "engram/error.h"
#include "engram/intervention/measure.h"
#include "engram/neurons/matched.h"
#include "engram/text/prompt.h"
#include "experiments/nonfacts/rows.h"
#include "experiments/screen/groups.h"
#include "experiments/update/experiment.h"
#include "run/inputs.h"
#include "run/seeds.h"
#include "run/sets.h"
#include "run/tried_sets.h"

namespace engram::experiments::nonfacts {
namespace {

constexpr size_t kNeurons = 5;
constexpr int64_t kDraws = 3;
constexpr int64_t kOfGroup = 100, kCandidates = 200;
constexpr size_t kLocating = 10, kTesting = 10;  ///< prompts of a non-fact, at most

/// A fact or a non-fact, with answer and foil on every prompt.
struct Item {
  std::string group;
  int64_t id = 0;
  std::string relation, answer, foil;
  uint64_t seed = 0;
  std::vector<Cloze> locating = {}, testing = {};
  std::vector<Cloze> locating_foils = {},
                     testing_foils = {};  ///< the same with the foil for the answer
};

/// A prompt with one token for the answer; nothing: it cannot be asked so.
std::optional<Cloze> asked(const RunContext& run, const std::string& prompt,
                           const std::string& answer, const std::string& origin) {
  try {
    Cloze cloze =
        encode_cloze(run.tokenizer, prompt, answer, prompt_form(run.model.config()), origin);
    if (cloze.answer.size() == 1) return cloze;
  } catch (const InputError&) {
    return {};
  }
  return {};
}

/// Adds a prompt to both lists, of the answer and of the foil, where both can be asked.
bool add_prompt(const RunContext& run, const Item& item, const std::string& prompt,
                const std::string& origin, std::vector<Cloze>& answers, std::vector<Cloze>& foils) {
  std::optional<Cloze> answer = asked(run, prompt, item.answer, origin);
  std::optional<Cloze> foil = asked(run, prompt, item.foil, origin);
  if (!answer || !foil || answer->answer == foil->answer) return false;
  answers.push_back(*std::move(answer));
  foils.push_back(*std::move(foil));
  return true;
}

/// The facts that the model knows, with the object that an update would give them.
std::vector<Item> known_facts(const RunContext& run) {
  const std::set<int64_t> ids = screen::known_facts(run.store);
  const auto known = [&](int64_t id) { return ids.contains(id); };
  std::vector<Item> items;
  for (const std::string& relation : run.facts.relations()) {
    for (const auto& [id, target] : update::sample_updates(run, relation, known).reported) {
      const Fact& fact = run.facts.fact(id);
      Item item{std::string(kFacts), id,     relation,
                fact.object,         target, choice_seed(run.options.seed, "nonfacts", fact)};
      for (const std::string& prompt : fact.prompts) {
        add_prompt(run, item, prompt, fact.origin, item.locating, item.locating_foils);
      }
      for (const std::string& prompt : fact.held_out) {
        add_prompt(run, item, prompt, fact.origin, item.testing, item.testing_foils);
      }
      if (!item.locating.empty() && !item.testing.empty()) items.push_back(std::move(item));
    }
  }
  return items;
}

/// The objects of a fact set, by relation and by relation and subject.
struct Objects {
  explicit Objects(const std::vector<Fact>& facts) {
    for (const Fact& fact : facts) {
      of_relation[fact.relation].insert(fact.object);
      of_subject[{fact.relation, fact.subject}].insert(fact.object);
    }
  }
  std::map<std::string, std::set<std::string>> of_relation;
  std::map<std::pair<std::string, std::string>, std::set<std::string>> of_subject;
};

/// What the answer of a non-fact is held against; "": there is nothing.
std::string foil_of(const RunContext& run, const Fact& fact, const Objects& objects) {
  if (!fact.new_object.empty()) return fact.new_object;
  const std::set<std::string>& true_ones = objects.of_subject.at({fact.relation, fact.subject});
  std::vector<std::string> others;
  for (const std::string& object : objects.of_relation.at(fact.relation)) {
    if (!true_ones.contains(object)) others.push_back(object);
  }
  Random random(choice_seed(run.options.seed, "nonfacts foil", fact));
  random.shuffle(others);
  for (const std::string& other : others) {
    if (asked(run, fact.prompts.front(), other, fact.origin)) return other;
  }
  return "";
}

/// A non-fact whose prompts can be asked; nothing: too few can.
std::optional<Item> non_fact(const RunContext& run, const std::string& group, int64_t id,
                             const Fact& fact, const Objects& objects) {
  Item item{group,
            id,
            fact.relation,
            fact.object,
            foil_of(run, fact, objects),
            choice_seed(run.options.seed, "nonfacts", fact)};
  if (item.foil.empty()) return {};
  std::vector<std::string> prompts = fact.prompts;
  prompts.insert(prompts.end(), fact.held_out.begin(), fact.held_out.end());
  Random random(item.seed);
  random.shuffle(prompts);
  const size_t tested = std::min(kTesting, prompts.size() / 2);
  for (const std::string& prompt : prompts) {
    if (item.testing.size() < tested) {
      add_prompt(run, item, prompt, fact.origin, item.testing, item.testing_foils);
    } else if (item.locating.size() < kLocating) {
      add_prompt(run, item, prompt, fact.origin, item.locating, item.locating_foils);
    }
  }
  if (item.locating.empty() || item.testing.empty()) return {};
  return item;
}

/// The name of each file or folder without what stands behind a dot, made different.
std::vector<std::string> group_names(const std::vector<std::string>& paths) {
  std::vector<std::string> names;
  for (const std::string& path : paths) {
    std::filesystem::path place(path);
    if (!place.has_filename()) place = place.parent_path();  // "folder/"
    const std::string file = place.filename().string();
    const std::string stem = file.substr(0, file.find('.', 1));
    std::string name = stem;
    for (int again = 2; name == kFacts || std::ranges::find(names, name) != names.end(); ++again) {
      name = stem + " " + std::to_string(again);
    }
    names.push_back(std::move(name));
  }
  return names;
}

/// Whether the model prefers the answer on at least half of the prompts that locate.
std::vector<bool> preferred(const RunContext& run, const std::vector<Item>& items) {
  std::vector<Cloze> prompts;
  for (const Item& item : items) {
    prompts.insert(prompts.end(), item.locating.begin(), item.locating.end());
    prompts.insert(prompts.end(), item.locating_foils.begin(), item.locating_foils.end());
  }
  const std::vector<Answered> found = measure(run.model, prompts, {}, {}, run.measure).before;
  std::vector<bool> known;
  size_t at = 0;
  for (const Item& item : items) {
    const size_t count = item.locating.size();
    size_t won = 0;
    for (size_t i = 0; i < count; ++i) {
      won += found[at + i].log_p > found[at + count + i].log_p ? 1 : 0;
    }
    known.push_back(2 * won >= count);
    at += 2 * count;
  }
  return known;
}

/// The non-facts of one file or folder that the model knows.
std::vector<Item> non_facts(const RunContext& run, const std::string& path,
                            const std::string& group) {
  FactSetOptions reading;
  reading.held_out_share = 0;
  reading.answer_last = run.model.config().causal();
  std::vector<Fact> facts = read_facts(path, reading).facts;
  const Objects objects(facts);
  // One prompt cannot locate and test.
  std::erase_if(facts,
                [](const Fact& fact) { return fact.prompts.size() + fact.held_out.size() < 2; });
  FactChoice some_of;
  some_of.limit = kCandidates;
  std::vector<Item> candidates;
  for (const Fact& fact : choose_facts(std::move(facts), some_of, run.options.seed, path)) {
    std::optional<Item> item = non_fact(run, group, std::ssize(candidates), fact, objects);
    if (item) candidates.push_back(*std::move(item));
  }
  const std::vector<bool> known = preferred(run, candidates);
  std::map<std::string, std::vector<Item>> of_relation;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (known[i]) of_relation[candidates[i].relation].push_back(std::move(candidates[i]));
  }
  std::vector<Item> items;
  for (auto& [relation, some] : of_relation) {
    std::ranges::sort(some, {}, &Item::seed);
  }
  for (size_t round = 0; std::ssize(items) < kOfGroup; ++round) {
    const size_t before = items.size();
    for (auto& [relation, some] : of_relation) {
      if (round < some.size() && std::ssize(items) < kOfGroup) {
        items.push_back(std::move(some[round]));
      }
    }
    if (items.size() == before) break;
  }
  return items;
}

/// What a set does, summed over the prompts: a row without its names.
NonFactRow effect_of(const Item& item, std::span<const Answered> before,
                     std::span<const Answered> after) {
  const size_t prompts = item.testing.size();
  NonFactRow row{item.group, item.id, "", item.relation, item.answer, item.foil};
  row.located_by = std::ssize(item.locating);
  row.prompts = static_cast<int64_t>(prompts);
  for (size_t p = 0; p < prompts; ++p) {
    const double margin = before[p].log_p - before[prompts + p].log_p;
    const double then = after[p].log_p - after[prompts + p].log_p;
    row.log_odds += before[p].log_odds;
    row.change_log_odds += after[p].log_odds - before[p].log_odds;
    row.change_margin += then - margin;
    row.preferred += margin > 0 ? 1 : 0;
    row.flipped += margin > 0 && then < 0 ? 1 : 0;
  }
  return row;
}

class NonFactsExperiment : public Experiment {
 public:
  [[nodiscard]] std::string_view name() const override { return "nonfacts"; }
  [[nodiscard]] int version() const override { return 1; }
  [[nodiscard]] std::string details(const RunOptions& options) const override {
    const std::vector<std::string> names = group_names(options.non_facts);
    std::string text;
    for (size_t i = 0; i < names.size(); ++i) {
      text += (i > 0 ? ", " : "") + names[i] + " " + hash_of_facts(options.non_facts[i]);
    }
    return text;
  }
  [[nodiscard]] bool of_audit() const override { return true; }
  [[nodiscard]] bool across() const override { return true; }
  [[nodiscard]] std::vector<std::string_view> needs() const override { return {"locate"}; }
  [[nodiscard]] std::optional<std::string> skipped(const RunContext& run) const override {
    if (run.options.non_facts.empty()) return "needs --non-facts";
    return not_all_located(run);
  }
  [[nodiscard]] int64_t parts(const RunContext& run, std::string_view) const override {
    return std::ssize(items(run));
  }
  [[nodiscard]] int64_t facts(const RunContext&, std::string_view, int64_t) const override {
    return 1;
  }

  std::vector<TableRows> run(const RunContext& run, std::string_view, int64_t part) override {
    const Item& item = items(run).at(static_cast<size_t>(part));
    AttributionOptions options = run.options.locate.attribution;
    options.score = Score::kIntegratedGradients;
    const at::Tensor scores = Scorer(run.model, options).bags({&item.locating, 1}).front();
    std::vector<std::vector<NeuronId>> sets = {largest_neurons(scores, kNeurons)};
    std::vector<NonFactNeuronRow> neurons;
    for (const NeuronId id : sets.front()) {
      neurons.push_back({item.group, item.id, std::ssize(neurons), id.layer, id.neuron});
    }
    const std::vector<int64_t> one_group(item.locating.size(), 0);
    const ActivationProfile profile =
        activation_profiles(run.model, item.locating, one_group, 1, run.measure);
    MatchedSets random =
        MatchedSampler(run.model, located_of_run(run))
            .draw(sets.front(), MatchStrength::kGradient, profile.activation.select(0, 0),
                  profile.product.select(0, 0), kDraws, item.seed);
    std::ranges::move(random.draws, std::back_inserter(sets));

    std::vector<Cloze> prompts = item.testing;
    prompts.insert(prompts.end(), item.testing_foils.begin(), item.testing_foils.end());
    const TriedSets tried = try_sets(run.model, prompts, sets, run.measure);
    const auto effect = [&](size_t set) { return effect_of(item, tried.before, tried.after[set]); };
    std::vector<NonFactRow> rows = {effect(0), effect(0)};
    rows[0].source = kLocatedSet;
    rows[1].source = kRandomSet;
    rows[1].change_log_odds = rows[1].change_margin = rows[1].flipped = 0;
    const double share = 1.0 / static_cast<double>(sets.size() - 1);
    for (size_t s = 1; s < sets.size(); ++s) {
      const NonFactRow draw = effect(s);
      rows[1].change_log_odds += share * draw.change_log_odds;
      rows[1].change_margin += share * draw.change_margin;
      rows[1].flipped += share * draw.flipped;
    }
    return {to_rows(std::move(rows)), to_rows(std::move(neurons))};
  }

 private:
  /// Facts first, then the non-facts, group by group.
  [[nodiscard]] const std::vector<Item>& items(const RunContext& run) const {
    if (facts_ == &run.facts) return items_;
    facts_ = &run.facts;
    items_ = known_facts(run);
    const std::vector<std::string>& paths = run.options.non_facts;
    const std::vector<std::string> names = group_names(paths);
    for (size_t i = 0; i < paths.size(); ++i) {
      std::ranges::move(non_facts(run, paths[i], names[i]), std::back_inserter(items_));
    }
    return items_;
  }

  mutable const RunFacts* facts_ = nullptr;
  mutable std::vector<Item> items_;
};

}  // namespace

std::unique_ptr<Experiment> make_experiment() { return std::make_unique<NonFactsExperiment>(); }

}  // namespace engram::experiments::nonfacts
