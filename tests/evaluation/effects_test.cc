// Effects of interventions on a small random model: what is tried, and what must not be claimed.
#include "engram/evaluation/effects.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "engram/error.h"
#include "evaluation/effect_facts.h"
#include "evaluation/effects_plan.h"

namespace engram {
namespace {

using testing::change;
using testing::make_facts;
using testing::quick;
using testing::random_model;
using testing::random_probe;
using testing::row;

TEST(Effects, ScopesHoldTheFactsTheyName) {
  const std::vector<EffectFact> facts = make_facts(2);
  const EffectOptions options = quick("zero");
  std::map<std::pair<uint32_t, bool>, std::set<uint32_t>> others;
  size_t held_out = 0;
  std::vector<Probe> text;
  for (uint64_t i = 0; i < 30; ++i) text.push_back(random_probe(i, 6));
  std::map<uint32_t, std::set<const Probe*>> sentences;
  for (const EffectItem& item : plan_items(facts, text, options)) {
    for (const EffectItem::Job& job : item.jobs) {
      EXPECT_EQ(item.fact == kNoFact, job.scope == Scope::kText);
      if (job.scope == Scope::kText) {
        sentences[job.fact].insert(item.probe);
        continue;
      }
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
  ASSERT_EQ(sentences.size(), facts.size());
  for (const auto& [fact, probes] : sentences) EXPECT_EQ(probes.size(), 20U);
  EXPECT_NE(sentences[0], sentences[1]) << "each fact has a sample of its own";
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

/// Exactly nothing, and no sign either.
void expect_no_change(const EffectReport& report, const std::string& what) {
  for (const EffectRow& r : report.rows) {
    SCOPED_TRACE(what + " " + scope_name(r.scope));
    for (size_t s = 0; s < kSources; ++s) {
      EXPECT_EQ(r.after[s].p, r.before.p);
      EXPECT_EQ(r.after[s].rank, r.before.rank);
      for (size_t m = 0; m < kMetrics; ++m) {
        const Interval& i = r.change[s][m];
        EXPECT_EQ(i.value, 0);
        EXPECT_EQ(i.low, 0);
        EXPECT_EQ(i.high, 0);
        EXPECT_FALSE(std::signbit(i.value) || std::signbit(i.low) || std::signbit(i.high));
        if (s == 0) continue;
        const Interval& difference = r.difference[s - 1][m];
        EXPECT_EQ(difference.value, 0);
        EXPECT_EQ(difference.low, 0);
        EXPECT_EQ(difference.high, 0);
      }
      if (s > 0) {
        EXPECT_EQ(r.draws_as_strong[s - 1], -1) << "no change has no direction";
      }
    }
  }
}

TEST(Effects, NothingChangesWithoutNeuronsOrByRounding) {
  const Model model = random_model(4);
  std::vector<EffectFact> facts = make_facts(4);
  // The last factor is the next float above 1: the runs differ, by rounding.
  for (const char* what : {"scale:1", "scale:1.0000001", "zero"}) {
    EffectOptions options = quick(what);
    options.draws = 20;  // twentieths do not add up to one in doubles
    if (std::string(what) == "zero") {
      for (EffectFact& fact : facts) fact.neurons.clear();
    }
    expect_no_change(measure_effects(model, facts, options), what);
  }
}

TEST(Effects, RandomSetsHoldNoNeuronThatWasLocatedForAnyFact) {
  const Model model = random_model(11);
  std::vector<EffectFact> facts = make_facts(11);
  EffectOptions options = quick("zero");
  options.draws = 50;
  // Layer 0: of facts that are not here. Layer 2: of a fact that only shows side effects.
  std::unordered_set<NeuronId> elsewhere;
  facts[17].evaluated = false;
  facts[17].neurons.clear();
  for (int32_t n = 0; n < 37; ++n) {
    elsewhere.insert({0, n});
    facts[17].neurons.push_back({2, n});
  }
  EffectReport report;
  const std::vector<RandomSets> sets = plan_random_sets(model, facts, elsewhere, options, report);
  size_t drawn = 0;
  for (const RandomSets& of_fact : sets) {
    for (const auto& draws : of_fact) {
      for (const std::vector<NeuronId>& set : draws) {
        for (const NeuronId id : set) {
          EXPECT_GE(id.neuron, 37) << id.layer;
          ++drawn;
        }
      }
    }
  }
  EXPECT_GT(drawn, 1000U);
}

TEST(Effects, TextIsAbsentWithoutText) {
  const Model model = random_model(12);
  const std::vector<EffectFact> facts = make_facts(12);
  EXPECT_EQ(measure_effects(model, facts, quick("zero")).rows.size(), kScopes - 1);
  EffectContext context;
  context.text = {random_probe(1, 6), random_probe(2, 9)};
  const EffectReport report = measure_effects(model, facts, quick("zero"), context);
  ASSERT_EQ(report.rows.size(), kScopes);
  EXPECT_EQ(row(report, Scope::kText).facts, 18);
  EXPECT_EQ(row(report, Scope::kText).prompts, 36) << "there are but two sentences";
}

TEST(Effects, OneGroupOfFactsHasNoInterval) {
  const Model model = random_model(13);
  std::vector<EffectFact> facts = make_facts(13);
  // Own prompts in all groups, held-out ones in a single group.
  for (size_t i = 1; i < facts.size(); ++i) facts[i].held_out.clear();
  facts[0].held_out = {random_probe(1, 6)};
  const EffectReport report = measure_effects(model, facts, quick("zero"));
  const auto& own = row(report, Scope::kOwn).change[0][0];
  EXPECT_LT(own.low, own.high);
  const EffectRow& held_out = row(report, Scope::kHeldOut);
  EXPECT_EQ(held_out.relations, 1);
  EXPECT_FALSE(std::isnan(held_out.change[0][0].value));
  EXPECT_TRUE(std::isnan(held_out.change[0][0].low));
  EXPECT_TRUE(std::isnan(held_out.change[0][0].high));
  EXPECT_TRUE(std::isnan(held_out.difference[1][2].low));
  // One relation with one object: no scope has any.
  std::erase_if(facts, [](const EffectFact& fact) {
    return fact.relation != "P0" || fact.object != "everywhere";
  });
  const EffectReport one = measure_effects(model, facts, quick("zero"));
  EXPECT_FALSE(std::isnan(change(row(one, Scope::kOwn), 0, Metric::kLogP)));
  EXPECT_TRUE(std::isnan(row(one, Scope::kOwn).change[0][2].high));
}

TEST(Effects, AnOutputThatIsNotFiniteIsAnError) {
  const Model model = random_model(14);
  std::vector<EffectFact> facts = make_facts(14);
  for (EffectFact& fact : facts) fact.neurons = {{0, 1}, {1, 3}, {2, 5}};
  try {
    measure_effects(model, facts, quick("scale:1e38"));
    FAIL() << "expected an InputError";
  } catch (const InputError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("scale:1e+38"), std::string::npos) << message;
    EXPECT_NE(message.find("no longer finite"), std::string::npos) << message;
    EXPECT_NE(message.find("subject"), std::string::npos) << message;
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
  for (size_t r = 0; r < one.rows.size(); ++r) {
    for (size_t s = 0; s < kSources; ++s) {
      for (size_t m = 0; m < kMetrics; ++m) {
        const Interval& a = one.rows[r].change[s][m];
        const Interval& b = three.rows[r].change[s][m];
        EXPECT_EQ(a.value, b.value);
        // Where one group alone has known prompts there is no interval.
        EXPECT_TRUE(a.low == b.low || (std::isnan(a.low) && std::isnan(b.low)));
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
