#include "intervention/effects_plan.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <map>

#include "base/random.h"
#include "engram/base/interrupt.h"
#include "engram/error.h"

namespace engram {
namespace {

constexpr size_t kProfilePrompts = 128;  // of one call: bounds the activations that are kept

/// Facts of one relation, and of all others, without listing the others for each.
struct RelationIndex {
  std::vector<uint32_t> by_relation;             ///< all facts, relation after relation
  std::vector<std::pair<size_t, size_t>> range;  ///< per fact: its relation's part
};

RelationIndex index_relations(std::span<const EffectFact> facts) {
  std::map<std::string_view, std::vector<uint32_t>> groups;
  for (size_t i = 0; i < facts.size(); ++i) {
    groups[facts[i].relation].push_back(static_cast<uint32_t>(i));
  }
  RelationIndex index;
  index.range.resize(facts.size());
  for (const auto& [relation, members] : groups) {
    const size_t begin = index.by_relation.size();
    index.by_relation.insert(index.by_relation.end(), members.begin(), members.end());
    for (const uint32_t fact : members) index.range[fact] = {begin, index.by_relation.size()};
  }
  return index;
}

}  // namespace

uint64_t fact_seed(const EffectFact& fact, uint64_t seed) {
  return hash_text(fact.object, hash_text(fact.subject, hash_text(fact.relation))) ^
         (seed * 0x9E3779B97F4A7C15ULL);
}

std::vector<EffectItem> plan_items(std::span<const EffectFact> facts, std::span<const Cloze> text,
                                   const EffectOptions& options) {
  std::vector<EffectItem> items;
  std::vector<size_t> side_item(facts.size());  // the one prompt that stands for a fact elsewhere
  for (size_t f = 0; f < facts.size(); ++f) {
    const EffectFact& fact = facts[f];
    const auto id = static_cast<uint32_t>(f);
    side_item[f] = items.size() + fact_seed(fact, options.seed) % fact.prompts.size();
    for (const Cloze& cloze : fact.prompts) {
      items.push_back({id, &cloze, {}});
      if (fact.evaluated) items.back().jobs.push_back({id, Scope::kOwn});
    }
    if (!fact.evaluated) continue;
    for (const Cloze& cloze : fact.held_out) {
      items.push_back({id, &cloze, {{id, Scope::kHeldOut}}});
    }
  }
  const size_t first_sentence = items.size();
  for (const Cloze& sentence : text) items.push_back({kNoFact, &sentence, {}});
  const RelationIndex index = index_relations(facts);
  for (size_t f = 0; f < facts.size(); ++f) {
    if (!facts[f].evaluated) continue;
    Random random(fact_seed(facts[f], options.seed + 1));
    const auto [begin, end] = index.range[f];
    const auto add = [&](uint32_t other, bool same_relation) {
      const bool same_object = facts[other].object == facts[f].object;
      const Scope scope = same_relation ? (same_object ? Scope::kSameRelationSameObject
                                                       : Scope::kSameRelationOtherObject)
                                        : (same_object ? Scope::kOtherRelationsSameObject
                                                       : Scope::kOtherRelationsOtherObject);
      items[side_item[other]].jobs.push_back({static_cast<uint32_t>(f), scope});
    };
    // One more is drawn, because the fact itself may be among them.
    int64_t wanted = options.same_relation;
    for (const uint64_t i : random.sample(end - begin, static_cast<uint64_t>(wanted) + 1)) {
      const uint32_t other = index.by_relation[begin + i];
      if (other == f || wanted == 0) continue;
      add(other, true);
      --wanted;
    }
    const uint64_t elsewhere = facts.size() - (end - begin);
    for (const uint64_t i :
         random.sample(elsewhere, static_cast<uint64_t>(options.other_relations))) {
      add(index.by_relation[i < begin ? i : i + (end - begin)], false);
    }
    for (const uint64_t i : random.sample(text.size(), static_cast<uint64_t>(options.sentences))) {
      items[first_sentence + i].jobs.push_back({static_cast<uint32_t>(f), Scope::kText});
    }
  }
  std::erase_if(items, [](const EffectItem& item) { return item.jobs.empty(); });
  std::ranges::stable_sort(items, [](const EffectItem& a, const EffectItem& b) {
    return std::pair(a.cloze->ids.size(), a.cloze->positions.size()) <
           std::pair(b.cloze->ids.size(), b.cloze->positions.size());
  });
  return items;
}

namespace {

/// Sets of other facts, by relation.
using SetsByRelation = std::map<std::string_view, std::vector<const LocatedNeurons*>>;

SetsByRelation index_sets(const EffectContext& context) {
  SetsByRelation found;
  for (const LocatedNeurons& set : context.sets) {
    if (!set.neurons.empty()) found[set.relation].push_back(&set);
  }
  return found;
}

std::vector<std::vector<NeuronId>> other_sets(const EffectFact& fact, const SetsByRelation& all,
                                              const EffectOptions& options) {
  std::vector<std::vector<NeuronId>> chosen;
  const auto found = all.find(fact.relation);
  if (found == all.end()) return chosen;
  std::vector<const LocatedNeurons*> others;
  std::ranges::copy_if(found->second, std::back_inserter(others),
                       [&](const LocatedNeurons* set) { return set->object != fact.object; });
  Random random(fact_seed(fact, options.seed + 7));
  for (const uint64_t i :
       random.sample(others.size(), static_cast<uint64_t>(options.other_facts))) {
    chosen.push_back(others[i]->neurons);
  }
  return chosen;
}

/// Sizes of a control's sets, and what they share with the located one.
SetMatch match_of(const std::vector<std::vector<NeuronId>>& sets,
                  const std::vector<NeuronId>& located) {
  SetMatch match;
  match.difference.fill(std::numeric_limits<double>::quiet_NaN());
  match.sets = static_cast<double>(sets.size());
  for (const std::vector<NeuronId>& set : sets) {
    match.neurons += static_cast<double>(set.size()) / match.sets;
    for (const NeuronId id : set) {
      if (std::ranges::find(located, id) != located.end()) match.overlap += 1 / match.sets;
    }
  }
  return match;
}

ControlSets controls_of(const EffectFact& fact, const MatchedSampler& sampler,
                        const at::Tensor& activation, const at::Tensor& product,
                        const SetsByRelation& others, const EffectOptions& options) {
  ControlSets controls;
  for (const MatchStrength strength : kMatchStrengths) {
    const auto s = static_cast<size_t>(strength);
    MatchedSets drawn = sampler.draw(fact.neurons, strength, activation, product, options.draws,
                                     fact_seed(fact, options.seed + 2 + s));
    controls.match[s] = match_of(drawn.draws, fact.neurons);
    controls.match[s].missing = static_cast<double>(drawn.missing);
    controls.match[s].difference = drawn.difference;
    controls.sets[s] = std::move(drawn.draws);
  }
  const auto set = [&](Source source, std::vector<std::vector<NeuronId>> sets) {
    controls.match[source - 1] = match_of(sets, fact.neurons);
    controls.sets[source - 1] = std::move(sets);
  };
  set(kNext, {sampler.next(fact.neurons, product)});
  set(kOtherFact, other_sets(fact, others, options));
  set(kActivationSameK, {largest_neurons(activation, fact.neurons.size())});
  return controls;
}

}  // namespace

std::vector<ControlSets> plan_controls(const Model& model, std::span<const EffectFact> facts,
                                       const EffectContext& context, const EffectOptions& options) {
  std::vector<ControlSets> controls(facts.size());
  if (options.draws == 0) return controls;
  std::unordered_set<NeuronId> never;
  if (!options.random_from_all) {
    never = context.located;
    for (const EffectFact& fact : facts) never.insert(fact.neurons.begin(), fact.neurons.end());
  }
  const MatchedSampler sampler(model, std::move(never));
  const SetsByRelation others = index_sets(context);

  std::vector<size_t> todo;
  for (size_t f = 0; f < facts.size(); ++f) {
    if (facts[f].evaluated && !facts[f].neurons.empty()) todo.push_back(f);
  }
  for (size_t begin = 0; begin < todo.size();) {
    std::vector<Cloze> clozes;
    std::vector<int64_t> group;
    size_t end = begin;
    for (; end < todo.size() && (end == begin || clozes.size() < kProfilePrompts); ++end) {
      for (const Cloze& cloze : facts[todo[end]].prompts) {
        clozes.push_back(cloze);
        group.push_back(static_cast<int64_t>(end - begin));
      }
    }
    const ActivationProfile profile = activation_profiles(
        model, clozes, group, static_cast<int64_t>(end - begin), options.measure);
    for (size_t i = begin; i < end; ++i) {
      Interrupt::check();
      const auto row = static_cast<int64_t>(i - begin);
      controls[todo[i]] = controls_of(facts[todo[i]], sampler, profile.activation.select(0, row),
                                      profile.product.select(0, row), others, options);
    }
    begin = end;
  }
  return controls;
}

ReferenceValues::ReferenceValues(const Model& model, std::span<const EffectFact> facts,
                                 const EffectOptions& options, const at::Tensor& rows)
    : kind_(options.intervention.kind), rows_(rows) {
  if (!needs_reference(options.intervention)) {
    rows_ = at::Tensor();
    return;
  }
  own_row_.assign(facts.size(), -1);
  if (!rows_.defined()) {
    Random random(options.seed + 0x5EFE);
    std::vector<Cloze> clozes;
    for (const uint64_t f : random.sample(facts.size(), static_cast<uint64_t>(options.reference))) {
      own_row_[f] = static_cast<int64_t>(clozes.size());
      clozes.push_back(
          facts[f].prompts[fact_seed(facts[f], options.seed) % facts[f].prompts.size()]);
    }
    if (clozes.size() < 2) {
      throw InputError(
          "mean and resample need the prompts of at least two facts, or a corpus; got " +
          std::to_string(clozes.size()) + " fact");
    }
    rows_ = mask_activations(model, clozes, options.measure);
  }
  if (rows_.dim() != 3 || rows_.size(0) < 1 || rows_.size(1) != model.config().layers ||
      rows_.size(2) != model.config().d_ff) {
    throw InternalError("the reference must be [prompts, layers, d_ff]");
  }
  rows_ = rows_.contiguous();
  const auto count = static_cast<double>(rows_.size(0));
  if (kind_ == InterventionKind::kMean) {
    mean_ = rows_.mean(0).contiguous();
    const bool sampled = std::ranges::any_of(own_row_, [](int64_t row) { return row >= 0; });
    if (sampled) without_own_ = ((mean_ * count - rows_) / (count - 1)).contiguous();
    return;
  }
  for (size_t f = 0; f < facts.size(); ++f) {
    Random random(fact_seed(facts[f], options.seed + 5));
    auto row = static_cast<int64_t>(random.below(static_cast<uint64_t>(rows_.size(0))));
    if (row == own_row_[f]) row = (row + 1) % rows_.size(0);
    donor_.push_back(row);
  }
}

at::Tensor ReferenceValues::of(size_t fact) const {
  if (!rows_.defined()) return {};
  if (kind_ == InterventionKind::kResample) return rows_.select(0, donor_[fact]);
  return own_row_[fact] >= 0 ? without_own_.select(0, own_row_[fact]) : mean_;
}

}  // namespace engram
