#include "run/scopes.h"

#include <algorithm>

#include "engram/text/prompt.h"
#include "run/seeds.h"
#include "text/text_positions.h"

namespace engram {

const std::string& prompt_text(const RunContext& run, const PromptPlace& place) {
  const Fact& fact = run.facts.fact(place.fact);
  return (place.held_out ? fact.held_out : fact.prompts)[place.prompt];
}

uint32_t ClozeList::add(const PromptPlace& place, const std::vector<int64_t>& answer) {
  const auto [it, fresh] =
      known_.try_emplace({place, answer}, static_cast<uint32_t>(clozes_.size()));
  if (!fresh) return it->second;
  const Fact& fact = run_.facts.fact(place.fact);
  const PromptForm form = prompt_form(run_.model.config());
  Cloze cloze =
      encode_cloze(run_.tokenizer, prompt_text(run_, place), fact.object, form, fact.origin);
  clozes_.push_back(answer.empty() ? std::move(cloze)
                                   : with_answer(std::move(cloze), answer, form));
  return it->second;
}

uint32_t ClozeList::add(const PromptPlace& place) { return add(place, {}); }

uint32_t ClozeList::add(const Cloze& cloze) {
  clozes_.push_back(cloze);
  return static_cast<uint32_t>(clozes_.size() - 1);
}

std::vector<PromptPlace> prompts_of(const RunContext& run, int64_t fact, bool held_out) {
  const Fact& f = run.facts.fact(fact);
  std::vector<PromptPlace> places((held_out ? f.held_out : f.prompts).size());
  for (size_t i = 0; i < places.size(); ++i) places[i] = {fact, held_out, i};
  return places;
}

PromptPlace side_prompt(const RunContext& run, int64_t fact) {
  const Fact& f = run.facts.fact(fact);
  return {fact, false, choice_seed(run.options.seed, "side prompt", f) % f.prompts.size()};
}

std::vector<int64_t> facts_for_effects(const RunContext& run, std::string_view relation,
                                       bool same) {
  std::vector<int64_t> found;
  for (const int64_t id : run.facts.usable()) {
    if (!run.facts.copies(id) && (run.facts.fact(id).relation == relation) == same) {
      found.push_back(id);
    }
  }
  return found;
}

const std::vector<Cloze>& RunText::positions(const RunContext& run) {
  const std::string key = run.options.corpus + "\n" + std::to_string(run.options.seed) + "\n" +
                          std::to_string(run.options.text_positions);
  if (key == key_) return positions_;
  positions_.clear();
  if (!run.options.corpus.empty() && run.options.text_positions > 0) {
    TextPositionOptions options;
    options.count = run.options.text_positions;
    options.seed = choice_seed(run.options.seed, "text positions", "");
    positions_ =
        text_positions(run.options.corpus, run.tokenizer, prompt_form(run.model.config()), options);
  }
  key_ = key;
  return positions_;
}

std::vector<size_t> RunText::turn(const RunContext& run, int64_t turn, int64_t share) {
  const size_t all = positions(run).size();
  std::vector<size_t> dealt;
  const size_t count = std::min(all, static_cast<size_t>(share));
  for (size_t i = 0; i < count; ++i) {
    dealt.push_back((static_cast<size_t>(turn) * count + i) % all);
  }
  return dealt;
}

}  // namespace engram
