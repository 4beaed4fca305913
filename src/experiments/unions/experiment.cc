// Erasing growing unions of other relations' neurons: what would go with as many neurons that are
// another relation's? Needs all relations' neurons, and so no shard can do it.
#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <unordered_set>

#include "engram/edit/values.h"
#include "engram/neurons/matched.h"
#include "engram/sources.h"
#include "experiments/locate/rows.h"
#include "experiments/unions/rows.h"
#include "run/erasures.h"
#include "run/parts.h"
#include "run/seeds.h"
#include "run/sets.h"

namespace engram::experiments::unions {
namespace {

using locate::RelationNeuronRow;

constexpr std::array<size_t, 5> kUnionSizes = {20, 40, 80, 160, SIZE_MAX};  // the last one: all
constexpr ErasePrompts kUnionPrompts = {100, 100, 100, 0};
constexpr int64_t kUnionDraws = 2;  // random sets of each size

using RelationSets = std::map<std::string, std::vector<NeuronId>>;

/// The most frequent neurons of every relation.
RelationSets all_sets(const RunContext& run) {
  RelationSets sets;
  for (const auto& row :
       read_all<RelationNeuronRow>(run.store, {is(&RelationNeuronRow::source, sources::kIg)})) {
    sets[row.relation].push_back(neuron_of(row));
  }
  return sets;
}

/// Neurons of the other relations, relation after relation in seeded order, each once, without
/// those that the relation itself has.
std::vector<NeuronId> union_of_others(const RunContext& run, const RelationSets& sets,
                                      const std::string& relation) {
  std::vector<std::string> order = run.facts.relations();
  std::erase(order, relation);
  Random random(choice_seed(run.options.seed, "unions", relation));
  random.shuffle(order);
  std::unordered_set<NeuronId> seen;
  const auto own = sets.find(relation);
  if (own != sets.end()) seen.insert(own->second.begin(), own->second.end());
  std::vector<NeuronId> all;
  for (const std::string& other : order) {
    const auto set = sets.find(other);
    if (set == sets.end()) continue;
    for (const NeuronId id : set->second) {
      if (seen.insert(id).second) all.push_back(id);
    }
  }
  return all;
}

/// An erasure on the prompts of one scope of a relation: the least that a part can hold.
struct UnionPiece {
  size_t relation = 0;  ///< at this place of all
  EraseScope scope = kEraseOwn;
  size_t size = 0;             ///< place in kUnionSizes
  std::optional<size_t> draw;  ///< of the random sets; nothing: the others' neurons
};

/// The parts: each holds some of the prompts and erasures of one relation; behind them the text.
class UnionParts {
 public:
  explicit UnionParts(const RunContext& run) {
    const std::vector<std::string>& relations = run.facts.relations();
    for (size_t r = 0; r < relations.size(); ++r) {
      std::vector<UnionPiece> pieces;
      std::vector<double> costs;
      const ErasePrompts prompts = erase_prompts(run, relations[r], kUnionPrompts);
      for (const EraseScope scope : {kEraseOwn, kEraseHeldOut, kEraseOther}) {
        // Large unions begin in the lowest layer.
        const double cost = 2 * erase_flops(run, prompts, scope);
        if (cost == 0) continue;
        for (size_t size = 0; size < kUnionSizes.size(); ++size) {
          for (size_t set = 0; set <= static_cast<size_t>(kUnionDraws); ++set) {
            pieces.push_back({r, scope, size, set == 0 ? std::nullopt : std::optional(set - 1)});
            costs.push_back(cost);
          }
        }
      }
      for (const PartRange& range : cut_parts(costs, pieces.size(), run.part_flops)) {
        const auto at = [&](size_t i) { return pieces.begin() + static_cast<std::ptrdiff_t>(i); };
        parts_.emplace_back(at(range.begin), at(range.end));
      }
    }
    if (run.options.corpus.empty()) return;
    const std::vector<double> positions(static_cast<size_t>(run.options.text_positions),
                                        run_flops(run, text_size(run)));
    text_ = cut_parts(positions, positions.size(), run.part_flops);
  }

  [[nodiscard]] int64_t parts() const { return static_cast<int64_t>(parts_.size() + text_.size()); }
  /// Nothing for a part of the text.
  [[nodiscard]] std::span<const UnionPiece> pieces(int64_t part) const {
    const auto i = static_cast<size_t>(part);
    return i < parts_.size() ? std::span<const UnionPiece>(parts_[i])
                             : std::span<const UnionPiece>();
  }
  [[nodiscard]] PartRange text(int64_t part) const {
    return text_.at(static_cast<size_t>(part) - parts_.size());
  }
  /// The part is the relation's last one.
  [[nodiscard]] bool last(int64_t part) const {
    const auto i = static_cast<size_t>(part);
    if (i >= parts_.size()) return false;
    return i + 1 == parts_.size() || parts_[i + 1].front().relation != parts_[i].front().relation;
  }

