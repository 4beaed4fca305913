// Every number of an evaluation against plain sums over single trials.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "intervention/effect_facts.h"
#include "intervention/effects_plan.h"

namespace engram {
namespace {

using testing::change;
using testing::make_facts;
using testing::quick;
using testing::random_cloze;
using testing::random_model;
using testing::row;

constexpr double kPlainClose = 3e-5;  // float32 in batches of other shapes

struct PlainPrompt {
  Answered before;
  std::array<std::vector<Answered>, kSources> after;  ///< by draw
};
struct PlainFact {
  std::string relation;
  FactGroup group = FactGroup::kAll;
  std::vector<PlainPrompt> prompts;
};
using PlainScope = std::vector<PlainFact>;

/// Mean over draws of something about an answer.
double mean(const std::vector<Answered>& answers, double (*value)(const Answered&)) {
  double sum = 0;
  for (const Answered& answer : answers) sum += value(answer);
  return sum / static_cast<double>(answers.size());
}
double p_of(const Answered& a) { return a.p; }
double log_p_of(const Answered& a) { return a.log_p; }
double log_odds_of(const Answered& a) { return a.log_odds; }
double top_of(const Answered& a) { return a.top() ? 1 : 0; }
double log_rank_of(const Answered& a) { return std::log(static_cast<double>(a.rank)); }

/// A metric of a scope as METHOD section 4 words it.
double plain_metric(const PlainScope& all, size_t source, Metric metric,
                    const EffectOptions& options) {
  PlainScope facts = all;  // those that the source was tried on
  std::erase_if(facts, [&](const PlainFact& f) { return f.prompts[0].after[source].empty(); });
  if (metric == Metric::kRatioOfMeans) {
    std::map<std::string, std::pair<double, double>> relations;
    for (const PlainFact& fact : facts) {
      for (const PlainPrompt& prompt : fact.prompts) {
        relations[fact.relation].first += prompt.before.p;
        relations[fact.relation].second += mean(prompt.after[source], p_of);
      }
    }
    double sum = 0;
    for (const auto& [name, sums] : relations) sum += sums.second / sums.first - 1;
    return sum / static_cast<double>(relations.size());
  }
  double sum = 0, count = 0;
  for (const PlainFact& fact : facts) {
    double here = 0, prompts = 0, before = 0, after = 0;
    for (const PlainPrompt& prompt : fact.prompts) {
      prompts += 1;
      if (metric == Metric::kMeanOfRatios) {
        if (prompt.before.p < options.known_p || prompt.before.rank > options.known_rank) continue;
        before += prompt.before.p;
        after += mean(prompt.after[source], p_of);
        continue;
      }
      const auto value = metric == Metric::kLogOdds    ? log_odds_of
                         : metric == Metric::kLogP     ? log_p_of
                         : metric == Metric::kAccuracy ? top_of
                                                       : log_rank_of;
      here += mean(prompt.after[source], value) - value(prompt.before);
    }
    if (metric == Metric::kMeanOfRatios) {
      if (before == 0) continue;
      sum += after / before - 1;
    } else {
      sum += here / prompts;
    }
    count += 1;
  }
  return sum / count;
}

/// One trial by itself.
Answered single(const Model& model, const Cloze& cloze, const std::vector<NeuronChange>& changes) {
  const std::vector<std::vector<NeuronChange>> sets = {changes};
  const std::vector<Trial> trial = {{0, 0}};
  return measure(model, std::span(&cloze, 1), sets, trial).after.at(0);
}

/// Facts, what the plain sums of their effects are, and the report. Thousands of trials by
/// themselves: made once.
struct World {
  World() {
    for (uint64_t i = 0; i < 9; ++i) context_.text.push_back(random_cloze(9000 + i, 7));
    options_.known_p = 0.02;  // some prompts of a good rank fall below it
    options_.sentences = 4;
    options_.draws = 6;
    // P0 has sets of other facts with another object, P1 one more fact's, P2 none.
    for (const EffectFact& fact : facts_) {
      if (fact.relation == "P0") {
        context_.sets.push_back({fact.relation, fact.subject, fact.object, fact.neurons});
      }
    }
    context_.sets.push_back({"P1", "elsewhere", "nowhere", {{1, 3}, {1, 4}, {2, 38}}});
    const std::vector<ControlSets> controls = plan_controls(model_, facts_, context_, options_);
    std::map<Scope, std::map<uint32_t, PlainFact>> found;
    for (const EffectItem& item : plan_items(facts_, context_.text, options_)) {
      for (const EffectItem::Job& job : item.jobs) {
        const EffectFact& fact = facts_[job.fact];
        PlainPrompt prompt;
        prompt.before = single(model_, *item.cloze, {});
        const bool own = job.scope == Scope::kOwn || job.scope == Scope::kHeldOut;
        const auto tried = [&](const std::vector<NeuronId>& neurons) {
          return single(model_, *item.cloze, changes_of(options_.intervention, neurons, {}));
        };
        for (size_t s = 0; s < kSources; ++s) {
          if (s == kLocated || fact.neurons.empty()) {
            prompt.after[s].push_back(tried(fact.neurons));
            continue;
          }
          std::vector<std::vector<NeuronId>> sets = controls[job.fact].sets[s - 1];
          if (!own) sets.resize(std::min(sets.size(), static_cast<size_t>(options_.side_draws)));
          for (const std::vector<NeuronId>& set : sets) prompt.after[s].push_back(tried(set));
        }
        std::vector<Scope> scopes = {job.scope};
        if (job.scope == Scope::kSameRelationSameObject ||
            job.scope == Scope::kSameRelationOtherObject) {
          scopes.push_back(Scope::kSameRelation);
        }
        if (job.scope == Scope::kOtherRelationsSameObject ||
            job.scope == Scope::kOtherRelationsOtherObject) {
          scopes.push_back(Scope::kOtherRelations);
        }
        for (const Scope scope : scopes) {
          found[scope][job.fact].relation = fact.relation;
          found[scope][job.fact].prompts.push_back(prompt);
        }
      }
    }
    for (auto& [scope, facts] : found) {
      for (auto& [index, fact] : facts) {
        double top = 0;
        for (const PlainPrompt& own : found[Scope::kOwn].at(index).prompts) {
          top += own.before.rank == 1 ? 1 : 0;
        }
        const auto prompts = static_cast<double>(found[Scope::kOwn].at(index).prompts.size());
        fact.group = top == 0             ? FactGroup::kNever
                     : top >= prompts / 2 ? FactGroup::kKnown
                                          : FactGroup::kAll;
        plain_[scope].push_back(fact);
      }
    }
    report_ = measure_effects(model_, facts_, options_, context_);
  }

