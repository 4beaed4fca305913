// Fact updates o -> o' (METHOD section 5). Sampled facts of every relation are edited one at a
// time, in several variants that differ in what is edited, and every edit is measured on the same
// prompts.
#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <unordered_set>
#include <utility>

#include "engram/edit/values.h"
#include "engram/error.h"
#include "engram/evaluation/answers.h"
#include "engram/neurons/matched.h"
#include "engram/neurons/statistics.h"
#include "engram/run/experiment.h"
#include "engram/text/prompt.h"
#include "run/scopes.h"
#include "run/seeds.h"
#include "run/sets.h"
#include "run/values.h"

namespace engram {
namespace {

constexpr double kLambda1 = 1;
constexpr double kLambda2 = 8;
constexpr int64_t kTuningFacts = 3;     // per relation, for the sweep alone
constexpr int64_t kFewestPerEdit = 20;  // text positions that an edit sees
constexpr int64_t kMostPerEdit = 40;
constexpr int64_t kAllNeurons = 0;

enum EditScope : size_t { kOwn, kHeldOut, kSameRelation, kOtherRelations, kText, kEditScopes };
constexpr std::array<const char*, kEditScopes> kEditScopeNames = {
    "own", "held-out", "same-relation", "other-relations", "text"};

/// A setting of the sweep.
struct Setting {
  double lambda1 = kLambda1;
  double lambda2 = kLambda2;
  int64_t neurons = kAllNeurons;
  [[nodiscard]] std::string name() const {
    const auto number = [](double x) { return std::to_string(static_cast<int64_t>(x)); };
    return "sweep/l1=" + number(lambda1) + ",l2=" + number(lambda2) +
           ",n=" + (neurons == kAllNeurons ? "all" : std::to_string(neurons));
  }
};

/// One thing at a time moves from the paper's setting.
constexpr std::array<Setting, 10> kSweep = {{{1, 8, kAllNeurons},
                                             {0, 8, kAllNeurons},
                                             {2, 8, kAllNeurons},
                                             {1, 1, kAllNeurons},
                                             {1, 2, kAllNeurons},
                                             {1, 4, kAllNeurons},
                                             {1, 16, kAllNeurons},
                                             {1, 8, 1},
                                             {1, 8, 2},
                                             {1, 8, 4}}};

/// What is to replace a fact's answer.
struct Target {
  std::string object;
  std::vector<int64_t> answer;  ///< token ids of o on the first own prompt
  std::vector<int64_t> other;   ///< and of o'
};

/// The facts of a relation that are edited, with a seeded o' each.
struct UpdateSample {
  using Facts = std::vector<std::pair<int64_t, Target>>;
  Facts reported;  ///< in seeded order
  Facts tuning;    ///< none of those
};

/// Token ids of `object` in the place of the fact's answer; empty: it cannot be written there.
std::vector<int64_t> ids_at(const RunContext& run, const PromptPlace& place,
                            const std::string& object) {
  try {
    return answer_ids(run.tokenizer, prompt_text(run, place), object,
                      run.facts.fact(place.fact).origin);
  } catch (const InputError&) {
    return {};
  }
}

/// The relation's objects, by first appearance.
std::vector<std::string> objects_of(const RunContext& run, std::string_view relation) {
  std::vector<std::string> objects;
  std::set<std::string_view> seen;
  for (const int64_t id : run.facts.of(relation)) {
    const std::string& object = run.facts.fact(id).object;
    if (seen.insert(object).second) objects.push_back(object);
  }
  return objects;
}

/// A seeded o' of one token out of `objects`, which the relation does not give the fact's subject
/// too; nothing: there is none, or the fact's answer is not one token on all its prompts.
std::optional<Target> draw_target(const RunContext& run, int64_t id,
                                  std::vector<std::string> objects) {
  const Fact& fact = run.facts.fact(id);
  for (const bool held_out : {false, true}) {
    for (const PromptPlace& place : prompts_of(run, id, held_out)) {
      if (ids_at(run, place, fact.object).size() != 1) return {};
    }
  }
  std::set<std::string_view> never;
  for (const int64_t other : run.facts.of(fact.relation)) {
    const Fact& one = run.facts.fact(other);
    if (one.subject == fact.subject) never.insert(one.object);
  }
  const PromptPlace first{id, false, 0};
  const std::vector<int64_t> own = ids_at(run, first, fact.object);
  Random random(choice_seed(run.options.seed, "update target", fact));
  random.shuffle(objects);
  for (const std::string& object : objects) {
    if (never.contains(object)) continue;
    std::vector<int64_t> ids = ids_at(run, first, object);
    if (ids.size() == 1 && ids != own) return Target{object, own, std::move(ids)};
  }
  return {};
}

/// Facts that can be edited, in seeded order: first those of the report, then those of the sweep,
/// which are a fifth of the relation's facts at most.
UpdateSample sample_facts(const RunContext& run, std::string_view relation) {
  std::vector<int64_t> ids = facts_for_effects(run, relation, true);
  Random random(choice_seed(run.options.seed, "update facts", relation));
  random.shuffle(ids);
  const auto all = static_cast<int64_t>(ids.size());
  const int64_t tuning = std::min(kTuningFacts, all / 5);
  const int64_t reported = std::min(run.options.update_facts, all - tuning);
  const std::vector<std::string> objects = objects_of(run, relation);
  UpdateSample sample;
  for (const int64_t id : ids) {
    const bool report = std::cmp_less(sample.reported.size(), reported);
    if (!report && !std::cmp_less(sample.tuning.size(), tuning)) break;
    std::optional<Target> target = draw_target(run, id, objects);
    if (target) (report ? sample.reported : sample.tuning).emplace_back(id, std::move(*target));
  }
  return sample;
}

/// A fact that is edited.
struct Subject {
  int64_t id = 0;
  bool tuning = false;
  int64_t turn = 0;               ///< among all edited facts of the run, for the text positions
  bool right = true;              ///< o is the model's most frequent answer on own prompts
  std::string old;                ///< o as written
  std::vector<int64_t> replaced;  ///< o where it is not the fact's object, else empty
  Target target;
  double target_p = 0;
  double target_log_rank = 0;
  std::vector<PromptPlace> own, held_out;
};

/// One edit of one fact.
struct Variant {
  size_t subject = 0;
  std::string name;
  int64_t neurons = 0;
  double lambda1 = kLambda1;
  double lambda2 = kLambda2;
  OutputEdit edit;
};

/// Sums over the prompts of a scope.
struct ScopeSums {
  int64_t prompts = 0;
  int64_t right = 0, changed = 0, success = 0;
  int64_t wrong_success = 0, wrong_target_before = 0;
  double log_p_before = 0, log_p_after = 0;
  double other_before = 0, other_after = 0;
  bool has_other = false;