 private:
  std::vector<std::vector<UnionPiece>> parts_;
  std::vector<PartRange> text_;
};

class UnionsExperiment : public Experiment {
 public:
  [[nodiscard]] std::string_view name() const override { return "unions"; }
  [[nodiscard]] std::vector<std::string_view> needs() const override { return {"locate"}; }
  [[nodiscard]] bool across() const override { return true; }
  [[nodiscard]] int version() const override { return 1; }
  [[nodiscard]] int64_t parts(const RunContext& run, std::string_view) const override {
    return UnionParts(run).parts();
  }
  [[nodiscard]] int64_t facts(const RunContext& run, std::string_view,
                              int64_t part) const override {
    const UnionParts parts(run);
    if (!parts.last(part)) return 0;
    return static_cast<int64_t>(run.facts.of(relation_of(run, parts.pieces(part))).size());
  }

  std::vector<TableRows> run(const RunContext& run, std::string_view, int64_t part) override {
    const UnionParts parts(run);
    const std::span<const UnionPiece> pieces = parts.pieces(part);
    if (pieces.empty()) return {to_rows(text_rows(run, parts.text(part)))};
    const std::string& relation = relation_of(run, pieces);
    const RelationSets sets = all_sets(run);
    const std::vector<NeuronId> others = union_of_others(run, sets, relation);
    EraseMeasurement measurement(run, relation, text_, kUnionPrompts);
    const MatchedSampler sampler(run.model, located_of_run(run));
    for (const UnionPiece& piece : pieces) {
      const size_t cut = std::min(kUnionSizes[piece.size], others.size());
      const size_t smaller =
          piece.size == 0 ? 0 : std::min(kUnionSizes[piece.size - 1], others.size());
      // Sizes that fewer neurons make alike are one.
      if (cut != smaller) {
        add(run, relation, std::span(others).first(cut), piece, sampler, measurement);
      }
    }
    return {to_rows(measurement.rows())};
  }

 private:
  static const std::string& relation_of(const RunContext& run, std::span<const UnionPiece> pieces) {
    return run.facts.relations().at(pieces.front().relation);
  }

  static void add(const RunContext& run, const std::string& relation,
                  std::span<const NeuronId> neurons, const UnionPiece& piece,
                  const MatchedSampler& sampler, EraseMeasurement& measurement) {
    std::vector<NeuronId> set(neurons.begin(), neurons.end());
    if (piece.draw) {
      const uint64_t seed = choice_seed(
          run.options.seed, "unions random " + std::to_string(neurons.size()), relation);
      MatchedSets random = sampler.draw(neurons, MatchStrength::kLayer, {}, {}, kUnionDraws, seed);
      set = std::move(random.draws.at(*piece.draw));
    }
    std::bitset<kEraseScopes> scopes;
    scopes.set(piece.scope);
    measurement.add({piece.draw ? erase::kRandomOthers : erase::kOthers,
                     static_cast<int64_t>(piece.draw.value_or(0)),
                     erase_mode_name(EraseMode::kZero), static_cast<int64_t>(neurons.size()),
                     output_edit(run.model, erase_values(run.model, set, EraseMode::kZero, {})),
                     scopes});
  }

  /// Positions of the ordinary text without any edit; there may be fewer than were asked for.
  std::vector<TextPerplexityRow> text_rows(const RunContext& run, PartRange range) {
    const std::vector<Cloze>& all = text_.positions(run);
    const size_t begin = std::min(range.begin, all.size());
    const auto some = std::span(all).subspan(begin, std::min(range.end, all.size()) - begin);
    const EditMeasured measured = measure_edits(run.model, some, {}, {}, {}, run.measure);
    std::vector<TextPerplexityRow> out;
    for (size_t i = 0; i < measured.before.size(); ++i) {
      out.push_back(
          {static_cast<int64_t>(begin + i), measured.before[i].log_p, measured.before[i].top()});
    }
    return out;
  }

  RunText text_;
};

}  // namespace

std::unique_ptr<Experiment> make_experiment() { return std::make_unique<UnionsExperiment>(); }

}  // namespace engram::experiments::unions
