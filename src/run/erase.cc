// Erasing a relation (METHOD section 5), and the audit: is it gone?
#include "run/erase.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <utility>

#include "engram/edit/values.h"
#include "engram/evaluation/lens.h"
#include "engram/neurons/matched.h"
#include "engram/neurons/statistics.h"
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
constexpr int64_t kErasureDraws = 5;    // random sets of each size and strength
constexpr uint64_t kLensPrompts = 100;  // own ones, and as many held-out ones

/// Sums over the prompts of a scope.
struct EraseSums {
  int64_t prompts = 0;
  struct State {
    double log_p = 0, p = 0, log_rank = 0;
    int64_t top = 0;
    void add(const Answered& answered) {
      log_p += answered.log_p;
      p += answered.p;
      log_rank += std::log(static_cast<double>(answered.rank));
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

/// The sizes of a sweep that differ where there are `available` neurons; 0 alone without any.
std::vector<size_t> sizes_of(size_t available) {
  std::vector<size_t> sizes;
  for (const size_t size : kSizes) {
    const size_t cut = std::min(size, available);
    if (sizes.empty() || sizes.back() != cut) sizes.push_back(cut);
  }
  return sizes;
}

class EraseExperiment : public Experiment {
 public:
  [[nodiscard]] std::string_view name() const override { return "erase"; }
  [[nodiscard]] std::vector<std::string_view> needs() const override { return {"locate"}; }
  [[nodiscard]] std::optional<std::string> skipped(const RunContext& run) const override {
    return not_all_located(run);
  }
  [[nodiscard]] int64_t parts(const RunContext&, std::string_view) const override { return 1; }
  [[nodiscard]] int64_t facts(const RunContext& run, std::string_view relation,
                              int64_t) const override {
    return static_cast<int64_t>(run.facts.of(relation).size());
  }

  std::vector<TableRows> run(const RunContext& run, std::string_view relation, int64_t) override {
    const std::vector<NeuronId> neurons = frequent_neurons(run, relation);
    const std::vector<NeuronId> standard(
        neurons.begin(),
        neurons.begin() + static_cast<std::ptrdiff_t>(std::min(kStandard, neurons.size())));
    std::vector<std::pair<EraseMode, ValueEdit>> modes;
    for (const EraseMode mode : {EraseMode::kZero, EraseMode::kUnknown, EraseMode::kMean}) {
      // A vocabulary without an unknown token has no such erasure.
      if (mode == EraseMode::kUnknown && !run.tokenizer.unknown_id()) continue;
      modes.emplace_back(mode, erase_values(run.model, standard, mode, run.tokenizer.unknown_id()));
    }
    EraseMeasurement measurement(run, relation, text_, kPrompts);
    for (const size_t size : sizes_of(neurons.size())) {
      const std::span<const NeuronId> part = std::span(neurons).first(size);
      measurement.add({"relation", 0, erase_mode_name(EraseMode::kZero), static_cast<int64_t>(size),
                       zero(run, part)});
    }
    for (const auto& [mode, edit] : modes) {
      if (mode == EraseMode::kZero || standard.empty()) continue;
      measurement.add({"relation", 0, erase_mode_name(mode), static_cast<int64_t>(standard.size()),
                       output_edit(run.model, edit)});
    }
    if (!neurons.empty()) add_random(run, relation, neurons, measurement);
    std::vector<TableRows> rows = {measurement.rows(), {"lens", {}}};
    add_lens(run, relation, modes, measurement, rows.back());
    return rows;
  }

 private:
  static OutputEdit zero(const RunContext& run, std::span<const NeuronId> neurons) {
    return output_edit(run.model, erase_values(run.model, neurons, EraseMode::kZero, {}));
  }

  /// Random sets that match the relation's most frequent neurons: of every size by layer, on the
  /// relation's own prompts; of the standard size in all strengths, on other relations' too, and by
  /// layer on the text. None holds a neuron located for any fact of the run.
  static void add_random(const RunContext& run, std::string_view relation,
                         const std::vector<NeuronId>& neurons, EraseMeasurement& measurement) {
    const std::vector<Probe> own = measurement.probes(kEraseOwn);
    ActivationProfile profile;
    if (!own.empty()) {
      profile =
          activation_profiles(run.model, own, std::vector<int64_t>(own.size(), 0), 1, run.measure);
    }
    const MatchedSampler sampler(run.model, located_of_run(run));
    const size_t standard = std::min(kStandard, neurons.size());
    for (const size_t size : sizes_of(neurons.size())) {
      for (const MatchStrength strength : kMatchStrengths) {
        if (strength != MatchStrength::kLayer && (size != standard || own.empty())) continue;
        const std::string source = std::string("random-") + match_name(strength);
        const MatchedSets sets = sampler.draw(
            std::span(neurons).first(size), strength,
            own.empty() ? at::Tensor() : profile.activation.select(0, 0),
            own.empty() ? at::Tensor() : profile.gradient.select(0, 0), kErasureDraws,
            choice_seed(run.options.seed, "erase " + source + std::to_string(size), relation));
        for (size_t draw = 0; draw < sets.draws.size(); ++draw) {
          // How many are erased is said as of the matched set, so that the two can be joined.
          measurement.add({source, static_cast<int64_t>(draw), erase_mode_name(EraseMode::kZero),
                           static_cast<int64_t>(size), zero(run, sets.draws[draw]),
                           size == standard,
                           size == standard && strength == MatchStrength::kLayer});
        }
      }
    }
  }

  static void add_lens(const RunContext& run, std::string_view relation,
                       const std::vector<std::pair<EraseMode, ValueEdit>>& modes,
                       const EraseMeasurement& measurement, TableRows& out) {
    for (const bool held_out : {false, true}) {
      std::vector<Probe> probes = measurement.probes(held_out ? kEraseHeldOut : kEraseOwn);
      if (probes.size() > kLensPrompts) probes.resize(kLensPrompts);
      if (probes.empty()) continue;
      add_lens_rows(run, run.model, relation, "none", 0, held_out, probes, out);
      for (const auto& [mode, edit] : modes) {
        if (edit.neurons.empty()) continue;
        add_lens_rows(run, with_values(run.model, edit), relation, erase_mode_name(mode),
                      static_cast<int64_t>(edit.neurons.size()), held_out, probes, out);
      }
    }
  }

  static void add_lens_rows(const RunContext& run, const Model& model, std::string_view relation,
                            const char* mode, int64_t neurons, bool held_out,
                            std::span<const Probe> probes, TableRows& out) {
    std::vector<EraseSums::State> layers(static_cast<size_t>(model.config().layers) + 1);
    for (const std::vector<Answered>& answers : answers_by_layer(model, probes, run.measure)) {
      for (size_t l = 0; l < layers.size(); ++l) layers[l].add(answers[l]);
    }
    for (size_t l = 0; l < layers.size(); ++l) {
      out.rows.push_back({std::string(relation), std::string(mode), neurons, flag(held_out),
                          static_cast<int64_t>(l), static_cast<int64_t>(probes.size()),
                          real(layers[l].log_p), real(layers[l].log_rank), layers[l].top});
    }
  }

  RunText text_;
};

}  // namespace

EraseMeasurement::EraseMeasurement(const RunContext& run, std::string_view relation, RunText& text,
                                   const ErasePrompts& prompts)
    : run_(run), relation_(relation), probes_(run) {
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
  const auto add = [&](EraseScope scope, const std::vector<PromptPlace>& all, uint64_t count) {
    const uint64_t seed =
        choice_seed(run.options.seed, std::string("erase prompts ") + kScopeNames[scope], relation);
    for (const PromptPlace& place : sample(all, count, seed)) {
      scopes_[scope].push_back(probes_.add(place));
    }
  };
  add(kEraseOwn, own, prompts.own);
  add(kEraseHeldOut, held_out, prompts.held_out);
  add(kEraseOther, other, prompts.other);
  if (prompts.text == 0) return;
  const auto& relations = run.facts.relations();
  const auto positions = static_cast<int64_t>(text.positions(run).size());
  const auto count = static_cast<int64_t>(relations.size());
  // Together the relations see all positions.
  const int64_t share =
      std::max((positions + count - 1) / count, static_cast<int64_t>(prompts.text));
  const int64_t turn = std::ranges::find(relations, relation) - relations.begin();
  for (const size_t i : text.turn(run, turn, share)) {
    scopes_[kEraseText].push_back(probes_.add(text.positions(run)[i]));
  }
}

std::vector<Probe> EraseMeasurement::probes(EraseScope scope) const {
  std::vector<Probe> found;
  for (const uint32_t i : scopes_[scope]) found.push_back(probes_.probes()[i]);
  return found;
}

TableRows EraseMeasurement::rows() {
  std::vector<OutputEdit> edits;
  std::vector<EditTrial> trials;
  std::vector<std::pair<size_t, size_t>> places;  // erasure and scope
  for (size_t e = 0; e < erasures_.size(); ++e) {
    edits.push_back(std::move(erasures_[e].edit));
    for (size_t scope = 0; scope < kEraseScopes; ++scope) {
      if (scope == kEraseOther && !erasures_[e].other) continue;
      if (scope == kEraseText && !erasures_[e].text) continue;
      for (const uint32_t probe : scopes_[scope]) {
        trials.push_back({probe, static_cast<uint32_t>(e), kNoIndex});
        places.emplace_back(e, scope);
      }
    }
  }
  const EditMeasured measured =
      measure_edits(run_.model, probes_.probes(), edits, {}, trials, run_.measure);
  std::vector<std::array<EraseSums, kEraseScopes>> sums(erasures_.size());
  for (size_t t = 0; t < trials.size(); ++t) {
    EraseSums& one = sums[places[t].first][places[t].second];
    ++one.prompts;
    one.before.add(measured.before[trials[t].probe]);
    one.after.add(measured.after[t]);
  }
  TableRows out{"erase", {}};
  for (size_t e = 0; e < erasures_.size(); ++e) {
    const Erasure& erasure = erasures_[e];
    for (size_t scope = 0; scope < kEraseScopes; ++scope) {
      const EraseSums& one = sums[e][scope];
      if (one.prompts == 0) continue;
      out.rows.push_back({relation_, erasure.source, erasure.draw, erasure.mode, erasure.neurons,
                          std::string(kScopeNames[scope]), one.prompts, real(one.before.log_p),
                          real(one.after.log_p), real(one.before.p), real(one.after.p),
                          one.before.top, one.after.top, real(one.before.log_rank),
                          real(one.after.log_rank)});
    }
  }
  return out;
}

std::unique_ptr<Experiment> make_erase_experiment() { return std::make_unique<EraseExperiment>(); }

}  // namespace engram