  void add(const Answered& before, const Answered& after, const Answered& target_before,
           const Answered& target_after) {
    ++prompts;
    log_p_before += before.log_p;
    log_p_after += after.log_p;
    const bool hit = target_after.rank == 1;
    if (before.top()) {
      ++right;
      if (!after.top()) ++changed;
      if (hit) ++success;
    } else {
      if (hit) ++wrong_success;
      if (target_before.rank == 1) ++wrong_target_before;
    }
    if (target_before.rank == 0) return;
    has_other = true;
    other_before += target_before.log_p;
    other_after += target_after.log_p;
  }
};

/// A fact's neurons, those that pass the most prompts first, then those of the higher score.
std::vector<NeuronId> by_weight(RunStore& store, int64_t fact) {
  const Table& table = run_table("neuron");
  std::vector<CountedNeuron> found;
  for (const Row& row : store.read("neuron", {{"source", std::string("ig")}, {"fact", fact}})) {
    found.push_back({{static_cast<int32_t>(integer_of(row[table.column("layer")])),
                      static_cast<int32_t>(integer_of(row[table.column("neuron")]))},
                     static_cast<int32_t>(integer_of(row[table.column("prompts")])),
                     static_cast<float>(real_of(row[table.column("score")]))});
  }
  std::ranges::stable_sort(found, [](const CountedNeuron& a, const CountedNeuron& b) {
    return std::pair(a.prompts, a.score) > std::pair(b.prompts, b.score);
  });
  std::vector<NeuronId> ids;
  for (const CountedNeuron& one : found) ids.push_back(one.id);
  return ids;
}

/// The work of one part.
class UpdatePart {
 public:
  UpdatePart(const RunContext& run, std::string_view relation, RunText& text)
      : run_(run), relation_(relation), text_(text), probes_(run) {}

