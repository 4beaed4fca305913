// Which facts the experiment "update" edits, and how their answers are written in each prompt.
#include <algorithm>
#include <map>
#include <set>

#include "engram/error.h"
#include "engram/text/prompt.h"
#include "experiments/update/experiment.h"
#include "run/seeds.h"

namespace engram::experiments::update {
namespace {

constexpr int64_t kTuningFacts = 3;  // per relation, for the sweep alone

/// The relation's objects, by first appearance; as published as often as its facts have them, so
/// that they are drawn by frequency.
std::vector<std::string> objects_of(const RunContext& run, std::string_view relation) {
  std::vector<std::string> objects;
  std::set<std::string_view> seen;
  for (const int64_t id : run.facts.of(relation)) {
    const std::string& object = run.facts.fact(id).object;
    const bool fresh = seen.insert(object).second;
    if (fresh || run.options.as_published) objects.push_back(object);
  }
  return objects;
}

/// Draws o' for facts of one relation.
class TargetDraw {
 public:
  TargetDraw(const RunContext& run, std::string_view relation)
      : run_(run), objects_(objects_of(run, relation)) {
    for (const int64_t id : facts_for_effects(run, relation, true)) {
      others_.push_back(side_prompt(run, id));
    }
  }

  /// A seeded o' that can be asked for wherever an edit of the fact is measured, and which the
  /// relation does not give the fact's subject too; nothing: there is none, or the fact's own
  /// answer cannot be asked for there.
  std::optional<std::string> draw(int64_t id) {
    const Fact& fact = run_.facts.fact(id);
    if (!single_on(fact.object, id)) return {};
    std::set<std::string_view> never;
    for (const int64_t other : run_.facts.of(fact.relation)) {
      const Fact& one = run_.facts.fact(other);
      if (one.subject == fact.subject) never.insert(one.object);
    }
    std::vector<std::string> objects = objects_;
    Random random(choice_seed(run_.options.seed, "update target", fact));
    random.shuffle(objects);
    for (const std::string& object : objects) {
      if (!never.contains(object) && single_on(object, id) && differs(object, id)) return object;
    }
    return {};
  }

 private:
  [[nodiscard]] bool single(const PromptPlace& place, const std::string& object) const {
    return ids_at(run_, place, object).size() == 1;
  }

  /// `object` is one token on all prompts of the fact and in the place of others' answers.
  bool single_on(const std::string& object, int64_t id) {
    const auto [known, fresh] = single_elsewhere_.try_emplace(object, false);
    if (fresh) {
      known->second = std::ranges::all_of(
          others_, [&](const PromptPlace& place) { return single(place, object); });
    }
    if (!known->second) return false;
    for (const bool held_out : {false, true}) {
      for (const PromptPlace& place : prompts_of(run_, id, held_out)) {
        if (!single(place, object)) return false;
      }
    }
    return true;
  }

  /// Two objects can be the same token, in a vocabulary without capitals.
  [[nodiscard]] bool differs(const std::string& object, int64_t id) const {
    const PromptPlace first{id, false, 0};
    return ids_at(run_, first, object) != ids_at(run_, first, run_.facts.fact(id).object);
  }

  const RunContext& run_;
  std::vector<std::string> objects_;
  std::vector<PromptPlace> others_;
  std::map<std::string, bool> single_elsewhere_;
};

}  // namespace

std::vector<int64_t> ids_at(const RunContext& run, const PromptPlace& place,
                            const std::string& object) {
  try {
    return encode_cloze(run.tokenizer, prompt_text(run, place), object,
                        prompt_form(run.model.config()), run.facts.fact(place.fact).origin)
        .answer;
  } catch (const InputError&) {
    return {};
  }
}

WrittenToken written_token(const Tokenizer& tokenizer, int64_t token) {
  if (!tokenizer.has_token(token)) return {token, "#" + std::to_string(token)};
  const std::vector<int64_t> one = {token};
  std::string text = tokenizer.decode(one, /*skip_special=*/false);
  text.erase(0, std::min(text.find_first_not_of(' '), text.size()));
  // A part of a character, or a space alone, has no text of its own.
  if (text.empty() || text.find("\xEF\xBF\xBD") != std::string::npos) {
    text = tokenizer.token_of(token);
  }
  return {token, std::move(text)};
}

UpdateSubject update_subject(const RunContext& run, int64_t id, const std::string& target) {
  UpdateSubject one;
  one.id = id;
  one.old = run.facts.fact(id).object;
  one.target = target;
  one.own = prompts_of(run, id, false);
  one.held_out = prompts_of(run, id, true);
  return one;
}

std::vector<int64_t> old_at(const RunContext& run, const UpdateSubject& one,
                            const PromptPlace& place) {
  std::vector<int64_t> ids = ids_at(run, place, one.old);
  if (one.replaced && ids.size() != 1) ids = {one.replaced->token};
  return ids;
}

std::vector<Cloze> target_prompts(const RunContext& run, const UpdateSubject& one) {
  const PromptForm form = prompt_form(run.model.config());
  std::vector<Cloze> prompts;
  for (const PromptPlace& place : one.own) {
    prompts.push_back(encode_cloze(run.tokenizer, prompt_text(run, place), one.target, form,
                                   run.facts.fact(one.id).origin));
  }
  return prompts;
}

UpdateTokens update_tokens(const RunContext& run, const UpdateSubject& one) {
  std::vector<std::pair<UpdateTokens, int64_t>> counted;  // by first appearance
  for (const PromptPlace& place : one.own) {
    UpdateTokens tokens{old_at(run, one, place), ids_at(run, place, one.target)};
    const auto known = std::ranges::find_if(counted, [&](const auto& entry) {
      return entry.first.old == tokens.old && entry.first.target == tokens.target;
    });
    if (known == counted.end()) {
      counted.emplace_back(std::move(tokens), 1);
    } else {
      ++known->second;
    }
  }
  if (counted.empty()) throw InternalError("a fact without prompts cannot be edited");
  return std::ranges::max_element(counted, {}, &std::pair<UpdateTokens, int64_t>::second)->first;
}

UpdateSample sample_updates(const RunContext& run, std::string_view relation,
                            const std::function<bool(int64_t)>& fits) {
  std::vector<int64_t> ids = facts_for_effects(run, relation, true);
  Random random(choice_seed(run.options.seed, "update facts", relation));
  random.shuffle(ids);
  if (fits) std::erase_if(ids, [&](int64_t id) { return !fits(id); });
  const auto all = static_cast<int64_t>(ids.size());
  const bool sweep = !run.options.as_published && !run.options.audit;
  const int64_t tuning = sweep ? std::min(kTuningFacts, all / 5) : 0;
  const int64_t reported = std::min(run.options.update_facts, all - tuning);
  TargetDraw targets(run, relation);
  UpdateSample sample;
  for (const int64_t id : ids) {
    const bool report = std::cmp_less(sample.reported.size(), reported);
    if (!report && !std::cmp_less(sample.tuning.size(), tuning)) break;
    std::optional<std::string> target = targets.draw(id);
    if (target) (report ? sample.reported : sample.tuning).emplace_back(id, std::move(*target));
  }
  return sample;
}

}  // namespace engram::experiments::update
