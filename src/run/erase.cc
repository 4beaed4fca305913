// Erasing a relation (METHOD section 5), and the audit: is it gone?
#include "run/erase.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include "engram/attribution/cost.h"
#include "engram/edit/values.h"
#include "engram/evaluation/lens.h"
#include "engram/neurons/matched.h"
#include "engram/statistics/neuron_sets.h"
#include "run/parts.h"
#include "run/seeds.h"
#include "run/sets.h"
#include "run/values.h"

namespace engram {
namespace {

constexpr std::array<const char*, kEraseScopes> kScopeNames = {"own", "held-out", "other-relations",
                                                               "text"};
constexpr std::array<size_t, 4> kSizes = {5, 10, 20, 40};
constexpr size_t kStandard = 20;  // neurons of the paper's erasure
constexpr ErasePrompts kPrompts = {120, 120, 150, 60};
constexpr int64_t kMostText = 300;      // positions that a relation sees, however few there are
constexpr int64_t kErasureDraws = 5;    // random sets of each size and strength
constexpr uint64_t kLensPrompts = 100;  // own ones, and as many held-out ones

/// Sums over the prompts of a scope.
struct EraseSums {
  int64_t prompts = 0;
  struct State {
    double log_p = 0, p = 0, log_rank = 0, log_odds = 0;
    int64_t top = 0;
    void add(const Answered& answered) {
      log_p += answered.log_p;
      p += answered.p;
      log_rank += std::log(static_cast<double>(answered.rank));
      log_odds += answered.log_odds;
      if (answered.top()) ++top;
    }
  } before, after;
};

/// A seeded sample of places, in their order.
std::vector<PromptPlace> sample(const std::vector<PromptPlace>& all, uint64_t count,
                                uint64_t seed) {
  Random random(seed);
  std::vector<uint64_t> chosen = random.sample(all.size(), count);
  std::ranges::sort(chosen);
  std::vector<PromptPlace> places;
  for (const uint64_t i : chosen) places.push_back(all[i]);
  return places;
}

/// The relation's neurons, the most frequent first.
std::vector<NeuronId> frequent_neurons(const RunContext& run, std::string_view relation) {
  std::vector<NeuronId> ids;
  for (const NeuronFacts& one : neuron_frequencies(stored_relation(run, "ig", relation))) {
    ids.push_back(one.id);
  }
  return ids;
}

/// The least that a part can hold: an erasure on the prompts of one scope, or what the layers say
/// on the prompts under one. Which neurons it takes is not known before they are located.
struct ErasePiece {
  EraseScope scope = kEraseOwn;
  bool lens = false;
  std::optional<EraseMode> mode;          ///< nothing: without erasing, for the lens
  std::optional<MatchStrength> strength;  ///< of a random set; nothing: the relation's neurons
  size_t size = kStandard;
  size_t draw = 0;
};

/// A relation's erasures, scope after scope, and its lenses.
class ErasePieces {
 public:
  ErasePieces(const RunContext& run, std::string_view relation)
      : run_(run), prompts_(erase_prompts(run, relation, kPrompts)) {
    for (const EraseScope scope : {kEraseOwn, kEraseHeldOut, kEraseOther, kEraseText}) {
      if (erase_flops(run, prompts_, scope) == 0) continue;
      if (run.options.as_published) {
        add({scope, false, EraseMode::kZero, {}, kStandard, 0}, erase_flops(run, prompts_, scope));
      } else {
        add_scope(scope);
      }
    }
    for (const EraseScope scope : {kEraseOwn, kEraseHeldOut}) {
      const bool asked = !run.options.as_published && erase_flops(run, prompts_, scope) > 0;
      if (asked) add_lenses(scope);
    }
    ranges_ = cut_parts(costs_, pieces_.size(), run.part_flops);
  }

  [[nodiscard]] int64_t parts() const { return static_cast<int64_t>(ranges_.size()); }
  [[nodiscard]] std::span<const ErasePiece> of(int64_t part) const {
    const PartRange range = ranges_.at(static_cast<size_t>(part));
    return std::span(pieces_).subspan(range.begin, range.end - range.begin);
  }

 private:
  void add(const ErasePiece& piece, double cost) {
    pieces_.push_back(piece);
    costs_.push_back(cost);
  }

  /// Random sets of every size match by layer, on the relation's own prompts; of the standard size
  /// in all strengths, on other relations' too, and by layer on the text.
  void add_scope(EraseScope scope) {
    const double cost = erase_flops(run_, prompts_, scope);
    for (const size_t size : kSizes) add({scope, false, EraseMode::kZero, {}, size, 0}, cost);
    for (const EraseMode mode : modes()) {
      if (mode != EraseMode::kZero) add({scope, false, mode, {}, kStandard, 0}, cost);
    }
    for (const MatchStrength strength : kMatchStrengths) {
      const bool layer = strength == MatchStrength::kLayer;
      if (!layer && (scope == kEraseText || prompts_.own == 0)) continue;
      for (const size_t size : kSizes) {
        const bool all = layer && (scope == kEraseOwn || scope == kEraseHeldOut);
        if (size != kStandard && !all) continue;
        for (size_t draw = 0; draw < static_cast<size_t>(kErasureDraws); ++draw) {
          add({scope, false, EraseMode::kZero, strength, size, draw}, cost);
        }
      }
    }
  }