  /// `turn` is the first reported fact's place among all edited facts of the run.
  std::vector<TableRows> rows(const UpdateSample& sample, int64_t turn) {
    for (const auto& [id, target] : sample.reported) {
      subjects_.push_back(subject(id, target));
      subjects_.back().turn = turn++;
    }
    for (const auto& [id, target] : sample.tuning) {
      subjects_.push_back(subject(id, target));
      subjects_.back().tuning = true;
    }
    look_before();
    make_variants();
    plan();
    measured_ = measure_edits(run_.model, probes_.probes(), edits_, others_, trials_, run_.measure);
    return {edit_rows(), effect_rows()};
  }

 private:
  [[nodiscard]] Subject subject(int64_t id, const Target& target) const {
    Subject one;
    one.id = id;
    one.old = run_.facts.fact(id).object;
    one.target = target;
    one.own = prompts_of(run_, id, false);
    one.held_out = prompts_of(run_, id, true);
    return one;
  }

  uint32_t other(std::vector<int64_t> ids) {
    const auto [it, fresh] =
        other_place_.try_emplace(std::move(ids), static_cast<uint32_t>(others_.size()));
    if (fresh) others_.push_back(it->first);
    return it->second;
  }

  /// What the model answers without edits; a wrong answer becomes the one to be replaced by the
  /// right one.
  void look_before() {
    ProbeList probes(run_);
    std::vector<std::pair<size_t, uint32_t>> asked;  // fact and probe
    for (size_t s = 0; s < subjects_.size(); ++s) {
      for (const PromptPlace& place : subjects_[s].own) asked.emplace_back(s, probes.add(place));
    }
    const EditMeasured found = measure_edits(run_.model, probes.probes(), {}, {}, {}, run_.measure);
    std::vector<std::map<int64_t, int64_t>> tops(subjects_.size());
    std::vector<int64_t> right(subjects_.size(), 0);
    for (const auto& [s, probe] : asked) {
      if (found.before[probe].top()) {
        ++right[s];
      } else {
        ++tops[s][found.top[probe]];
      }
    }
    for (size_t s = 0; s < subjects_.size(); ++s) {
      const auto most = std::ranges::max_element(
          tops[s], {}, [](const std::pair<const int64_t, int64_t>& one) { return one.second; });
      if (most == tops[s].end() || most->second <= right[s]) continue;
      Subject& one = subjects_[s];
      one.right = false;
      one.replaced = {most->first};
      one.old = run_.tokenizer.token_of(most->first);
      one.target = {run_.facts.fact(one.id).object, one.replaced, one.target.answer};
    }
  }

  OutputEdit update(const Subject& one, std::span<const NeuronId> neurons, double lambda1,
                    double lambda2) const {
    return output_edit(run_.model, update_values(run_.model, neurons, one.target.answer,
                                                 one.target.other, lambda1, lambda2));
  }

  void add_variant(size_t s, std::string name, std::span<const NeuronId> neurons,
                   const Setting& setting = {}) {
    Variant variant{
        s, std::move(name), static_cast<int64_t>(neurons.size()), setting.lambda1, setting.lambda2,
        {}};
    if (!neurons.empty()) {
      variant.edit = update(subjects_[s], neurons, setting.lambda1, setting.lambda2);
    }
    variants_.push_back(std::move(variant));
  }

  void make_variants() {
    const std::vector<FactNeurons> located = stored_relation(run_, "ig", relation_);
    const std::vector<FactNeurons> active = stored_relation(run_, "activation", relation_);
    std::unordered_set<NeuronId> all;
    for (const FactNeurons& set : located) all.insert(set.neurons.begin(), set.neurons.end());
    const MatchedSampler sampler(run_.model, all);
    const std::vector<int64_t>& ids = run_.facts.of(relation_);
    for (size_t s = 0; s < subjects_.size(); ++s) {
      const auto f =
          static_cast<size_t>(std::ranges::lower_bound(ids, subjects_[s].id) - ids.begin());
      const std::vector<NeuronId> mine = editable_neurons(located, f);
      if (subjects_[s].tuning) {
        add_sweep(s, mine);
        continue;
      }
      add_variant(s, "knowledge", mine);
      add_variant(s, "knowledge-unfiltered", located[f].neurons);
      add_variant(s, "knowledge-released", editable_neurons(located, f, 0.1, 2, true));
      add_variant(s, "activation", editable_neurons(active, f));
      add_variant(s, "activation-unfiltered", active[f].neurons);
      add_random(s, mine, sampler, all);
    }
  }

