#include "engram/neurons/locate.h"

#include <algorithm>
#include <map>

#include "engram/attribution/scorer.h"
#include "engram/base/interrupt.h"
#include "engram/error.h"
#include "engram/text/prepare.h"
#include "neurons/locate_relation.h"

namespace engram {
namespace {

// Prompts attributed in one go: many enough for prompts of equal length to meet, few enough for
// what is kept of them. Fixed, so that a run cuts its batches from the fact list alone.
constexpr size_t kChunkPrompts = 1024;

/// Indices of the facts, each relation together, relations by first appearance.
std::vector<size_t> by_relation(std::span<const Fact> facts) {
  std::map<std::string_view, size_t> place;
  std::vector<std::vector<size_t>> groups;
  for (size_t i = 0; i < facts.size(); ++i) {
    const auto [it, fresh] = place.try_emplace(facts[i].relation, groups.size());
    if (fresh) groups.emplace_back();
    groups[it->second].push_back(i);
  }
  std::vector<size_t> order;
  order.reserve(facts.size());
  for (const std::vector<size_t>& group : groups) {
    order.insert(order.end(), group.begin(), group.end());
  }
  return order;
}

class Locator {
 public:
  Locator(const Model& model, const Tokenizer& tokenizer, std::span<const Fact> facts,
          const LocateOptions& options, const LocateSink& sink)
      : model_(model), tokenizer_(tokenizer), facts_(facts), options_(options), sink_(sink) {}

  LocateSummary run() {
    check_selection(options_.selection);
    if (options_.strict) {
      for (const Fact& fact : facts_) prepare_fact(fact, tokenizer_, form());
    }
    for (const size_t index : by_relation(facts_)) {
      Interrupt::check();
      std::optional<PreparedFact> prepared =
          prepare_fact(facts_[index], tokenizer_, form(), summary_.problems);
      if (!prepared) continue;
      prepared->index = index;
      chunk_prompts_ += prepared->prompts.size();
      chunk_.push_back(std::move(*prepared));
      if (chunk_prompts_ >= kChunkPrompts) finish_chunk();
    }
    finish_chunk();
    finish_relation();
    if (summary_.facts == 0) {
      std::string message = "no fact can be used";
      if (!summary_.problems.empty()) {
        const FactProblem& first = summary_.problems.front();
        message += ", of " + std::to_string(summary_.problems.size()) + " the first is " +
                   first.file + ":" + std::to_string(first.line) + ": " + first.message;
      }
      throw InputError(message);
    }
    summary_.statistics = neuron_statistics(sets_, model_.config().layers);
    return std::move(summary_);
  }

 private:
  [[nodiscard]] PromptForm form() const {
    PromptForm form = prompt_form(model_.config());
    form.neurons = options_.neurons_at;
    return form;
  }

  void finish_chunk() {
    if (chunk_.empty()) return;
    std::vector<std::vector<Cloze>> bags;
    std::vector<size_t> first;  // of each bag: the place of its first prompt in the chunk
    size_t count = 0;
    for (PreparedFact& fact : chunk_) {
      first.push_back(count);
      count += fact.prompts.size();
      bags.push_back(std::move(fact.prompts));
    }
    const int64_t first_row = summary_.prompts;
    std::vector<PromptNeurons> passing(count);
    std::vector<LocatedPrompt> done(count);
    AttributionOptions how = options_.attribution;
    how.gap = false;  // locating does not look at it
    Scorer(model_, how)
        .prompts(bags, [&](size_t bag, size_t prompt_of_bag, Attribution&& attribution) {
          const size_t i = first[bag] + prompt_of_bag;
          passing[i] = passing_neurons(attribution.scores, options_.selection);
          LocatedPrompt& prompt = done[i];
          prompt.p = attribution.p;
          prompt.largest = passing[i].largest;
          prompt.neurons = static_cast<int64_t>(passing[i].neurons.size());
          prompt.converged = std::ranges::all_of(attribution.layers, &LayerReport::converged);
          prompt.row = first_row + static_cast<int64_t>(i);
          if (sink_.on_scores) sink_.on_scores(prompt.row, attribution.scores);
          if (sink_.on_progress) sink_.on_progress(1);
        });
    for (size_t bag = 0; bag < bags.size(); ++bag) {
      const size_t prompts = bags[bag].size();
      add_fact(chunk_[bag], static_cast<int64_t>(bags[bag].front().answer.size()),
               std::span(done).subspan(first[bag], prompts),
               std::span(passing).subspan(first[bag], prompts));
    }
    summary_.prompts += static_cast<int64_t>(count);
    chunk_.clear();
    chunk_prompts_ = 0;
  }

