#include "engram/removal/sample.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "base/random.h"
#include "engram/error.h"
#include "engram/text/prepare.h"
#include "engram/text/prompt.h"

namespace engram {
namespace {

constexpr size_t kExamples = 4;

/// A fact that can be examined, and how often the original model answers it.
struct Candidate {
  Fact fact;
  PreparedFact prepared;
  int64_t prompts = 0, top = 0;

  [[nodiscard]] bool known() const { return 2 * top >= prompts; }
};

bool one_token(const PreparedFact& fact) {
  const auto single = [](const Cloze& cloze) { return cloze.answer.size() == 1; };
  return std::ranges::all_of(fact.prompts, single) && std::ranges::all_of(fact.held_out, single);
}

/// The facts to screen: a seeded choice of the relation's, and the edit's own one.
std::vector<Fact> facts_to_screen(std::vector<Fact> facts, const std::string& source,
                                  const RemovalSampleOptions& options) {
  FactChoice choice;
  choice.relations = {options.relation};
  const std::vector<Fact> all = choose_facts(std::move(facts), choice, options.seed, source);
  choice.per_relation = options.per_relation;
  std::vector<Fact> taken = choose_facts(all, choice, options.seed, source);
  if (options.subject.empty()) return taken;
  const auto is_it = [&](const Fact& fact) {
    return fact.subject == options.subject && fact.object == options.object;
  };
  const auto it = std::ranges::find_if(all, is_it);
  if (it == all.end()) {
    throw InputError(source + ": has no fact of relation " + options.relation + " that says \"" +
                     options.object + "\" of \"" + options.subject + "\", which the edit is for");
  }
  if (std::ranges::none_of(taken, is_it)) taken.push_back(*it);
  return taken;
}

std::vector<Candidate> screened(const Model& model, const Tokenizer& tokenizer,
                                std::vector<Fact> facts, const MeasureOptions& how) {
  std::vector<Candidate> candidates;
  std::vector<FactProblem> problems;
  std::vector<Cloze> prompts;
  for (Fact& fact : facts) {
    auto prepared = prepare_fact(fact, tokenizer, prompt_form(model.config()), problems);
    if (!prepared || subject_holds_object(fact) || prepared->held_out.empty() ||
        std::cmp_less(prepared->prompts.size(), kLocatingPrompts) || !one_token(*prepared)) {
      continue;
    }
    Candidate& one = candidates.emplace_back();
    one.fact = std::move(fact);
    one.prepared = std::move(*prepared);
    one.prompts = std::ssize(one.prepared.prompts) + std::ssize(one.prepared.held_out);
    prompts.insert(prompts.end(), one.prepared.prompts.begin(), one.prepared.prompts.end());
    prompts.insert(prompts.end(), one.prepared.held_out.begin(), one.prepared.held_out.end());
  }
  const Measured measured = measure(model, prompts, {}, {}, how);
  size_t at = 0;
  for (Candidate& one : candidates) {
    for (int64_t i = 0; i < one.prompts; ++i, ++at) one.top += measured.before[at].top() ? 1 : 0;
  }
  return candidates;
}

/// "The capital of Italy is Rome." of a prompt.
std::string stated(const std::string& prompt, const std::string& object) {
  constexpr std::string_view kMask = "[MASK]";
  const size_t place = prompt.find(kMask);
  return place == std::string::npos
             ? prompt + " " + object + "."
             : prompt.substr(0, place) + object + prompt.substr(place + kMask.size());
}

/// The held-out prompts behind known facts; empty where there are too few of them, or the model
/// does not take so many tokens.
std::vector<Cloze> with_examples(const Candidate& asked, std::vector<const Candidate*> known,
                                 const Tokenizer& tokenizer, const PromptForm& form,
                                 uint64_t seed) {
  Random(hash_text(asked.fact.subject, seed)).shuffle(known);
  std::string before;
  size_t count = 0;
  for (const Candidate* one : known) {
    if (count == kExamples) break;
    if (one->fact.object == asked.fact.object || one->fact.subject == asked.fact.subject) continue;
    before += stated(one->fact.prompts.front(), one->fact.object) + " ";
    ++count;
  }
  if (count < kExamples) return {};
  std::vector<Cloze> clozes;
  for (const std::string& prompt : asked.fact.held_out) {
    try {
      clozes.push_back(
          encode_cloze(tokenizer, before + prompt, asked.fact.object, form, asked.fact.origin));
    } catch (const InputError&) {
      return {};  // too long
    }
    if (clozes.back().answer.size() != 1) return {};
  }
  return clozes;
}

}  // namespace

RemovalSample sample_for_removal(const Model& model, const Tokenizer& tokenizer,
                                 std::vector<Fact> facts, const std::string& source,
                                 const RemovalSampleOptions& options) {
  const std::vector<Fact> looked_at = facts_to_screen(std::move(facts), source, options);
  const auto unsplit =
      std::ranges::count_if(looked_at, [](const Fact& fact) { return fact.held_out.empty(); });
  const std::vector<Candidate> candidates = screened(model, tokenizer, looked_at, options.measure);
  std::vector<const Candidate*> known, never, erased;
  for (const Candidate& one : candidates) {
    if (one.known()) known.push_back(&one);
    if (one.top == 0) never.push_back(&one);
    // The fact of an edit is examined whether it was known or not.
    if (options.subject.empty()
            ? one.known()
            : one.fact.subject == options.subject && one.fact.object == options.object) {
      erased.push_back(&one);
    }
  }
  if (erased.empty()) {
    throw InputError(source + ": relation " + options.relation +
                     " has no fact to examine, expected one that the model knows, with at least 3 "
                     "prompts that locate, a held-out one, an answer of one token and a subject "
                     "without it; of " +
                     std::to_string(looked_at.size()) + " facts " + std::to_string(unsplit) +
                     " have no held-out prompt and " + std::to_string(candidates.size()) +
                     " can be asked, of which the model knows " + std::to_string(known.size()));
  }
  Random random(options.seed);
  const auto take = [&](std::vector<const Candidate*>& from, int64_t count) {
    random.shuffle(from);
    if (std::cmp_less(count, from.size())) from.resize(static_cast<size_t>(count));
  };
  take(erased, options.known);
  take(never, options.never);
  std::erase_if(
      never, [&](const Candidate* one) { return std::ranges::find(erased, one) != erased.end(); });
  std::map<std::string, size_t> objects;
  const PromptForm form = prompt_form(model.config());
  const auto examined = [&](const std::vector<const Candidate*>& chosen) {
    std::vector<ExaminedFact> made;
    for (const Candidate* one : chosen) {
      made.push_back({one->prepared.prompts, one->prepared.held_out,
                      with_examples(*one, known, tokenizer, form, options.seed),
                      objects.try_emplace(one->fact.object, objects.size()).first->second});
    }
    return made;
  };
  return {examined(erased), examined(never)};
}

}  // namespace engram