  void add_lenses(EraseScope scope) {
    const uint64_t all = scope == kEraseOwn ? prompts_.own : prompts_.held_out;
    const PromptSize& size = run_.facts.mean_size();
    const auto layers = static_cast<double>(run_.model.config().layers);
    const double cost =
        static_cast<double>(std::min(all, kLensPrompts)) *
        (run_flops(run_, size) + layers * head_flops(run_.model.config(), size.masks));
    add({scope, true, {}, {}, 0, 0}, cost);
    for (const EraseMode mode : modes()) add({scope, true, mode, {}, kStandard, 0}, cost);
  }

  [[nodiscard]] std::vector<EraseMode> modes() const {
    // A vocabulary without an unknown token has no such erasure.
    if (!run_.tokenizer.unknown_id()) return {EraseMode::kZero, EraseMode::kMean};
    return {EraseMode::kZero, EraseMode::kUnknown, EraseMode::kMean};
  }

  const RunContext& run_;
  ErasePrompts prompts_;
  std::vector<ErasePiece> pieces_;
  std::vector<double> costs_;
  std::vector<PartRange> ranges_;
};

/// The work of one part.
class ErasePart {
 public:
  ErasePart(const RunContext& run, std::string_view relation, RunText& text)
      : run_(run),
        relation_(relation),
        neurons_(frequent_neurons(run, relation)),
        measurement_(run, relation, text, kPrompts) {}

  std::vector<TableRows> rows(std::span<const ErasePiece> pieces) {
    TableRows lens{"lens", {}};
    for (const ErasePiece& piece : pieces) {
      if (piece.lens) {
        add_lens(piece, lens);
      } else if (is_there(piece)) {
        add_erasure(piece);
      }
    }
    return {measurement_.rows(), std::move(lens)};
  }

 private:
  [[nodiscard]] size_t cut(size_t size) const { return std::min(size, neurons_.size()); }

  /// Sizes that fewer neurons make alike are one, the standard one. Without neurons nothing but
  /// that is measured, and nothing changes.
  [[nodiscard]] bool is_there(const ErasePiece& piece) const {
    if (neurons_.empty()) {
      return piece.size == kStandard && !piece.strength && piece.mode == EraseMode::kZero;
    }
    return piece.size == kStandard || cut(piece.size) != cut(kStandard);
  }

  void add_erasure(const ErasePiece& piece) {
    std::string source = "relation";
    std::span<const NeuronId> set = std::span(neurons_).first(cut(piece.size));
    // How many are erased is said as of the matched set, so that the two can be joined.
    const auto size = static_cast<int64_t>(set.size());
    if (piece.strength) {
      source = std::string("random-") + match_name(*piece.strength);
      set = random_sets(*piece.strength, set, source).draws.at(piece.draw);
    }
    std::bitset<kEraseScopes> scopes;
    scopes.set(piece.scope);
    measurement_.add({source, static_cast<int64_t>(piece.draw), erase_mode_name(*piece.mode), size,
                      output_edit(run_.model, values(set, *piece.mode)), scopes});
  }

  [[nodiscard]] ValueEdit values(std::span<const NeuronId> set, EraseMode mode) const {
    return erase_values(run_.model, set, mode, run_.tokenizer.unknown_id());
  }

  /// None holds a neuron located for any fact of the run.
  const MatchedSets& random_sets(MatchStrength strength, std::span<const NeuronId> matched,
                                 const std::string& source) {
    const auto [it, fresh] = random_.try_emplace({strength, matched.size()});
    if (!fresh) return it->second;
    if (!sampler_) sampler_.emplace(run_.model, located_of_run(run_));
    at::Tensor activation;
    at::Tensor product;
    if (strength != MatchStrength::kLayer) {
      const ActivationProfile& own = profile();
      activation = own.activation.select(0, 0);
      product = own.product.select(0, 0);
    }
    it->second =
        sampler_->draw(matched, strength, activation, product, kErasureDraws,
                       choice_seed(run_.options.seed,
                                   "erase " + source + std::to_string(matched.size()), relation_));
    return it->second;
  }

  const ActivationProfile& profile() {
    if (!profile_) {
      const std::vector<Cloze> own = measurement_.clozes(kEraseOwn);
      profile_ = activation_profiles(run_.model, own, std::vector<int64_t>(own.size(), 0), 1,
                                     run_.measure);
    }
    return *profile_;
  }

