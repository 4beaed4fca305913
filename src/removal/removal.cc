#include "engram/removal/removal.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <numeric>
#include <utility>

#include "base/random.h"
#include "engram/base/interrupt.h"
#include "engram/error.h"
#include "engram/reading/lens.h"
#include "model/parallel.h"
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

/// Asks models on the calling thread, for several threads at once, and counts how many were asked.
class Asker {
 public:
  Asker(const RemovalOptions& options, int64_t all,
        const std::function<void(int64_t, int64_t)>& progress)
      : how_(options.measure), all_(all), progress_(progress) {
    how_.threads = 1;
  }

  FactAnswers ask(const Model& model, std::span<const ExaminedFact> facts,
                  PromptsOf which = &ExaminedFact::held_out) {
    std::vector<Cloze> prompts;
    for (const ExaminedFact& fact : facts) {
      prompts.insert(prompts.end(), (fact.*which).begin(), (fact.*which).end());
    }
    FactAnswers answers;
    if (!facts.empty()) {
      const Measured measured = measure(model, prompts, {}, {}, how_);
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
    const std::scoped_lock lock(mutex_);
    ++done_;
    if (progress_) progress_(done_, all_);
  }

  MeasureOptions how_;
  int64_t all_;
  const std::function<void(int64_t, int64_t)>& progress_;
  std::mutex mutex_;
  int64_t done_ = 0;
};

std::vector<double> differences(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> found(a.size());
  for (size_t i = 0; i < a.size(); ++i) found[i] = a[i] - b[i];
  return found;
}

/// A model that is taught one half of some facts and asked for the other.
struct Lesson {
  const Model* model = nullptr;
  std::vector<Cloze> taught;
  std::vector<ExaminedFact> asked;
  std::vector<size_t> places;  ///< of the asked facts
  uint64_t seed = 0;
  std::vector<FactAnswers> answers;  ///< [steps]
};

void add_lessons(const Model& model, std::span<const ExaminedFact> facts, uint64_t seed,
                 std::vector<Lesson>& lessons) {
  std::vector<size_t> order(facts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  Random(seed).shuffle(order);
  for (size_t half = 0; half < 2; ++half) {
    Lesson& lesson = lessons.emplace_back();
    lesson.model = &model;
    lesson.seed = seed + half;
    for (size_t i = 0; i < order.size(); ++i) {
      const ExaminedFact& fact = facts[order[i]];
      if (i % 2 == half) {
        lesson.taught.insert(lesson.taught.end(), fact.own.begin(), fact.own.end());
      } else {
        lesson.asked.push_back(fact);
        lesson.places.push_back(order[i]);
      }
    }
  }
}

/// The answers of both halves, [steps].
std::vector<FactAnswers> together(std::span<const Lesson> halves, size_t facts) {
  std::vector<FactAnswers> all(halves.front().answers.size());
  for (size_t step = 0; step < all.size(); ++step) {
    all[step] = {std::vector<double>(facts), std::vector<double>(facts)};
    for (const Lesson& half : halves) {
      for (size_t i = 0; i < half.places.size(); ++i) {
        all[step].log_odds[half.places[i]] = half.answers[step].log_odds[i];
        all[step].top[half.places[i]] = half.answers[step].top[i];
      }
    }
  }
  return all;
}

/// Of the edited model and of the original one.
struct BothAnswers {
  FactAnswers erased, never;
};

FactAnswers mean_of(const std::vector<BothAnswers>& draws, FactAnswers BothAnswers::*which) {
  const size_t facts = (draws.front().*which).log_odds.size();
  FactAnswers mean{std::vector<double>(facts), std::vector<double>(facts)};
  const auto share = 1 / static_cast<double>(draws.size());
  for (const BothAnswers& draw : draws) {
    for (size_t i = 0; i < facts; ++i) {
      mean.log_odds[i] += share * (draw.*which).log_odds[i];
      mean.top[i] += share * (draw.*which).top[i];
    }
  }
  return mean;
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
  const auto draws = static_cast<size_t>(options.noise_draws);
  Asker asker(options, 12 + (examples ? 2 : 0) + 2 * options.noise_draws + 4 * steps, progress);

  // Everything that is asked, one thread each: products of a few prompts are too small for more.
  std::vector<std::function<void()>> jobs;
  const auto later = [&](FactAnswers& answers, auto model, std::span<const ExaminedFact> facts,
                         PromptsOf which = &ExaminedFact::held_out) {
    jobs.emplace_back(
        [&answers, &asker, model, facts, which] { answers = asker.ask(model(), facts, which); });
  };
  const auto as_it_was = [&]() -> const Model& { return original; };
  const auto as_edited = [&]() -> const Model& { return edited; };
  FactAnswers own_before, own_after, before, after, never_before, part;
  later(own_before, as_it_was, erased, &ExaminedFact::own);
  later(own_after, as_edited, erased, &ExaminedFact::own);
  later(before, as_it_was, erased);
  later(after, as_edited, erased);
  later(never_before, as_it_was, never);
  later(part, [&] { return between(original, edited, kPartOfEdit); }, erased);
  BothAnswers with_examples, lens, eight, four;
  if (examples) {
    later(with_examples.erased, as_edited, erased, &ExaminedFact::with_examples);
    later(with_examples.never, as_it_was, never, &ExaminedFact::with_examples);
  }
  jobs.emplace_back([&] { lens.erased = asker.ask_lens(edited, erased); });
  jobs.emplace_back([&] { lens.never = asker.ask_lens(original, never); });
  const auto later_rounded = [&](BothAnswers& answers, int bits) {
    later(answers.erased, [&, bits] { return rounded(edited, bits); }, erased);
    later(answers.never, [&, bits] { return rounded(original, bits); }, never);
  };
  later_rounded(eight, 8);
  later_rounded(four, 4);
  std::vector<BothAnswers> noise(draws);
  for (size_t draw = 0; draw < draws; ++draw) {
    const uint64_t seed = options.seed + draw;
    later(noise[draw].erased, [&, seed] { return noisy(edited, options.noise, seed); }, erased);
    later(noise[draw].never, [&, seed] { return noisy(original, options.noise, seed); }, never);
  }
  std::vector<Lesson> lessons;
  if (relearns) {
    add_lessons(edited, erased, options.seed, lessons);
    add_lessons(original, never, options.seed, lessons);
  }
  for (Lesson& lesson : lessons) {
    jobs.emplace_back([&] {
      relearn(*lesson.model, lesson.taught,
              {options.relearn_steps, options.relearn_rate, options.relearn_prompts, lesson.seed},
              [&](int64_t, const Model& pupil) {
                lesson.answers.push_back(asker.ask(pupil, lesson.asked));
              });
    });
  }
  std::ranges::reverse(jobs);  // the longest come first
  const int workers = original.device().is_cpu() ? worker_count(options.measure.threads) : 1;
  run_tasks(jobs.size(), workers, [&](size_t job) { jobs[job](); });

  Removal found;
  found.own_before = own_before.log_odds;
  found.own_after = own_after.log_odds;
  found.before = before.log_odds;
  found.after = after.log_odds;
  found.top_before = before.mean_top();
  found.top_after = after.mean_top();
  // The drop on own prompts that held-out ones do not show.
  AttackGain& paraphrases = found.attacks.emplace_back();
  paraphrases.name = "paraphrases";
  paraphrases.erased = differences(differences(found.own_before, found.own_after),
                                   differences(found.before, found.after));
  paraphrases.never.assign(never.size(), 0);
  paraphrases.erased_top = after.mean_top();
  paraphrases.never_top = never_before.mean_top();
  paraphrases.of_own = true;
  const auto add = [&](std::string name, const FactAnswers& attacked, const FactAnswers& line) {
    found.attacks.push_back({std::move(name), differences(attacked.log_odds, after.log_odds),
                             differences(line.log_odds, never_before.log_odds), attacked.mean_top(),
                             line.mean_top()});
  };
  if (examples) add("examples", with_examples.erased, with_examples.never);
  add("lens", lens.erased, lens.never);
  add("int8", eight.erased, eight.never);
  add("int4", four.erased, four.never);
  if (draws > 0) {
    add("noise", mean_of(noise, &BothAnswers::erased), mean_of(noise, &BothAnswers::never));
  }
  add("0.9 of the edit", part, never_before);
  if (relearns) {
    const std::span<const Lesson> all(lessons);
    const std::vector<FactAnswers> attacked = together(all.first(2), erased.size());
    const std::vector<FactAnswers> line = together(all.last(2), never.size());
    for (size_t i = 0; i < attacked.size(); ++i) {
      const int64_t count = options.relearn_steps[i];
      add("relearned, " + std::to_string(count) + (count == 1 ? " step" : " steps"), attacked[i],
          line[i]);
    }
  }
  return found;
}

}  // namespace engram
