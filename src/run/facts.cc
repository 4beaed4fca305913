#include <algorithm>
#include <map>

#include "engram/base/interrupt.h"
#include "engram/error.h"
#include "engram/run/experiment.h"

namespace engram {

RunFacts::RunFacts(std::vector<Fact> facts, const Tokenizer& tokenizer, const ModelConfig& config)
    : facts_(std::move(facts)), tokenizer_(&tokenizer), config_(&config) {
  copies_.resize(facts_.size());
  std::map<std::string_view, size_t> place;
  for (size_t i = 0; i < facts_.size(); ++i) {
    Interrupt::check();
    if (!prepare_fact(facts_[i], tokenizer, config, problems_)) continue;
    const auto id = static_cast<int64_t>(i);
    copies_[i] = subject_holds_object(facts_[i]);
    usable_.push_back(id);
    const auto [it, fresh] = place.try_emplace(facts_[i].relation, relations_.size());
    if (fresh) {
      relations_.push_back(facts_[i].relation);
      by_relation_.emplace_back();
    }
    by_relation_[it->second].push_back(id);
  }
  if (usable_.empty()) {
    throw InputError("no fact can be used" +
                     (problems_.empty()
                          ? std::string()
                          : ", the first problem is " + problem_text(problems_.front())));
  }
}

const std::vector<int64_t>& RunFacts::of(std::string_view relation) const {
  const auto it = std::ranges::find(relations_, relation);
  if (it == relations_.end()) {
    throw InternalError("the run has no relation " + std::string(relation));
  }
  return by_relation_[static_cast<size_t>(it - relations_.begin())];
}

PreparedFact RunFacts::prepared(int64_t id) const {
  PreparedFact fact = prepare_fact(facts_[static_cast<size_t>(id)], *tokenizer_, *config_);
  fact.index = static_cast<size_t>(id);
  return fact;
}

bool RunFacts::copies(int64_t id) const { return copies_[static_cast<size_t>(id)]; }

}  // namespace engram
