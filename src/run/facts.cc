#include <algorithm>
#include <iterator>
#include <map>
#include <optional>

#include "engram/base/interrupt.h"
#include "engram/error.h"
#include "engram/run/experiment.h"

namespace engram {
namespace {

TokenCounts longest_prompt(const PreparedFact& fact) {
  TokenCounts size;
  for (const auto* prompts : {&fact.prompts, &fact.held_out}) {
    for (const Cloze& cloze : *prompts) {
      size.tokens = std::max(size.tokens, static_cast<int64_t>(cloze.ids.size()));
      size.masks = std::max(size.masks, static_cast<int64_t>(cloze.positions.size()));
    }
  }
  return size;
}

}  // namespace

RunFacts::RunFacts(std::vector<Fact> facts, const Tokenizer& tokenizer, const ModelConfig& config,
                   std::vector<FactProblem> unread, bool keep_copies)
    : facts_(std::move(facts)), tokenizer_(&tokenizer), form_(prompt_form(config)) {
  copies_.resize(facts_.size());
  sizes_.resize(facts_.size());
  std::vector<int64_t> usable;
  for (size_t i = 0; i < facts_.size(); ++i) {
    Interrupt::check();
    const std::optional<PreparedFact> prepared =
        prepare_fact(facts_[i], tokenizer, form_, problems_);
    if (!prepared) continue;
    sizes_[i] = longest_prompt(*prepared);
    copies_[i] = !keep_copies && subject_holds_object(facts_[i]);
    usable.push_back(static_cast<int64_t>(i));
  }
  if (usable.empty()) {
    throw InputError("no fact can be used" +
                     (problems_.empty()
                          ? std::string()
                          : ", the first problem is " + problem_text(problems_.front())));
  }
  use(usable);
  of_facts_ = problems_.size();
  std::ranges::move(unread, std::back_inserter(problems_));
}

void RunFacts::use(const std::vector<int64_t>& ids) {
  usable_ = ids;
  relations_.clear();
  by_relation_.clear();
  mean_size_ = {};
  std::map<std::string_view, size_t> place;
  for (const int64_t id : usable_) {
    const auto i = static_cast<size_t>(id);
    mean_size_.tokens += sizes_[i].tokens;
    mean_size_.masks += sizes_[i].masks;
    const auto [it, fresh] = place.try_emplace(facts_[i].relation, relations_.size());
    if (fresh) {
      relations_.push_back(facts_[i].relation);
      by_relation_.emplace_back();
    }
    by_relation_[it->second].push_back(id);
  }
  const auto count = static_cast<int64_t>(usable_.size());
  mean_size_ = {(mean_size_.tokens + count - 1) / count, (mean_size_.masks + count - 1) / count};
}

void RunFacts::keep(const std::vector<int64_t>& ids) {
  std::vector<int64_t> kept = ids;
  std::ranges::sort(kept);
  if (kept.empty() || !std::ranges::includes(usable_, kept)) {
    throw InternalError("RunFacts::keep: facts that are not usable");
  }
  use(kept);
}

const std::vector<int64_t>& RunFacts::of(std::string_view relation) const {
  const auto it = std::ranges::find(relations_, relation);
  if (it == relations_.end()) {
    throw InternalError("the run has no relation " + std::string(relation));
  }
  return by_relation_[static_cast<size_t>(it - relations_.begin())];
}

PreparedFact RunFacts::prepared(int64_t id) const {
  PreparedFact fact = prepare_fact(facts_[static_cast<size_t>(id)], *tokenizer_, form_);
  fact.index = static_cast<size_t>(id);
  return fact;
}

bool RunFacts::copies(int64_t id) const { return copies_[static_cast<size_t>(id)]; }

}  // namespace engram