  void add_lens(const ErasePiece& piece, TableRows& out) const {
    std::vector<Cloze> clozes = measurement_.clozes(piece.scope);
    if (clozes.size() > kLensPrompts) clozes.resize(kLensPrompts);
    const bool held_out = piece.scope == kEraseHeldOut;
    if (!piece.mode) {
      add_lens_rows(run_, run_.model, relation_, "none", 0, held_out, clozes, out);
      return;
    }
    const std::span<const NeuronId> standard = std::span(neurons_).first(cut(kStandard));
    if (standard.empty()) return;
    add_lens_rows(run_, with_values(run_.model, values(standard, *piece.mode)), relation_,
                  erase_mode_name(*piece.mode), static_cast<int64_t>(standard.size()), held_out,
                  clozes, out);
  }

  static void add_lens_rows(const RunContext& run, const Model& model, std::string_view relation,
                            const char* mode, int64_t neurons, bool held_out,
                            std::span<const Cloze> clozes, TableRows& out) {
    std::vector<EraseSums::State> layers(static_cast<size_t>(model.config().layers) + 1);
    for (const std::vector<Answered>& answers : answers_by_layer(model, clozes, run.measure)) {
      for (size_t l = 0; l < layers.size(); ++l) layers[l].add(answers[l]);
    }
    for (size_t l = 0; l < layers.size(); ++l) {
      out.rows.push_back({std::string(relation), std::string(mode), neurons, flag(held_out),
                          static_cast<int64_t>(l), static_cast<int64_t>(clozes.size()),
                          real(layers[l].log_p), real(layers[l].log_rank), layers[l].top});
    }
  }

  const RunContext& run_;
  std::string_view relation_;
  std::vector<NeuronId> neurons_;  ///< of the relation, the most frequent first
  EraseMeasurement measurement_;
  std::optional<MatchedSampler> sampler_;
  std::map<std::pair<MatchStrength, size_t>, MatchedSets> random_;
  std::optional<ActivationProfile> profile_;
};

class EraseExperiment : public Experiment {
 public:
  [[nodiscard]] std::string_view name() const override { return "erase"; }
  [[nodiscard]] int version() const override { return 4; }
  [[nodiscard]] std::vector<std::string_view> needs() const override { return {"locate"}; }
  [[nodiscard]] std::optional<std::string> skipped(const RunContext& run) const override {
    return not_all_located(run);
  }
  [[nodiscard]] int64_t parts(const RunContext& run, std::string_view relation) const override {
    return ErasePieces(run, relation).parts();
  }
  [[nodiscard]] int64_t facts(const RunContext& run, std::string_view relation,
                              int64_t part) const override {
    const bool last = part + 1 == parts(run, relation);
    return last ? static_cast<int64_t>(run.facts.of(relation).size()) : 0;
  }
  std::vector<TableRows> run(const RunContext& run, std::string_view relation,
                             int64_t part) override {
    return ErasePart(run, relation, text_).rows(ErasePieces(run, relation).of(part));
  }

 private:
  RunText text_;
};

/// Positions of the text that a relation sees, of `positions`: together the relations see all of
/// them, where they are not too few for that.
int64_t text_share(const RunContext& run, int64_t positions, uint64_t least) {
  if (positions == 0) return 0;
  const auto relations = static_cast<int64_t>(run.facts.relations().size());
  return std::clamp((positions + relations - 1) / relations, static_cast<int64_t>(least),
                    std::max(static_cast<int64_t>(least), kMostText));
}

}  // namespace

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
  const PromptSize size = scope == kEraseText ? text_size(run) : run.facts.mean_size();
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
    const uint64_t seed =
        choice_seed(run.options.seed, std::string("erase prompts ") + kScopeNames[scope], relation);
    for (const PromptPlace& place : sample(all, count, seed)) {
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

TableRows EraseMeasurement::rows() {
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
  TableRows out{"erase", {}};
  for (size_t e = 0; e < erasures_.size(); ++e) {
    const Erasure& erasure = erasures_[e];
    for (size_t at = 0; at < kEraseScopes * kFactGroups; ++at) {
      const auto group = static_cast<FactGroup>(at % kFactGroups);
      const EraseSums& one = sums[e][at / kFactGroups][at % kFactGroups];
      if (one.prompts == 0) continue;
      std::string scope = kScopeNames[at / kFactGroups];
      if (group != FactGroup::kAll) scope += std::string(" ") + group_name(group);
      out.rows.push_back(
          {relation_, erasure.source, erasure.draw, erasure.mode, erasure.neurons, std::move(scope),
           one.prompts, real(one.before.log_p), real(one.after.log_p), real(one.before.p),
           real(one.after.p), one.before.top, one.after.top, real(one.before.log_rank),
           real(one.after.log_rank), real(one.before.log_odds), real(one.after.log_odds)});
    }
  }
  return out;
}

std::unique_ptr<Experiment> make_erase_experiment() { return std::make_unique<EraseExperiment>(); }

}  // namespace engram
