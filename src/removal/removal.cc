#include "engram/removal/removal.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "base/random.h"
#include "engram/base/interrupt.h"
#include "engram/error.h"
#include "engram/reading/lens.h"
#include "removal/relearn.h"
#include "removal/weights.h"

namespace engram {
namespace {

constexpr double kPartOfEdit = 0.9;
constexpr size_t kFewestToRelearn = 4;

void check_facts(std::span<const ExaminedFact> facts) {
  for (const ExaminedFact& fact : facts) {
    if (fact.own.empty() || fact.held_out.empty()) {
      throw InputError(
          "a fact has no prompt to ask or none held out, expected one or more of each");
    }
    if (!fact.with_examples.empty() && fact.with_examples.size() != fact.held_out.size()) {
      throw InternalError("a fact needs examples before all of its held-out prompts, or none");
    }
    const auto single = [](const Cloze& cloze) { return cloze.answer.size() == 1; };
    if (!std::ranges::all_of(fact.own, single) || !std::ranges::all_of(fact.held_out, single)) {
      throw InputError("got an answer of several tokens, expected one token");
    }
  }
}

/// How facts are answered: the mean over each one's prompts.
struct FactAnswers {
  std::vector<double> log_odds;  ///< [facts]
  std::vector<double> top;       ///< [facts] share of its prompts

  [[nodiscard]] double mean_top() const {
    return top.empty()
               ? std::numeric_limits<double>::quiet_NaN()
               : std::accumulate(top.begin(), top.end(), 0.0) / static_cast<double>(top.size());
  }
};

using PromptsOf = std::vector<Cloze> ExaminedFact::*;

/// Asks models, and counts how many were asked.
class Asker {
 public:
  Asker(const RemovalOptions& options, int64_t all,
        const std::function<void(int64_t, int64_t)>& progress)
      : options_(options), all_(all), progress_(progress) {}

  FactAnswers ask(const Model& model, std::span<const ExaminedFact> facts,
                  PromptsOf which = &ExaminedFact::held_out) {
    std::vector<Cloze> prompts;
    for (const ExaminedFact& fact : facts) {
      prompts.insert(prompts.end(), (fact.*which).begin(), (fact.*which).end());
    }
    FactAnswers answers;
    if (!facts.empty()) {
      const Measured measured = measure(model, prompts, {}, {}, options_.measure);
      size_t at = 0;
      for (const ExaminedFact& fact : facts) {
        const auto count = static_cast<double>((fact.*which).size());
        double log_odds = 0;
        double top = 0;
        for (size_t i = 0; i < (fact.*which).size(); ++i, ++at) {
          log_odds += measured.before[at].log_odds / count;
          top += measured.before[at].top() ? 1 / count : 0;
        }
        answers.log_odds.push_back(log_odds);
        answers.top.push_back(top);
      }
    }
    count();
    return answers;
  }

  /// The best of the logit lens behind any layer.
  FactAnswers ask_lens(const Model& model, std::span<const ExaminedFact> facts) {
    FactAnswers answers;
    for (const ExaminedFact& fact : facts) {
      double log_odds = 0;
      double top = 0;
      const auto share = 1 / static_cast<double>(fact.held_out.size());
      for (const Cloze& cloze : fact.held_out) {
        Interrupt::check();
        double best = -std::numeric_limits<double>::infinity();
        bool first = false;
        for (const LensStage& stage : logit_lens(model, cloze, 0).stages) {
          if (stage.place != LensPlace::kFfn) continue;
          best = std::max(best, std::log(stage.p) - std::log1p(-stage.p));
          first = first || stage.rank == 1;
        }
        log_odds += share * best;
        top += first ? share : 0;
      }
      answers.log_odds.push_back(log_odds);
      answers.top.push_back(top);
    }
    count();
    return answers;
  }

 private:
  void count() {
    Interrupt::check();
    ++done_;
    if (progress_) progress_(done_, all_);
  }

