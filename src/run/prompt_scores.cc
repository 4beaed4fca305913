#include "run/prompt_scores.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engram/attribution/scorer.h"
#include "engram/sources.h"
#include "run/blobs.h"
#include "run/sets.h"

namespace engram {
namespace {

using experiments::locate::AttributionRow;
using experiments::locate::NearRow;
using experiments::locate::ScoreRow;
using experiments::locate::ScoresRow;

constexpr size_t kPartPrompts = 512;   // of a part, however small the model
constexpr int64_t kAdaptiveNodes = 3;  // of a layer, what the default rule takes on the average
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

/// Makes the rows of some prompts.
class PromptRows {
 public:
  PromptRows(const RunContext& run, std::string_view method, bool baseline)
      : run_(run), method_(method), baseline_(baseline) {}

  void attribute_all(std::span<const PromptOfFact> place, const AttributionOptions& options) {
    std::vector<std::vector<Cloze>> bags;
    std::vector<size_t> first;  // of each bag: the place of its first prompt
    PreparedFact fact;
    for (size_t i = 0; i < place.size(); ++i) {
      if (i == 0 || place[i].fact != place[i - 1].fact) {
        fact = run_.facts.prepared(place[i].fact);
        bags.emplace_back();
        first.push_back(i);
      }
      bags.back().push_back(std::move(fact.prompts[static_cast<size_t>(place[i].prompt)]));
    }
    const SelectionOptions selection = selection_for(run_.options, method_);
    const SelectionOptions of_baseline = selection_for(run_.options, sources::kActivation);
    std::vector<OfPrompt> found(place.size());
    std::vector<OfPrompt> active(baseline_ ? place.size() : 0);
    Scorer(run_.model, options)
        .prompts(bags, [&](size_t bag, size_t prompt, Attribution&& attribution) {
          const size_t i = first[bag] + prompt;
          found[i] = of_prompt(method_, place[i], attribution, attribution.scores, selection);
          if (!baseline_) return;
          active[i] = of_prompt(sources::kActivation, place[i], attribution,
                                attribution.activations, of_baseline);
        });
    for (size_t i = 0; i < found.size(); ++i) add(method_, place[i], found[i]);
    for (size_t i = 0; i < active.size(); ++i) add(sources::kActivation, place[i], active[i]);
  }

  std::vector<TableRows> rows() && {
    return {to_rows(std::move(attribution_)), to_rows(std::move(score_)), to_rows(std::move(near_)),
            to_rows(std::move(blob_))};
  }

 private:
  /// What is kept of one prompt.
  struct OfPrompt {
    AttributionRow attribution;
    PromptNeurons passing;
    std::vector<std::byte> blob;
  };

  [[nodiscard]] OfPrompt of_prompt(std::string_view method, const PromptOfFact& place,
                                   const Attribution& attribution, const at::Tensor& scores,
                                   const SelectionOptions& selection) const {
    OfPrompt one;
    one.passing = passing_neurons(scores, selection);
    one.attribution = attribution_row(method, place, attribution, one.passing.largest);
    if (run_.options.keep_scores) one.blob = bytes_of(scores);
    return one;
  }

  void add(std::string_view method, const PromptOfFact& place, OfPrompt& one) {
    attribution_.push_back(std::move(one.attribution));
    add_scores(method, place, one.passing.neurons, score_);
    add_scores(method, place, one.passing.near, near_);
    if (one.blob.empty()) return;
    blob_.push_back({std::string(method), place.fact, place.prompt, std::move(one.blob)});
  }

  [[nodiscard]] static AttributionRow attribution_row(std::string_view method,
                                                      const PromptOfFact& place,
                                                      const Attribution& attribution,
                                                      float largest) {
    const bool integrated = method != sources::kActivation;
    double gap = 0;
    double nodes = 0;
    bool converged = true;
    for (const LayerReport& layer : attribution.layers) {
      gap = std::max(gap, layer.gap / std::max(std::abs(layer.delta), 1e-3 * attribution.p));
      nodes += static_cast<double>(layer.nodes);
      converged = converged && layer.converged;
    }
    nodes /= static_cast<double>(attribution.layers.size());
    AttributionRow row;
    row.method = method;
    row.fact = place.fact;
    row.prompt = place.prompt;
    row.p = attribution.p;
    row.answer_rank = attribution.rank;
    row.largest = largest;
    row.relative_gap = integrated ? gap : kNone;
    row.nodes = integrated ? nodes : kNone;
    row.converged = !integrated || converged;
    return row;
  }

  template <typename R>
  static void add_scores(std::string_view method, const PromptOfFact& place,
                         std::span<const ScoredNeuron> neurons, std::vector<R>& to) {
    for (const ScoredNeuron& one : neurons) {
      to.push_back(
          {std::string(method), place.fact, place.prompt, one.id.layer, one.id.neuron, one.score});
    }
  }

  const RunContext& run_;
  std::string_view method_;
  bool baseline_;
  std::vector<AttributionRow> attribution_;
  std::vector<ScoreRow> score_;
  std::vector<NearRow> near_;
  std::vector<ScoresRow> blob_;
};

}  // namespace

std::vector<TableRows> score_rows(const RunContext& run, std::string_view method, bool baseline,
                                  std::span<const PromptOfFact> prompts,
                                  const AttributionOptions& options) {
  PromptRows rows(run, method, baseline);
  rows.attribute_all(prompts, options);
  return std::move(rows).rows();
}

PromptParts::PromptParts(const RunContext& run, std::span<const int64_t> facts,
                         const AttributionOptions& options) {
  const IntegrationOptions& how = options.integration;
  std::vector<double> costs;
  for (const int64_t fact : facts) {
    const double cost = attribution_flops(
        run, run.facts.size(fact), how.steps && !how.interpolate ? *how.steps : kAdaptiveNodes);
    for (size_t i = 0; i < run.facts.fact(fact).prompts.size(); ++i) {
      prompts_.push_back({fact, static_cast<int64_t>(i)});
      costs.push_back(cost);
    }
  }
  ranges_ = cut_parts(costs, kPartPrompts, run.part_flops);
}

std::span<const PromptOfFact> PromptParts::of(int64_t part) const {
  const PartRange range = ranges_.at(static_cast<size_t>(part));
  return std::span(prompts_).subspan(range.begin, range.end - range.begin);
}

int64_t PromptParts::facts(int64_t part) const {
  const PartRange range = ranges_.at(static_cast<size_t>(part));
  int64_t count = 0;
  for (size_t i = range.begin; i < range.end; ++i) {
    if (i + 1 == prompts_.size() || prompts_[i + 1].fact != prompts_[i].fact) ++count;
  }
  return count;
}

int64_t count_negative(std::span<const PromptNeurons> prompts) {
  return std::ranges::count_if(prompts,
                               [](const PromptNeurons& prompt) { return !(prompt.largest > 0); });
}

StoredBags stored_bags(const RunContext& run, std::string_view method,
                       std::span<const int64_t> facts) {
  StoredBags stored;
  for (const int64_t fact : facts) {
    const std::vector<PromptNeurons> prompts = stored_prompts(run.store, method, fact);
    stored.negative += count_negative(prompts);
    stored.bags.push_back(make_bag(prompts));
  }
  return stored;
}

}  // namespace engram
