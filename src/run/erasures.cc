#include "run/erasures.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <map>

#include "run/parts.h"
#include "run/seeds.h"
#include "run/sets.h"

namespace engram {
namespace {

using experiments::erase::EraseRow;

constexpr std::array<const char*, kEraseScopes> kEraseScopeNames = {"own", "held-out",
                                                                    "other-relations", "text"};
constexpr int64_t kMostText = 300;  // positions that a relation sees, however few there are

/// Sums over the prompts of a scope.
struct EraseSums {
  int64_t prompts = 0;
  AnswerSums before, after;
};

/// A seeded sample of places, in their order.
std::vector<PromptPlace> sample_places(const std::vector<PromptPlace>& all, uint64_t count,
                                       uint64_t seed) {
  Random random(seed);
  std::vector<uint64_t> chosen = random.sample(all.size(), count);
  std::ranges::sort(chosen);
  std::vector<PromptPlace> places;
  for (const uint64_t i : chosen) places.push_back(all[i]);
  return places;
}

/// Positions of the text that a relation sees, of `positions`: together the relations see all of
/// them, where they are not too few for that.
int64_t text_share(const RunContext& run, int64_t positions, uint64_t least) {
  if (positions == 0) return 0;
  const auto relations = static_cast<int64_t>(run.facts.relations().size());
  return std::clamp((positions + relations - 1) / relations, static_cast<int64_t>(least),
                    std::max(static_cast<int64_t>(least), kMostText));
}

}  // namespace

void AnswerSums::add(const Answered& answered) {
  log_p += answered.log_p;
  p += answered.p;
  log_rank += std::log(static_cast<double>(answered.rank));
  log_odds += answered.log_odds;
  if (answered.top()) ++top;
}

ErasePrompts erase_prompts(const RunContext& run, std::string_view relation, ErasePrompts most) {
  ErasePrompts all;
  for (const int64_t id : facts_for_effects(run, relation, true)) {
    all.own += run.facts.fact(id).prompts.size();
    all.held_out += run.facts.fact(id).held_out.size();
  }
  all.other = facts_for_effects(run, relation, false).size();
  const int64_t positions = run.options.corpus.empty() ? 0 : run.options.text_positions;
  const auto text =
      most.text == 0 ? 0 : static_cast<uint64_t>(text_share(run, positions, most.text));
  return {std::min(all.own, most.own), std::min(all.held_out, most.held_out),
          std::min(all.other, most.other), text};
}

double erase_flops(const RunContext& run, const ErasePrompts& prompts, EraseScope scope) {
  const std::array<uint64_t, kEraseScopes> count = {prompts.own, prompts.held_out, prompts.other,
                                                    prompts.text};
  const TokenCounts size = scope == kEraseText ? text_size(run) : run.facts.mean_size();
  return static_cast<double>(count[scope]) * changed_run_flops(run, size);
}

EraseMeasurement::EraseMeasurement(const RunContext& run, std::string_view relation, RunText& text,
                                   const ErasePrompts& prompts)
    : run_(run), relation_(relation), clozes_(run) {
  std::vector<PromptPlace> own;
  std::vector<PromptPlace> held_out;
  for (const int64_t id : facts_for_effects(run, relation, true)) {
    std::ranges::copy(prompts_of(run, id, false), std::back_inserter(own));
    std::ranges::copy(prompts_of(run, id, true), std::back_inserter(held_out));
  }
  std::vector<PromptPlace> other;
  for (const int64_t id : facts_for_effects(run, relation, false)) {
    other.push_back(side_prompt(run, id));
  }
  std::map<int64_t, FactGroup> groups;
  const auto add = [&](EraseScope scope, const std::vector<PromptPlace>& all, uint64_t count) {
    const uint64_t seed = choice_seed(
        run.options.seed, std::string("erase prompts ") + kEraseScopeNames[scope], relation);
    for (const PromptPlace& place : sample_places(all, count, seed)) {
      scopes_[scope].push_back(clozes_.add(place));
      if (scope == kEraseOther) continue;
      const auto [group, fresh] = groups.try_emplace(place.fact);
      if (fresh) group->second = stored_group(run.store, place.fact);
      groups_[scope].push_back(group->second);
    }
  };
  add(kEraseOwn, own, prompts.own);
  add(kEraseHeldOut, held_out, prompts.held_out);
  add(kEraseOther, other, prompts.other);
  if (prompts.text == 0) return;
  const auto& relations = run.facts.relations();
  const int64_t share =
      text_share(run, static_cast<int64_t>(text.positions(run).size()), prompts.text);
  const int64_t turn = std::ranges::find(relations, relation) - relations.begin();
  for (const size_t i : text.turn(run, turn, share)) {
    scopes_[kEraseText].push_back(clozes_.add(text.positions(run)[i]));
  }
}

std::vector<Cloze> EraseMeasurement::clozes(EraseScope scope) const {
  std::vector<Cloze> found;
  for (const uint32_t i : scopes_[scope]) found.push_back(clozes_.clozes()[i]);
  return found;
}

std::vector<experiments::erase::EraseRow> EraseMeasurement::rows() {
  std::vector<OutputEdit> edits;
  std::vector<EditTrial> trials;
  struct Place {
    size_t erasure, scope;
    FactGroup group;
  };
  std::vector<Place> places;  // of the trials
  std::vector<Cloze> clozes;  // those that are looked at
  std::vector<uint32_t> place(clozes_.clozes().size(), kNoIndex);
  for (size_t e = 0; e < erasures_.size(); ++e) {
    edits.push_back(std::move(erasures_[e].edit));
    for (size_t scope = 0; scope < kEraseScopes; ++scope) {
      if (!erasures_[e].scopes.test(scope)) continue;
      for (size_t i = 0; i < scopes_[scope].size(); ++i) {
        const uint32_t cloze = scopes_[scope][i];
        if (place[cloze] == kNoIndex) {
          place[cloze] = static_cast<uint32_t>(clozes.size());
          clozes.push_back(clozes_.clozes()[cloze]);
        }
        trials.push_back({place[cloze], static_cast<uint32_t>(e), kNoIndex});
        places.push_back({e, scope, groups_[scope].empty() ? FactGroup::kAll : groups_[scope][i]});
      }
    }
  }
  const EditMeasured measured = measure_edits(run_.model, clozes, edits, {}, trials, run_.measure);
  // By scope, and within a scope by group, of which kAll holds every prompt.
  std::vector<std::array<std::array<EraseSums, kFactGroups>, kEraseScopes>> sums(erasures_.size());
  for (size_t t = 0; t < trials.size(); ++t) {
    auto& of_scope = sums[places[t].erasure][places[t].scope];
    const auto add = [&](EraseSums& one) {
      ++one.prompts;
      one.before.add(measured.before[trials[t].cloze]);
      one.after.add(measured.after[t]);
    };
    add(of_scope[static_cast<size_t>(FactGroup::kAll)]);
    if (places[t].group != FactGroup::kAll) add(of_scope[static_cast<size_t>(places[t].group)]);
  }
  std::vector<EraseRow> rows;
  for (size_t e = 0; e < erasures_.size(); ++e) {
    const Erasure& erasure = erasures_[e];
    for (size_t at = 0; at < kEraseScopes * kFactGroups; ++at) {
      const auto group = static_cast<FactGroup>(at % kFactGroups);
      const EraseSums& one = sums[e][at / kFactGroups][at % kFactGroups];
      if (one.prompts == 0) continue;
      std::string scope = kEraseScopeNames[at / kFactGroups];
      if (group != FactGroup::kAll) scope += std::string(" ") + group_name(group);
      EraseRow& row = rows.emplace_back();
      row.relation = relation_;
      row.source = erasure.source;
      row.draw = erasure.draw;
      row.mode = erasure.mode;
      row.neurons = erasure.neurons;
      row.scope = std::move(scope);
      row.prompts = one.prompts;
      row.log_p_before = one.before.log_p;
      row.log_p_after = one.after.log_p;
      row.p_before = one.before.p;
      row.p_after = one.after.p;
      row.top_before = one.before.top;
      row.top_after = one.after.top;
      row.log_rank_before = one.before.log_rank;
      row.log_rank_after = one.after.log_rank;
      row.log_odds_before = one.before.log_odds;
      row.log_odds_after = one.after.log_odds;
    }
  }
  return rows;
}

}  // namespace engram