  void add_sweep(size_t s, const std::vector<NeuronId>& mine) {
    std::vector<NeuronId> ordered = by_weight(run_.store, subjects_[s].id);
    std::erase_if(ordered, [&](NeuronId id) { return std::ranges::find(mine, id) == mine.end(); });
    for (const Setting& setting : kSweep) {
      const size_t count = setting.neurons == kAllNeurons
                               ? ordered.size()
                               : std::min(ordered.size(), static_cast<size_t>(setting.neurons));
      add_variant(s, setting.name(), std::span(ordered).first(count), setting);
    }
  }

  /// The controls that stand in for the neurons `mine`.
  void add_random(size_t s, const std::vector<NeuronId>& mine, const MatchedSampler& sampler,
                  const std::unordered_set<NeuronId>& located) {
    const Subject& one = subjects_[s];
    const Fact& fact = run_.facts.fact(one.id);
    const MatchedSets drawn = sampler.draw(mine, MatchStrength::kLayer, {}, {}, 1,
                                           choice_seed(run_.options.seed, "update random", fact));
    add_variant(s, "random", drawn.draws.front());
    ProbeList own(run_);
    for (const PromptPlace& place : one.own) own.add(place);
    const at::Tensor activations =
        mask_activations(run_.model, own.probes(), run_.measure).mean(0);  // [layers, d_ff]
    add_variant(s, "random-activated", activated(mine, activations, located, fact));
    Variant output{s, "output", static_cast<int64_t>(mine.size()), kLambda1, kLambda2, {}};
    if (!mine.empty()) {
      output.edit = constant_edit(update(one, mine, kLambda1, kLambda2), activations);
    }
    variants_.push_back(std::move(output));
  }

  /// As many neurons of the same layers out of the tenth that is most active on own prompts.
  std::vector<NeuronId> activated(const std::vector<NeuronId>& mine, const at::Tensor& activations,
                                  const std::unordered_set<NeuronId>& located,
                                  const Fact& fact) const {
    std::map<int32_t, int64_t> wanted;
    for (const NeuronId id : mine) ++wanted[id.layer];
    const at::Tensor decile = deciles(activations);
    Random random(choice_seed(run_.options.seed, "update random activated", fact));
    std::vector<NeuronId> chosen;
    for (const auto& [layer, number] : wanted) {
      const at::Tensor row = decile.select(0, layer);
      std::vector<NeuronId> pool;
      for (int32_t i = 0; i < static_cast<int32_t>(row.numel()); ++i) {
        const NeuronId id{layer, i};
        if (row.const_data_ptr<uint8_t>()[i] == 9 && !located.contains(id)) pool.push_back(id);
      }
      for (const uint64_t i : random.sample(pool.size(), static_cast<uint64_t>(number))) {
        chosen.push_back(pool[i]);
      }
    }
    return chosen;
  }

  /// What the edit adds at the mask of own prompts on the average, added to the layer's output.
  OutputEdit constant_edit(const OutputEdit& edit, const at::Tensor& activations) const {
    std::map<int64_t, at::Tensor> sums;
    for (size_t i = 0; i < edit.neurons.size(); ++i) {
      const NeuronId id = edit.neurons[i];
      at::Tensor& sum = sums[id.layer];
      if (!sum.defined()) sum = at::zeros({run_.model.config().d_model});
      sum.add_(edit.change.select(0, static_cast<int64_t>(i)),
               activations[id.layer][id.neuron].item<double>());
    }
    return {{}, {}, {sums.begin(), sums.end()}};
  }

  /// The prompts of every fact's scopes, and the trials of all its variants on them.
  void plan() {
    const std::vector<int64_t> same = facts_for_effects(run_, relation_, true);
    const std::vector<int64_t> elsewhere = facts_for_effects(run_, relation_, false);
    std::vector<uint32_t> text(text_.positions(run_).size(), kNoIndex);
    for (size_t v = 0; v < variants_.size();) {
      const size_t s = variants_[v].subject;
      size_t end = v;
      while (end < variants_.size() && variants_[end].subject == s) ++end;
      plan_base(s);
      std::vector<std::pair<EditScope, EditTrial>> jobs;
      add_own_jobs(subjects_[s], jobs);
      add_side_jobs(subjects_[s], same, elsewhere, jobs);
      if (!subjects_[s].tuning) add_text_jobs(subjects_[s], text, jobs);
      for (; v < end; ++v) {
        if (variants_[v].neurons == 0) continue;
        const auto edit = static_cast<uint32_t>(edits_.size());
        edits_.push_back(std::move(variants_[v].edit));
        for (const auto& [scope, job] : jobs) {
          trials_.push_back({job.probe, edit, job.other});
          places_.emplace_back(v, scope);
        }
      }
    }
  }