  const RemovalOptions& options_;
  int64_t all_;
  const std::function<void(int64_t, int64_t)>& progress_;
  int64_t done_ = 0;
};

std::vector<double> differences(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> found(a.size());
  for (size_t i = 0; i < a.size(); ++i) found[i] = a[i] - b[i];
  return found;
}

/// Each half of the facts after training on the other half's own prompts: [steps].
std::vector<FactAnswers> relearned(const Model& model, std::span<const ExaminedFact> facts,
                                   const RemovalOptions& options, Asker& asker) {
  std::vector<size_t> order(facts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  Random(options.seed).shuffle(order);
  std::vector<FactAnswers> all(options.relearn_steps.size());
  for (FactAnswers& one : all) {
    one.log_odds.resize(facts.size());
    one.top.resize(facts.size());
  }
  for (size_t half = 0; half < 2; ++half) {
    std::vector<Cloze> taught;
    std::vector<ExaminedFact> asked;
    std::vector<size_t> places;
    for (size_t i = 0; i < order.size(); ++i) {
      const ExaminedFact& fact = facts[order[i]];
      if (i % 2 == half) {
        taught.insert(taught.end(), fact.own.begin(), fact.own.end());
      } else {
        asked.push_back(fact);
        places.push_back(order[i]);
      }
    }
    size_t step = 0;
    const RelearnOptions how{options.relearn_steps, options.relearn_rate, options.relearn_prompts,
                             options.seed + half};
    relearn(model, taught, how, [&](int64_t, const Model& pupil) {
      const FactAnswers answers = asker.ask(pupil, asked);
      for (size_t i = 0; i < places.size(); ++i) {
        all[step].log_odds[places[i]] = answers.log_odds[i];
        all[step].top[places[i]] = answers.top[i];
      }
      ++step;
    });
  }
  return all;
}

bool all_have_examples(std::span<const ExaminedFact> facts) {
  return std::ranges::none_of(facts,
                              [](const ExaminedFact& fact) { return fact.with_examples.empty(); });
}

}  // namespace

Removal attack_edit(const Model& original, const Model& edited,
                    std::span<const ExaminedFact> erased, std::span<const ExaminedFact> never,
                    const RemovalOptions& options,
                    const std::function<void(int64_t done, int64_t of)>& progress) {
  if (erased.empty()) throw InputError("got no erased fact to examine, expected one or more");
  check_facts(erased);
  check_facts(never);
  const bool examples = all_have_examples(erased) && all_have_examples(never);
  const bool relearns = !options.relearn_steps.empty() && erased.size() >= kFewestToRelearn &&
                        never.size() >= kFewestToRelearn;
  const auto steps = relearns ? std::ssize(options.relearn_steps) : 0;
  // Own and held-out prompts before and after and the never known facts; then every attack.
  Asker asker(options, 5 + (examples ? 2 : 0) + 2 + 4 + 2 * options.noise_draws + 1 + 4 * steps,
              progress);

  Removal found;
  found.own_before = asker.ask(original, erased, &ExaminedFact::own).log_odds;
  const FactAnswers own_after = asker.ask(edited, erased, &ExaminedFact::own);
  found.own_after = own_after.log_odds;
  const FactAnswers before = asker.ask(original, erased);
  const FactAnswers after = asker.ask(edited, erased);
  const FactAnswers never_before = asker.ask(original, never);
  found.before = before.log_odds;
  found.after = after.log_odds;
  found.top_before = before.mean_top();
  found.top_after = after.mean_top();

  const auto add = [&](std::string name, const FactAnswers& attacked, const FactAnswers& line) {
    found.attacks.push_back({std::move(name), differences(attacked.log_odds, after.log_odds),
                             differences(line.log_odds, never_before.log_odds), attacked.mean_top(),
                             line.mean_top()});
  };
  // The drop on own prompts that held-out ones do not show.
  AttackGain& paraphrases = found.attacks.emplace_back();
  paraphrases.name = "paraphrases";
  paraphrases.erased = differences(differences(found.own_before, found.own_after),
                                   differences(found.before, found.after));
  paraphrases.never.assign(never.size(), 0);
  paraphrases.erased_top = after.mean_top();
  paraphrases.never_top = never_before.mean_top();
  paraphrases.of_own = true;
  if (examples) {
    const FactAnswers attacked = asker.ask(edited, erased, &ExaminedFact::with_examples);
    add("examples", attacked, asker.ask(original, never, &ExaminedFact::with_examples));
  }
  {
    const FactAnswers attacked = asker.ask_lens(edited, erased);
    add("lens", attacked, asker.ask_lens(original, never));
  }
  for (const int bits : {8, 4}) {
    const FactAnswers attacked = asker.ask(rounded(edited, bits), erased);
    add("int" + std::to_string(bits), attacked, asker.ask(rounded(original, bits), never));
  }
  if (options.noise_draws > 0) {
    const auto mean_of = [&](const Model& model, std::span<const ExaminedFact> facts) {
      FactAnswers mean{std::vector<double>(facts.size()), std::vector<double>(facts.size())};
      for (int64_t draw = 0; draw < options.noise_draws; ++draw) {
        const FactAnswers one = asker.ask(
            noisy(model, options.noise, options.seed + static_cast<uint64_t>(draw)), facts);
        for (size_t i = 0; i < facts.size(); ++i) {
          mean.log_odds[i] += one.log_odds[i] / static_cast<double>(options.noise_draws);
          mean.top[i] += one.top[i] / static_cast<double>(options.noise_draws);
        }
      }
      return mean;
    };
    const FactAnswers attacked = mean_of(edited, erased);
    add("noise", attacked, mean_of(original, never));
  }
  add("0.9 of the edit", asker.ask(between(original, edited, kPartOfEdit), erased), never_before);
  if (relearns) {
    const std::vector<FactAnswers> attacked = relearned(edited, erased, options, asker);
    const std::vector<FactAnswers> line = relearned(original, never, options, asker);
    for (size_t i = 0; i < attacked.size(); ++i) {
      const int64_t count = options.relearn_steps[i];
      add("relearned, " + std::to_string(count) + (count == 1 ? " step" : " steps"), attacked[i],
          line[i]);
    }
  }
  return found;
}

}  // namespace engram
