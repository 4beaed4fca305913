// Erasing a relation (METHOD section 5), and the audit: is it gone?
#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include "engram/attribution/cost.h"
#include "engram/edit/values.h"
#include "engram/neurons/matched.h"
#include "engram/sources.h"
#include "engram/statistics/neuron_sets.h"
#include "experiments/erase/experiment_lens.h"
#include "experiments/erase/rows.h"
#include "run/erasures.h"
#include "run/parts.h"
#include "run/seeds.h"
#include "run/sets.h"

namespace engram::experiments::erase {
namespace {

constexpr std::array<size_t, 4> kSizes = {5, 10, 20, 40};
constexpr size_t kStandard = 20;  // neurons of the paper's erasure
constexpr ErasePrompts kPrompts = {120, 120, 150, 60};
constexpr int64_t kErasureDraws = 5;    // random sets of each size and strength, and random tokens
constexpr uint64_t kLensPrompts = 100;  // own ones, and as many held-out ones

/// The relation's neurons, the most frequent first.
std::vector<NeuronId> frequent_neurons(const RunContext& run, std::string_view relation) {
  std::vector<NeuronId> ids;
  for (const NeuronFacts& one : neuron_frequencies(stored_relation(run, sources::kIg, relation))) {
    ids.push_back(one.id);
  }
  return ids;
}

/// The least that a part can hold: an erasure on the prompts of one scope, or what the layers say
/// on the prompts under one. Which neurons it takes is not known before they are located.
struct ErasePiece {
  EraseScope scope = kEraseOwn;
  bool lens = false;
  std::optional<EraseMode> mode;          ///< nothing: a random token, or none erased for the lens
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
    if (run_.tokenizer.unknown_id()) {
      for (size_t draw = 0; draw < static_cast<size_t>(kErasureDraws); ++draw) {
        add({scope, false, {}, {}, kStandard, draw}, cost);
      }
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
    const TokenCounts& size = run_.facts.mean_size();
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
    std::vector<LensRow> lens;
    for (const ErasePiece& piece : pieces) {
      if (piece.lens) {
        add_lens(piece, lens);
      } else if (is_there(piece)) {
        add_erasure(piece);
      }
    }
    return {to_rows(measurement_.rows()), to_rows(std::move(lens))};
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
    std::string source = kRelation;
    std::span<const NeuronId> set = std::span(neurons_).first(cut(piece.size));
    // How many are erased is said as of the matched set, so that the two can be joined.
    const auto size = static_cast<int64_t>(set.size());
    if (piece.strength) {
      source = std::string("random-") + match_name(*piece.strength);
      set = random_sets(*piece.strength, set, source).draws.at(piece.draw);
    }
    std::bitset<kEraseScopes> scopes;
    scopes.set(piece.scope);
    const ValueEdit edit =
        piece.mode ? values(set, *piece.mode)
                   : token_values(run_.model, set, token(piece.draw), *run_.tokenizer.unknown_id());
    measurement_.add({source, static_cast<int64_t>(piece.draw),
                      piece.mode ? erase_mode_name(*piece.mode) : kToken, size,
                      output_edit(run_.model, edit), scopes});
  }

  /// The token of a draw: one that stands for text and has an embedding.
  [[nodiscard]] int64_t token(size_t draw) const {
    const at::Tensor& embedding = run_.model.weights().token_embedding;
    const int64_t tokens = std::min(run_.tokenizer.vocabulary(), embedding.size(0));
    Random random(choice_seed(run_.options.seed, "erase token " + std::to_string(draw), relation_));
    for (;;) {
      const auto id = static_cast<int64_t>(random.below(static_cast<uint64_t>(tokens)));
      if (run_.tokenizer.is_special(id) || id == *run_.tokenizer.unknown_id()) continue;
      if (embedding.select(0, id).count_nonzero().item<int64_t>() > 0) return id;
    }
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

  void add_lens(const ErasePiece& piece, std::vector<LensRow>& out) const {
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
                            std::span<const Cloze> clozes, std::vector<LensRow>& out) {
    std::vector<AnswerSums> layers(static_cast<size_t>(model.config().layers) + 1);
    for (const std::vector<Answered>& answers : answers_by_layer(model, clozes, run.measure)) {
      for (size_t l = 0; l < layers.size(); ++l) layers[l].add(answers[l]);
    }
    for (size_t l = 0; l < layers.size(); ++l) {
      LensRow& row = out.emplace_back();
      row.relation = relation;
      row.mode = mode;
      row.neurons = neurons;
      row.held_out = held_out;
      row.layer = static_cast<int64_t>(l);
      row.prompts = static_cast<int64_t>(clozes.size());
      row.log_p = layers[l].log_p;
      row.log_rank = layers[l].log_rank;
      row.top = layers[l].top;
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
  [[nodiscard]] int version() const override { return 5; }
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

}  // namespace

std::unique_ptr<Experiment> make_experiment() { return std::make_unique<EraseExperiment>(); }

}  // namespace engram::experiments::erase