  /// Asks for o' on own prompts without an edit.
  void plan_base(size_t s) {
    base_.emplace_back(trials_.size(), subjects_[s].own.size());
    for (const PromptPlace& place : subjects_[s].own) {
      trials_.push_back({probes_.add(place, subjects_[s].replaced), kNoIndex, target_at(s, place)});
      places_.emplace_back(variants_.size(), kOwn);
    }
  }

  uint32_t target_at(size_t s, const PromptPlace& place) {
    return other(ids_at(run_, place, subjects_[s].target.object));
  }

  void add_own_jobs(const Subject& one, std::vector<std::pair<EditScope, EditTrial>>& jobs) {
    const auto s = static_cast<size_t>(&one - subjects_.data());
    for (const EditScope scope : {kOwn, kHeldOut}) {
      for (const PromptPlace& place : scope == kOwn ? one.own : one.held_out) {
        jobs.emplace_back(
            scope, EditTrial{probes_.add(place, one.replaced), kNoIndex, target_at(s, place)});
      }
    }
  }

  void add_side_jobs(const Subject& one, const std::vector<int64_t>& same,
                     const std::vector<int64_t>& elsewhere,
                     std::vector<std::pair<EditScope, EditTrial>>& jobs) {
    const auto s = static_cast<size_t>(&one - subjects_.data());
    Random random(choice_seed(run_.options.seed, "update side effects", run_.facts.fact(one.id)));
    // Where o' is right already it is no harm.
    std::vector<int64_t> others;
    std::ranges::copy_if(same, std::back_inserter(others), [&](int64_t id) {
      return id != one.id && run_.facts.fact(id).object != one.target.object;
    });
    for (const uint64_t i :
         random.sample(others.size(), static_cast<uint64_t>(run_.options.same_relation))) {
      const PromptPlace place = side_prompt(run_, others[i]);
      jobs.emplace_back(kSameRelation,
                        EditTrial{probes_.add(place), kNoIndex, target_at(s, place)});
    }
    if (one.tuning) return;
    for (const uint64_t i :
         random.sample(elsewhere.size(), static_cast<uint64_t>(run_.options.other_relations))) {
      jobs.emplace_back(kOtherRelations, EditTrial{probes_.add(side_prompt(run_, elsewhere[i])),
                                                   kNoIndex, kNoIndex});
    }
  }

  void add_text_jobs(const Subject& one, std::vector<uint32_t>& text,
                     std::vector<std::pair<EditScope, EditTrial>>& jobs) {
    const auto positions = static_cast<int64_t>(text.size());
    const int64_t edits = std::max<int64_t>(
        1, static_cast<int64_t>(run_.facts.relations().size()) * run_.options.update_facts);
    const int64_t share = std::clamp((positions + edits - 1) / edits, kFewestPerEdit, kMostPerEdit);
    for (const size_t i : text_.turn(run_, one.turn, share)) {
      if (text[i] == kNoIndex) text[i] = probes_.add(text_.positions(run_)[i]);
      jobs.emplace_back(kText, EditTrial{text[i], kNoIndex, kNoIndex});
    }
  }

  TableRows edit_rows() {
    for (size_t s = 0; s < subjects_.size(); ++s) {
      const auto [begin, number] = base_[s];
      Subject& one = subjects_[s];
      for (size_t t = begin; t < begin + number; ++t) {
        const Answered& target = measured_.other_before[t];
        one.target_p += target.p / static_cast<double>(number);
        one.target_log_rank +=
            std::log(static_cast<double>(target.rank)) / static_cast<double>(number);
      }
    }
    TableRows out{"edit", {}};
    for (const Variant& variant : variants_) {
      const Subject& one = subjects_[variant.subject];
      out.rows.push_back({one.id, variant.name, one.old, one.target.object, real(one.target_p),
                          real(std::exp(one.target_log_rank)), flag(one.right),
                          count(variant.neurons), real(variant.lambda1), real(variant.lambda2)});
    }
    return out;
  }

