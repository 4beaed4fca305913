// Effects of interventions on a small random model, against plain sums of single trials.
#include "engram/evaluation/effects.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "engram/error.h"
#include "evaluation/effects_plan.h"
#include "intervention/random_model.h"

namespace engram {
namespace {

using testing::random_model;
using testing::random_probe;

/// Six facts in each of three relations, two objects per relation, one of them shared by all.
std::vector<EffectFact> make_facts(uint64_t seed) {
  std::vector<EffectFact> facts;
  for (uint64_t i = 0; i < 18; ++i) {
    EffectFact fact;
    fact.relation = "P" + std::to_string(i / 6);
    fact.subject = "subject " + std::to_string(i);
    fact.object = i % 2 == 0 ? "everywhere" : "only in " + fact.relation;
    for (uint64_t p = 0; p < 3 + i % 2; ++p) {
      fact.prompts.push_back(random_probe(seed + 100 * i + p, 5 + static_cast<int64_t>(p % 3)));
    }
    if (i % 3 != 0) fact.held_out.push_back(random_probe(seed + 100 * i + 50, 6));
    const auto n = static_cast<int32_t>(i);
    if (i % 6 != 5) fact.neurons = {{0, n}, {2, (n * 7) % 40}};
    facts.push_back(fact);
  }
  return facts;
}

EffectOptions quick(const char* what) {
  EffectOptions options;
  options.manipulation = parse_manipulation(what);
  options.draws = 4;
  options.side_draws = 2;
  options.same_relation = 3;
  options.other_relations = 7;
  options.bootstrap.draws = 50;
  options.known_p = 0;
  options.known_rank = 10;
  options.measure = {2, 1 << 28};
  return options;
}

const EffectRow& row(const EffectReport& report, Scope scope) {
  return report.rows.at(static_cast<size_t>(scope));
}
double change(const EffectRow& r, size_t source, Metric metric) {
  return r.change[source][static_cast<size_t>(metric)].value;
}

TEST(Effects, OwnPromptsEqualPlainSums) {
  const Model model = random_model(1);
  const std::vector<EffectFact> facts = make_facts(1);
  const EffectOptions options = quick("zero");
  const EffectReport report = measure_effects(model, facts, options);

  std::map<std::string, std::pair<double, double>> relations;
  double log_p = 0, accuracy = 0, log_rank = 0, ratios = 0, known_facts = 0;
  for (const EffectFact& fact : facts) {
    const std::vector<std::vector<NeuronChange>> sets = {
        changes_of(options.manipulation, fact.neurons, {})};
    double n = 0, known_before = 0, known_after = 0, fact_log_p = 0, fact_top = 0, fact_rank = 0;
    for (const Probe& probe : fact.prompts) {
      const std::vector<Trial> trial = {{0, 0}};
      const Measured m = measure(model, std::span(&probe, 1), sets, trial);
      const Answered before = m.before[0], after = m.after[0];
      relations[fact.relation].first += before.p;
      relations[fact.relation].second += after.p;
      n += 1;
      fact_log_p += after.log_p - before.log_p;
      fact_top += (after.top() ? 1 : 0) - (before.top() ? 1 : 0);
      fact_rank += std::log(static_cast<double>(after.rank) / static_cast<double>(before.rank));
      if (before.rank <= options.known_rank) {
        known_before += before.p;
        known_after += after.p;
      }
    }
    log_p += fact_log_p / n;
    accuracy += fact_top / n;
    log_rank += fact_rank / n;
    if (known_before > 0) {
      ratios += known_after / known_before - 1;
      known_facts += 1;
    }
  }
  double ratio = 0;
  for (const auto& [name, sums] : relations) ratio += sums.second / sums.first - 1;
  const EffectRow& own = row(report, Scope::kOwn);
  EXPECT_EQ(own.facts, 18);
  EXPECT_EQ(own.prompts, 63);
  EXPECT_EQ(static_cast<double>(own.known), known_facts);
  EXPECT_GT(known_facts, 0);
  EXPECT_NEAR(change(own, 0, Metric::kRatioOfMeans), ratio / 3, 1e-4);
  EXPECT_NEAR(change(own, 0, Metric::kMeanOfRatios), ratios / known_facts, 1e-4);
  EXPECT_NEAR(change(own, 0, Metric::kLogP), log_p / 18, 1e-4);
  EXPECT_NEAR(change(own, 0, Metric::kAccuracy), accuracy / 18, 1e-9);
  EXPECT_NEAR(change(own, 0, Metric::kLogRank), log_rank / 18, 1e-9);
  EXPECT_GT(std::abs(change(own, 0, Metric::kLogP)), 1e-3);  // else nothing was tested
  EXPECT_NEAR(own.after[0].log_p - own.before.log_p, change(own, 0, Metric::kLogP), 1e-9);
  const Interval& difference = own.difference[1][0];
  EXPECT_NEAR(difference.value,
              change(own, 0, Metric::kRatioOfMeans) - change(own, 2, Metric::kRatioOfMeans), 1e-12);
  EXPECT_LE(difference.low, difference.high);
  EXPECT_EQ(report.facts, 18);
  EXPECT_EQ(report.empty, 3);
  ASSERT_EQ(report.relations.size(), 3U);
  EXPECT_NEAR(report.relations[1].own[0], relations["P1"].second / relations["P1"].first - 1, 1e-4);
}

TEST(Effects, ScopesHoldTheFactsTheyName) {
  const std::vector<EffectFact> facts = make_facts(2);
  const EffectOptions options = quick("zero");
  std::map<std::pair<uint32_t, bool>, std::set<uint32_t>> others;
  size_t held_out = 0;
  for (const EffectItem& item : plan_items(facts, options)) {
    for (const EffectItem::Job& job : item.jobs) {
      const EffectFact& changed = facts[job.fact];
      const EffectFact& seen = facts[item.fact];
      const bool same_relation = changed.relation == seen.relation;
      const bool same_object = changed.object == seen.object;
      switch (job.scope) {
        case Scope::kOwn:
          EXPECT_EQ(job.fact, item.fact);
          break;
        case Scope::kHeldOut:
          EXPECT_EQ(job.fact, item.fact);
          ++held_out;
          break;
        case Scope::kSameRelationSameObject:
          EXPECT_TRUE(same_relation && same_object);
          break;
        case Scope::kSameRelationOtherObject:
          EXPECT_TRUE(same_relation && !same_object);
          break;
        case Scope::kOtherRelationsSameObject:
          EXPECT_TRUE(!same_relation && same_object);
          break;
        case Scope::kOtherRelationsOtherObject:
          EXPECT_TRUE(!same_relation && !same_object);
          break;
        default:
          ADD_FAILURE() << "no job is of a union";
      }
      if (job.scope == Scope::kOwn || job.scope == Scope::kHeldOut) continue;
      EXPECT_NE(job.fact, item.fact);
      const bool fresh = others[{job.fact, same_relation}].insert(item.fact).second;
      EXPECT_TRUE(fresh) << "one prompt stands for a fact";
    }
  }
  EXPECT_EQ(held_out, 12U);
  for (uint32_t f = 0; f < facts.size(); ++f) {
    EXPECT_EQ((others[{f, true}].size()), 3U);
    EXPECT_EQ((others[{f, false}].size()), 7U);
  }
}

TEST(Effects, WitnessesAreNotManipulated) {
  const Model model = random_model(3);
  std::vector<EffectFact> facts = make_facts(3);
  for (size_t i = 1; i < facts.size(); ++i) facts[i].evaluated = false;
  EffectOptions options = quick("zero");
  options.same_relation = 100;
  options.other_relations = 100;
  const EffectReport report = measure_effects(model, facts, options);
  EXPECT_EQ(row(report, Scope::kOwn).prompts, 3);
  EXPECT_EQ(row(report, Scope::kSameRelation).prompts, 5);
  EXPECT_EQ(row(report, Scope::kOtherRelations).prompts, 12);
  EXPECT_EQ(row(report, Scope::kSameRelationSameObject).prompts +
                row(report, Scope::kSameRelationOtherObject).prompts,
            5);
  EXPECT_EQ(row(report, Scope::kHeldOut).facts, 0);
  EXPECT_TRUE(std::isnan(change(row(report, Scope::kHeldOut), 0, Metric::kLogP)));
  EXPECT_GT(std::abs(change(row(report, Scope::kSameRelation), 0, Metric::kLogP)), 0);
}

TEST(Effects, NothingChangesWithoutNeuronsOrByAFactorOfOne) {
  const Model model = random_model(4);
  std::vector<EffectFact> facts = make_facts(4);
  for (const char* what : {"scale:1", "zero"}) {
    const EffectReport report = measure_effects(model, facts, quick(what));
    for (const EffectRow& r : report.rows) {
      for (size_t s = 0; s < kSources; ++s) {
        for (size_t m = 0; m < kMetrics; ++m) {
          EXPECT_NEAR(r.change[s][m].value, 0, 1e-5) << what << " " << scope_name(r.scope);
        }
      }
    }
    for (EffectFact& fact : facts) fact.neurons.clear();
  }
}

TEST(Effects, DoNotDependOnThreads) {
  const Model model = random_model(5);
  const std::vector<EffectFact> facts = make_facts(5);
  EffectOptions options = quick("resample");
  options.measure.threads = 1;
  const EffectReport one = measure_effects(model, facts, options);
  options.measure.threads = 3;
  const EffectReport three = measure_effects(model, facts, options);
  for (size_t r = 0; r < kScopes; ++r) {
    for (size_t s = 0; s < kSources; ++s) {
      for (size_t m = 0; m < kMetrics; ++m) {
        EXPECT_EQ(one.rows[r].change[s][m].value, three.rows[r].change[s][m].value);
        EXPECT_EQ(one.rows[r].change[s][m].low, three.rows[r].change[s][m].low);
      }
    }
  }
}

/// The neurons whose removal lowers P of the fact's own prompts most.
std::vector<NeuronId> strongest(const Model& model, const EffectFact& fact, size_t count) {
  std::vector<std::vector<NeuronChange>> sets;
  std::vector<Trial> trials;
  for (int32_t l = 0; l < 3; ++l) {
    for (int32_t i = 0; i < 40; ++i) {
      for (uint32_t p = 0; p < fact.prompts.size(); ++p) {
        trials.push_back({p, static_cast<uint32_t>(sets.size())});
      }
      sets.push_back({{{l, i}, 0.0F, 0.0F}});
    }
  }
  const Measured m = measure(model, fact.prompts, sets, trials);
  std::vector<double> p(sets.size(), 0);
  for (size_t t = 0; t < trials.size(); ++t) p[trials[t].set] += m.after[t].log_p;
  std::vector<size_t> order(sets.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::sort(order, {}, [&](size_t i) { return p[i]; });
  std::vector<NeuronId> found;
  for (size_t i = 0; i < count; ++i) found.push_back(sets[order[i]].front().id);
  return found;
}

TEST(Effects, NeuronsThatMatterBeatRandomOnesAndOthersDoNot) {
  const Model model = random_model(6);
  std::vector<EffectFact> facts = make_facts(6);
  EffectOptions options = quick("zero");
  options.draws = 20;
  options.bootstrap.draws = 500;
  for (EffectFact& fact : facts) fact.neurons = strongest(model, fact, 2);
  const EffectReport real = measure_effects(model, facts, options);
  const auto& strong = row(real, Scope::kOwn);
  const auto m = static_cast<size_t>(Metric::kLogP);
  EXPECT_LT(strong.difference[0][m].high, 0);
  EXPECT_EQ(strong.draws_as_strong[0], 0);

  // Any neurons at all: the interval of the difference holds zero.
  for (size_t i = 0; i < facts.size(); ++i) {
    const auto n = static_cast<int32_t>(i);
    facts[i].neurons = {{1, (n * 5) % 40}, {2, (n * 11 + 3) % 40}};
  }
  const EffectReport any = measure_effects(model, facts, options);
  const auto& weak = row(any, Scope::kOwn);
  EXPECT_LE(weak.difference[0][m].low, 0);
  EXPECT_GE(weak.difference[0][m].high, 0);
}

TEST(ReferenceValues, MeanLeavesTheFactItselfOut) {
  const Model model = random_model(7);
  const std::vector<EffectFact> facts = make_facts(7);
  const EffectOptions options = quick("mean");
  const ReferenceValues values(model, facts, options, {});
  ASSERT_EQ(values.prompts(), 18);
  // Every fact is in the reference: the sum of all means without one is that of all rows.
  at::Tensor sum = at::zeros({3, 40});
  std::vector<Probe> probes;
  for (size_t f = 0; f < facts.size(); ++f) {
    sum += values.of(f);
    probes.push_back(facts[f].prompts[fact_seed(facts[f], options.seed) % facts[f].prompts.size()]);
  }
  const at::Tensor rows = mask_activations(model, probes);
  EXPECT_TRUE(at::allclose(sum, rows.sum(0), 1e-3, 1e-3));
  const at::Tensor without = (rows.sum(0) - rows[4]) / 17;
  EXPECT_TRUE(at::allclose(values.of(4), without, 1e-3, 1e-4));
  EXPECT_FALSE(at::allclose(values.of(4), rows.mean(0), 1e-3, 1e-4));
}

TEST(ReferenceValues, ResampleTakesAnotherPrompt) {
  const Model model = random_model(8);
  const std::vector<EffectFact> facts = make_facts(8);
  const EffectOptions options = quick("resample");
  const ReferenceValues values(model, facts, options, {});
  for (size_t f = 0; f < facts.size(); ++f) {
    const at::Tensor own = mask_activations(model, facts[f].prompts);
    for (int64_t p = 0; p < own.size(0); ++p) {
      EXPECT_FALSE(at::allclose(values.of(f), own[p], 1e-3, 1e-4));
    }
  }
  const at::Tensor corpus = at::randn({1, 3, 40});
  EXPECT_TRUE(at::equal(ReferenceValues(model, facts, options, corpus).of(3), corpus[0]));
}

TEST(Effects, RefusesWhatCannotBeMeasured) {
  const Model model = random_model(9);
  std::vector<EffectFact> facts = make_facts(9);
  EXPECT_THROW(measure_effects(model, std::span(facts).first(1), quick("mean")), InputError);
  facts[0].neurons = {{0, 40}};
  EXPECT_THROW(measure_effects(model, facts, quick("zero")), InputError);
  for (EffectFact& fact : facts) fact.evaluated = false;
  EXPECT_THROW(measure_effects(model, facts, quick("zero")), InputError);
}

}  // namespace
}  // namespace engram