  Model model_ = random_model(1);
  std::vector<EffectFact> facts_ = make_facts(1);
  EffectOptions options_ = quick("zero");
  EffectContext context_;
  std::map<Scope, PlainScope> plain_;
  EffectReport report_;
};

const World& world() {
  static const World one;
  return one;
}

/// Every test has a copy that it may change.
class PlainSums : public ::testing::Test, protected World {
 protected:
  PlainSums() : World(world()) {}
};

TEST_F(PlainSums, AreTheReport) {
  ASSERT_EQ(report_.rows.size(), kScopes * kFactGroups);
  int64_t apart = 0;
  for (const EffectRow& r : report_.rows) {
    SCOPED_TRACE(std::string(scope_name(r.scope)) + ", " + group_name(r.group));
    PlainScope facts = plain_[r.scope];
    if (r.group != FactGroup::kAll) {
      std::erase_if(facts, [&](const PlainFact& fact) { return fact.group != r.group; });
    }
    EXPECT_EQ(r.facts, static_cast<int64_t>(facts.size()));
    if (facts.empty()) continue;
    if (r.group != FactGroup::kAll && facts.size() < plain_[r.scope].size()) ++apart;
    int64_t prompts = 0;
    int64_t known = 0;
    std::set<std::string> relations;
    double p = 0, log_p = 0, accuracy = 0, log_rank = 0;
    for (const PlainFact& fact : facts) {
      relations.insert(fact.relation);
      prompts += static_cast<int64_t>(fact.prompts.size());
      bool one_known = false;
      std::vector<Answered> before;
      for (const PlainPrompt& prompt : fact.prompts) {
        before.push_back(prompt.before);
        one_known = one_known || (prompt.before.p >= options_.known_p &&
                                  prompt.before.rank <= options_.known_rank);
      }
      known += one_known ? 1 : 0;
      p += mean(before, p_of);
      log_p += mean(before, log_p_of);
      accuracy += mean(before, top_of);
      log_rank += mean(before, log_rank_of);
    }
    const auto n = static_cast<double>(facts.size());
    EXPECT_EQ(r.prompts, prompts);
    EXPECT_EQ(r.known, known);
    EXPECT_EQ(r.relations, static_cast<int64_t>(relations.size()));
    EXPECT_NEAR(r.before.p, p / n, kPlainClose);
    EXPECT_NEAR(r.before.log_p, log_p / n, kPlainClose);
    EXPECT_NEAR(r.before.accuracy, accuracy / n, 1e-9);
    EXPECT_NEAR(r.before.rank, std::exp(log_rank / n), 1e-9);
    for (size_t s = 0; s < kSources; ++s) {
      SCOPED_TRACE(source_name(s));
      for (size_t m = 0; m < kMetrics; ++m) {
        const auto metric = static_cast<Metric>(m);
        const double expected = plain_metric(facts, s, metric, options_);
        if (std::isnan(expected)) {  // no known prompt, or no set of another fact
          EXPECT_TRUE(known == 0 || s == kOtherFact || metric == Metric::kMeanOfRatios);
          EXPECT_TRUE(std::isnan(change(r, s, metric)));
          continue;
        }
        EXPECT_NEAR(change(r, s, metric), expected, kPlainClose) << metric_name(metric);
        if (s == 0) continue;
        // Over the facts that have both.
        PlainScope both = facts;
        std::erase_if(both, [&](const PlainFact& f) { return f.prompts[0].after[s].empty(); });
        EXPECT_NEAR(r.difference[s - 1][m].value,
                    plain_metric(both, 0, metric, options_) - expected, 2 * kPlainClose)
            << metric_name(metric);
      }
      if (std::isnan(change(r, s, Metric::kLogP))) continue;
      EXPECT_NEAR(r.after[s].log_p, r.before.log_p + change(r, s, Metric::kLogP), 1e-9);
      EXPECT_NEAR(r.after[s].log_odds, r.before.log_odds + change(r, s, Metric::kLogOdds), 1e-9);
      EXPECT_NEAR(r.after[s].accuracy, r.before.accuracy + change(r, s, Metric::kAccuracy), 1e-9);
    }
  }
  // Else nothing was tested.
  EXPECT_GT(apart, 0) << "some group is not all facts";
  EXPECT_GT(std::abs(change(row(report_, Scope::kOwn), kNext, Metric::kLogOdds)), 1e-3);
  EXPECT_GT(std::abs(change(row(report_, Scope::kOwn), kOtherFact, Metric::kLogOdds)), 1e-3);
  EXPECT_GT(std::abs(change(row(report_, Scope::kOwn), 0, Metric::kLogP)), 1e-3);
  EXPECT_GT(std::abs(change(row(report_, Scope::kText), 1, Metric::kLogP)), 1e-3);
  EXPECT_EQ(row(report_, Scope::kOwn).prompts, 63);
  EXPECT_EQ(row(report_, Scope::kText).prompts, 18 * 4);
  EXPECT_EQ(report_.facts, 18);
  EXPECT_EQ(report_.empty, 3);
}

TEST_F(PlainSums, ThePThatMakesAPromptKnownDecides) {
  EffectOptions any = options_;
  any.known_p = 0;
  EffectOptions none = options_;
  none.known_p = 1;
  const EffectRow& some = row(report_, Scope::kOwn);
  const EffectReport all = measure_effects(model_, facts_, any, context_);
  EXPECT_GT(some.known, 0);
  EXPECT_NE(change(some, 0, Metric::kMeanOfRatios),
            change(row(all, Scope::kOwn), 0, Metric::kMeanOfRatios));
  const EffectReport nobody = measure_effects(model_, facts_, none, context_);
  EXPECT_EQ(row(nobody, Scope::kOwn).known, 0);
  EXPECT_TRUE(std::isnan(change(row(nobody, Scope::kOwn), 0, Metric::kMeanOfRatios)));
}

TEST_F(PlainSums, CountTheDrawsThatAreAsStrong) {
  int64_t counted = 0;
  for (const Scope scope : {Scope::kOwn, Scope::kHeldOut}) {
    const double located = plain_metric(plain_[scope], 0, Metric::kLogOdds, options_);
    for (size_t s = kRandomLayer; s <= kRandomGradient; ++s) {
      int64_t as_strong = 0;
      for (size_t d = 0; d < static_cast<size_t>(options_.draws); ++d) {
        PlainScope one = plain_[scope];  // as if the draw were the only one
        for (PlainFact& fact : one) {
          for (PlainPrompt& prompt : fact.prompts) {
            const std::vector<Answered>& all = prompt.after[s];  // one where there is no neuron
            const Answered drawn = all.at(all.size() == 1 ? 0 : d);
            prompt.after[s] = {drawn};
          }
        }
        const double random = plain_metric(one, s, Metric::kLogOdds, options_);
        if (located < 0 ? random <= located : random >= located) ++as_strong;
      }
      EXPECT_EQ(row(report_, scope).draws_as_strong[s - 1], as_strong)
          << scope_name(scope) << " " << source_name(s) << " " << located;
      counted += as_strong;
    }
  }
  EXPECT_GT(counted, 0);  // else nothing was tested
  EXPECT_LT(counted, 6 * options_.draws);
  EXPECT_EQ(row(report_, Scope::kSameRelation).draws_as_strong[0], -1);
}

TEST_F(PlainSums, OneRelationByItself) {
  for (const RelationEffect& relation : report_.relations) {
    for (const auto& [scope, found] :
         {std::pair{Scope::kOwn, relation.own}, std::pair{Scope::kHeldOut, relation.held_out}}) {
      PlainScope facts = plain_[scope];
      std::erase_if(facts,
                    [&](const PlainFact& fact) { return fact.relation != relation.relation; });
      for (size_t s = 0; s < kSources; ++s) {
        for (const auto& [value, metric] : {std::pair{found.log_odds[s], Metric::kLogOdds},
                                            std::pair{found.ratio[s], Metric::kRatioOfMeans}}) {
          const double expected = plain_metric(facts, s, metric, options_);
          EXPECT_TRUE(std::abs(value - expected) < kPlainClose ||
                      (std::isnan(value) && std::isnan(expected)));
        }
      }
    }
  }
}

TEST_F(PlainSums, DetailsAreTheFactsAndPrompts) {
  EffectOptions options = options_;
  options.keep_details = true;
  const EffectReport report = measure_effects(model_, facts_, options, context_);
  double log_odds = 0;
  double facts = 0;
  std::map<size_t, std::pair<double, double>> by_prompt;
  for (const PromptEffect& one : report.prompts) {
    if (one.held_out) continue;
    const Answered before = single(model_, facts_[one.fact].prompts.at(one.prompt), {});
    EXPECT_NEAR(one.before.log_odds, before.log_odds, kPlainClose);
    by_prompt[one.fact].first += one.after[kLocated].log_odds - one.before.log_odds;
    by_prompt[one.fact].second += 1;
  }
  for (const FactEffect& one : report.details) {
    if (one.scope != Scope::kOwn) continue;
    const double change = one.after[kLocated].log_odds - one.before.log_odds;
    EXPECT_NEAR(change, by_prompt.at(one.fact).first / by_prompt.at(one.fact).second, 1e-9);
    log_odds += change;
    facts += 1;
  }
  EXPECT_EQ(facts, 18);
  EXPECT_NEAR(log_odds / facts, change(row(report, Scope::kOwn), 0, Metric::kLogOdds), 1e-9);
}

TEST_F(PlainSums, KnownOnlyIsTheGroup) {
  EffectOptions options = options_;
  options.known_only = true;
  const EffectReport report = measure_effects(model_, facts_, options, context_);
  const EffectRow* known = report_.row(Scope::kOwn, FactGroup::kKnown);
  EXPECT_EQ(row(report, Scope::kOwn).facts, known->facts);
  if (known->facts > 0) {
    EXPECT_EQ(change(row(report, Scope::kOwn), 0, Metric::kLogOdds),
              known->change[0][static_cast<size_t>(Metric::kLogOdds)].value);
  }
}

}  // namespace
}  // namespace engram