  TableRows effect_rows() const {
    std::vector<std::array<ScopeSums, kEditScopes>> sums(variants_.size() + 1);
    for (size_t t = 0; t < trials_.size(); ++t) {
      const auto [variant, scope] = places_[t];
      if (variant == variants_.size()) continue;
      sums[variant][scope].add(measured_.before[trials_[t].probe], measured_.after[t],
                               measured_.other_before[t], measured_.other_after[t]);
    }
    TableRows out{"edit_effect", {}};
    for (size_t v = 0; v < variants_.size(); ++v) {
      for (size_t scope = 0; scope < kEditScopes; ++scope) {
        const ScopeSums& one = sums[v][scope];
        if (one.prompts == 0) continue;
        const auto asked = [&](double value) { return one.has_other ? real(value) : Value(); };
        const auto counted = [&](int64_t value) { return one.has_other ? Value(value) : Value(); };
        out.rows.push_back({subjects_[variants_[v].subject].id, variants_[v].name,
                            std::string(kEditScopeNames[scope]), count(one.prompts),
                            count(one.right), count(one.changed), counted(one.success),
                            counted(one.wrong_success), counted(one.wrong_target_before),
                            real(one.log_p_before), real(one.log_p_after), asked(one.other_before),
                            asked(one.other_after)});
      }
    }
    return out;
  }

  const RunContext& run_;
  std::string_view relation_;
  RunText& text_;
  std::vector<Subject> subjects_;
  std::vector<Variant> variants_;  ///< subject after subject
  ProbeList probes_;
  std::vector<OutputEdit> edits_;
  std::vector<std::vector<int64_t>> others_;
  std::map<std::vector<int64_t>, uint32_t> other_place_;
  std::vector<EditTrial> trials_;
  std::vector<std::pair<size_t, EditScope>> places_;  ///< of trials: variant (or none) and scope
  std::vector<std::pair<size_t, size_t>> base_;       ///< of subjects: first trial and number
  EditMeasured measured_;
};

class UpdateExperiment : public Experiment {
 public:
  [[nodiscard]] std::string_view name() const override { return "update"; }
  [[nodiscard]] std::vector<std::string_view> needs() const override { return {"locate"}; }
  [[nodiscard]] int64_t parts(const RunContext& run, std::string_view relation) const override {
    const auto facts = static_cast<int64_t>(sample_facts(run, relation).reported.size());
    return std::max<int64_t>(1, (facts + kPartFacts - 1) / kPartFacts);
  }
  [[nodiscard]] int64_t facts(const RunContext& run, std::string_view relation,
                              int64_t part) const override {
    const UpdateSample sample = part_sample(run, relation, part);
    return static_cast<int64_t>(sample.reported.size() + sample.tuning.size());
  }
  std::vector<TableRows> run(const RunContext& run, std::string_view relation,
                             int64_t part) override {
    const auto& relations = run.facts.relations();
    const int64_t before = (std::ranges::find(relations, relation) - relations.begin()) *
                           std::max<int64_t>(0, run.options.update_facts);
    return UpdatePart(run, relation, text_)
        .rows(part_sample(run, relation, part), before + part * kPartFacts);
  }

 private:
  /// The part's share of the sample; the sweep belongs to the first one.
  static UpdateSample part_sample(const RunContext& run, std::string_view relation, int64_t part) {
    UpdateSample sample = sample_facts(run, relation);
    const auto size = sample.reported.size();
    const size_t begin = std::min(size, static_cast<size_t>(part * kPartFacts));
    const size_t end = std::min(size, begin + static_cast<size_t>(kPartFacts));
    UpdateSample mine;
    const auto at = [&](size_t i) {
      return sample.reported.begin() + static_cast<std::ptrdiff_t>(i);
    };
    mine.reported.assign(at(begin), at(end));
    if (part == 0) mine.tuning = std::move(sample.tuning);
    return mine;
  }

  RunText text_;
};

}  // namespace

std::unique_ptr<Experiment> make_update_experiment() {
  return std::make_unique<UpdateExperiment>();
}

}  // namespace engram