  void add_fact(const PreparedFact& prepared, int64_t tokens, std::span<LocatedPrompt> prompts,
                std::span<const PromptNeurons> passing) {
    const Fact& fact = facts_[prepared.index];
    if (!pending_.empty() && pending_.front().relation != fact.relation) finish_relation();
    LocatedFact located;
    located.relation = fact.relation;
    located.subject = fact.subject;
    located.object = fact.object;
    located.origin = fact.origin;
    located.uuid = fact.uuid;
    located.answer_tokens = tokens;
    if (located.answer_tokens > 1) ++summary_.several_tokens;
    located.held_out = fact.held_out;
    for (size_t i = 0; i < prompts.size(); ++i) {
      prompts[i].prompt = fact.prompts[i];
      located.prompts.push_back(std::move(prompts[i]));
    }
    pending_.push_back(std::move(located));
    bags_.push_back(make_bag(passing));
  }

  void finish_relation() {
    if (pending_.empty()) return;
    LocatedRelation relation = close_relation(pending_, bags_, options_, sets_);
    summary_.facts += relation.facts;
    sink_.on_relation(std::move(relation), std::move(pending_));
    pending_.clear();
    bags_.clear();
  }

  const Model& model_;
  const Tokenizer& tokenizer_;
  std::span<const Fact> facts_;
  const LocateOptions& options_;
  const LocateSink& sink_;
  LocateSummary summary_;
  std::vector<PreparedFact> chunk_;
  size_t chunk_prompts_ = 0;
  std::vector<LocatedFact> pending_;  ///< of the relation that is being worked on
  std::vector<Bag> bags_;             ///< of `pending_`
  std::vector<FactNeurons> sets_;     ///< of all facts, for the statistics
};

}  // namespace

LocatedRelation close_relation(std::vector<LocatedFact>& facts, std::span<const Bag> bags,
                               const LocateOptions& options, std::vector<FactNeurons>& sets) {
  LocatedRelation relation;
  relation.relation = facts.front().relation;
  relation.facts = static_cast<int64_t>(facts.size());
  relation.selection = select_neurons(bags, options.selection);
  const size_t first_set = sets.size();
  for (size_t i = 0; i < facts.size(); ++i) {
    LocatedFact& fact = facts[i];
    fact.refined = bags[i].prompts >= options.selection.min_bag;
    fact.neurons = std::move(relation.selection.neurons[i]);
    fact.unrefined = std::move(relation.selection.unrefined[i]);
    fact.near = std::move(relation.selection.near[i]);
    FactNeurons set{fact.relation, {}};
    for (const CountedNeuron& neuron : fact.neurons) set.neurons.push_back(neuron.id);
    sets.push_back(std::move(set));
    relation.prompts += static_cast<int64_t>(fact.prompts.size());
    relation.held_out += static_cast<int64_t>(fact.held_out.size());
    if (fact.neurons.empty()) ++relation.empty;
    for (const LocatedPrompt& prompt : fact.prompts) {
      relation.p += prompt.p;
      if (!(prompt.largest > 0)) ++relation.negative;
      if (!prompt.converged) ++relation.unconverged;
    }
  }
  relation.p /= static_cast<double>(relation.prompts);
  relation.selection.neurons.clear();
  relation.selection.unrefined.clear();
  relation.selection.near.clear();
  relation.neurons = relation_neurons(std::span(sets).subspan(first_set), options.relation_neurons,
                                      options.common_share);
  return relation;
}

LocateSummary locate(const Model& model, const Tokenizer& tokenizer, std::span<const Fact> facts,
                     const LocateOptions& options, const LocateSink& sink) {
  return Locator(model, tokenizer, facts, options, sink).run();
}

}  // namespace engram
