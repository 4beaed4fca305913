// Effects of interventions on a small random model: what is tried, and what must not be claimed.
#include "engram/intervention/effects.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "base/random.h"
#include "engram/error.h"
#include "intervention/effect_facts.h"
#include "intervention/effects_plan.h"
#include "intervention/effects_sums.h"

namespace engram {
namespace {

using testing::change;
using testing::make_facts;
using testing::quick;
using testing::random_cloze;
using testing::random_model;
using testing::row;

TEST(Effects, ScopesHoldTheFactsTheyName) {
  const std::vector<EffectFact> facts = make_facts(2);
  const EffectOptions options = quick("zero");
  std::map<std::pair<uint32_t, bool>, std::set<uint32_t>> others;
  size_t held_out = 0;
  std::vector<Cloze> text;
  for (uint64_t i = 0; i < 30; ++i) text.push_back(random_cloze(i, 6));
  std::map<uint32_t, std::set<const Cloze*>> sentences;
  for (const EffectItem& item : plan_items(facts, text, options)) {
    for (const EffectItem::Job& job : item.jobs) {
      EXPECT_EQ(item.fact == kNoFact, job.scope == Scope::kText);
      if (job.scope == Scope::kText) {
        sentences[job.fact].insert(item.cloze);
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
  for (const auto& [fact, clozes] : sentences) EXPECT_EQ(clozes.size(), 20U);
  EXPECT_NE(sentences[0], sentences[1]) << "each fact has a sample of its own";
  for (uint32_t f = 0; f < facts.size(); ++f) {
    EXPECT_EQ((others[{f, true}].size()), 3U);
    EXPECT_EQ((others[{f, false}].size()), 7U);
  }
}

TEST(Effects, WitnessesAreNotTreated) {
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

void expect_nothing(const Interval& i) {
  EXPECT_EQ(i.value, 0);
  EXPECT_FALSE(std::signbit(i.value));
  if (std::isnan(i.low)) return;
  EXPECT_EQ(i.low, 0);
  EXPECT_EQ(i.high, 0);
  EXPECT_FALSE(std::signbit(i.low) || std::signbit(i.high));
  EXPECT_EQ(i.p, 1);
}

/// Exactly nothing, and no sign either.
void expect_no_change(const EffectReport& report, const std::string& what) {
  for (const EffectRow& r : report.rows) {
    SCOPED_TRACE(what + " " + scope_name(r.scope));
    if (r.facts == 0) continue;
    for (size_t s = 0; s < kSources; ++s) {
      if (std::isnan(r.after[s].p)) continue;  // nobody has a set of another fact
      EXPECT_EQ(r.after[s].p, r.before.p);
      EXPECT_EQ(r.after[s].rank, r.before.rank);
      for (size_t m = 0; m < kMetrics; ++m) {
        if (std::isnan(r.change[s][m].value)) continue;  // no known prompt
        expect_nothing(r.change[s][m]);
        if (s > 0) expect_nothing(r.difference[s - 1][m]);
      }
      if (s > 0 && s <= kRandomSources) {
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
  EffectContext context;
  context.located = elsewhere;
  const auto drawn_of = [&](bool all) {
    options.random_from_all = all;
    std::vector<NeuronId> drawn;
    const std::vector<ControlSets> controls = plan_controls(model, facts, context, options);
    for (size_t f = 0; f < controls.size(); ++f) {
      for (size_t s = 0; s < kNext; ++s) {  // the random ones and the next
        for (const std::vector<NeuronId>& set : controls[f].sets[s]) {
          for (const NeuronId id : set) {
            EXPECT_EQ(std::ranges::count(facts[f].neurons, id), 0) << "nor its own";
            drawn.push_back(id);
          }
        }
      }
    }
    return drawn;
  };
  const auto located = [](NeuronId id) { return id.neuron < 37; };
  const std::vector<NeuronId> drawn = drawn_of(false);
  EXPECT_EQ(std::ranges::count_if(drawn, located), 0);
  EXPECT_GT(drawn.size(), 1000U);
  EXPECT_GT(std::ranges::count_if(drawn_of(true), located), 500) << "--random-from all";
}

TEST(Effects, OtherFactsAreOfTheRelationAndHaveAnotherObject) {
  const Model model = random_model(15);
  const std::vector<EffectFact> facts = make_facts(15);
  EffectContext context;
  for (const EffectFact& fact : facts) {
    context.sets.push_back({fact.relation, fact.subject, fact.object, fact.neurons});
  }
  EffectOptions options = quick("zero");
  options.other_facts = 2;
  const std::vector<ControlSets> controls = plan_controls(model, facts, context, options);
  for (size_t f = 0; f < facts.size(); ++f) {
    if (facts[f].neurons.empty()) continue;
    const auto& sets = controls[f].sets[kOtherFact - 1];
    ASSERT_EQ(sets.size(), 2U);
    for (const std::vector<NeuronId>& set : sets) {
      EXPECT_TRUE(std::ranges::any_of(facts, [&](const EffectFact& other) {
        return other.relation == facts[f].relation && other.object != facts[f].object &&
               other.neurons == set;
      }));
    }
    const SetMatch& match = controls[f].match[kOtherFact - 1];
    EXPECT_EQ(match.sets, 2);
    EXPECT_EQ(match.neurons, 2);
    EXPECT_EQ(controls[f].sets[kActivationSameK - 1].at(0).size(), facts[f].neurons.size());
    EXPECT_EQ(controls[f].sets[kNext - 1].at(0).size(), facts[f].neurons.size());
  }
}

TEST(Effects, IntervalsOfSideEffectsResampleFactsAndWitnesses) {
  // Two-way data: fact f on witness w changes by a_f + b_w. The variance of the mean is that of
  // the two means together; a bootstrap over facts alone would know a_f only.
  constexpr size_t kSide = 40;
  Random random(3);
  const auto uniform = [&] { return static_cast<double>(random.next() >> 11U) * 0x1p-53 - 0.5; };
  std::vector<double> a(kSide), b(kSide);
  for (double& value : a) value = 0.2 * uniform();
  for (double& value : b) value = 2 * uniform();
  std::vector<std::vector<EffectPair>> pairs(kSide);
  std::vector<PairedFact> facts;
  double mean = 0;
  for (size_t f = 0; f < kSide; ++f) {
    for (size_t w = 0; w < kSide; ++w) {
      EffectPair pair;
      pair.witness = static_cast<int32_t>(w);
      pair.log_odds.fill(std::numeric_limits<float>::quiet_NaN());
      pair.top = pair.log_odds;
      pair.log_odds[kLocated] = static_cast<float>(a[f] + b[w]);
      pair.top[kLocated] = 0;
      mean += (a[f] + b[w]) / static_cast<double>(kSide * kSide);
      pairs[f].push_back(pair);
    }
  }
  for (size_t f = 0; f < kSide; ++f) facts.push_back({f, FactGroup::kNever, &pairs[f]});
  std::array<EffectRow, kFactGroups> rows;
  std::array<EffectRow*, kFactGroups> places{};
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  for (size_t g = 0; g < kFactGroups; ++g) {
    places[g] = &rows[g];
    for (auto& of_source : rows[g].change) of_source.fill({kNan, kNan, kNan});
    for (auto& of_control : rows[g].difference) of_control.fill({kNan, kNan, kNan});
    rows[g].change[kLocated][0].value = mean;
    rows[g].change[kLocated][static_cast<size_t>(Metric::kAccuracy)].value = 0;
  }
  BootstrapOptions options;
  add_pair_intervals(facts, options, places);
  const auto variance = [](const std::vector<double>& values) {
    double m = 0, v = 0;
    for (const double x : values) m += x / static_cast<double>(values.size());
    for (const double x : values) v += (x - m) * (x - m) / static_cast<double>(values.size());
    return v;
  };
  const double sd = std::sqrt((variance(a) + variance(b)) / kSide);
  const Interval& found = rows[0].change[kLocated][0];
  EXPECT_NEAR((found.high - found.low) / (2 * 1.96 * sd), 1, 0.1);
  EXPECT_GT(sd, 5 * std::sqrt(variance(a) / kSide)) << "else nothing was tested";
  EXPECT_EQ(rows[2].change[kLocated][0].low, found.low) << "all facts are of that group";
  EXPECT_TRUE(std::isnan(rows[1].change[kLocated][0].low)) << "none is known";
  EXPECT_EQ(rows[0].change[kLocated][static_cast<size_t>(Metric::kAccuracy)].p, 1);
  // Nine facts with one object each are too few.
  add_pair_intervals(std::span(facts).first(9), options, std::array{&rows[1], &rows[1], &rows[1]});
  EXPECT_TRUE(std::isnan(rows[1].change[kLocated][0].low));
}

TEST(Effects, PairsSurviveTheStore) {
  std::vector<EffectPair> pairs(3);
  for (size_t i = 0; i < pairs.size(); ++i) {
    pairs[i].witness = static_cast<int32_t>(i);
    pairs[i].log_odds[kNext] = 0.5F * static_cast<float>(i);
    pairs[i].top[kNext] = -1;
    pairs[i].log_odds[kLocated] = 7;
  }
  const auto name = [](int32_t witness) { return 100 + witness; };
  std::vector<EffectPair> found;
  read_pair_bytes(pair_bytes(pairs, kNext, name), kNext, found);
  read_pair_bytes(pair_bytes(pairs, kLocated, name), kLocated, found);
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[2].witness, 102);
  EXPECT_EQ(found[2].log_odds[kNext], 1.0F);
  EXPECT_EQ(found[2].top[kNext], -1.0F);
  EXPECT_EQ(found[2].log_odds[kLocated], 7.0F);
  EXPECT_TRUE(std::isnan(found[2].log_odds[kRandomLayer]));
  EXPECT_THROW(read_pair_bytes(pair_bytes(std::span(pairs).first(2), kNext, name), kNext, found),
               InputError);
}

TEST(Effects, TextIsAbsentWithoutText) {
  const Model model = random_model(12);
  const std::vector<EffectFact> facts = make_facts(12);
  EXPECT_EQ(measure_effects(model, facts, quick("zero")).rows.size(), kFactGroups * (kScopes - 1));
  EffectContext context;
  context.text = {random_cloze(1, 6), random_cloze(2, 9)};
  const EffectReport report = measure_effects(model, facts, quick("zero"), context);
  ASSERT_EQ(report.rows.size(), kFactGroups * kScopes);
  EXPECT_EQ(row(report, Scope::kText).facts, 18);
  EXPECT_EQ(row(report, Scope::kText).prompts, 36) << "there are but two sentences";
}

TEST(Effects, FewerThanTenObjectsHaveNoInterval) {
  const Model model = random_model(13);
  std::vector<EffectFact> facts = make_facts(13);
  for (EffectFact& fact : facts) fact.object = fact.subject;
  // Own prompts of 18 objects, held-out ones of nine.
  for (size_t i = 0; i < facts.size(); ++i) {
    facts[i].held_out.clear();
    if (i < 9) facts[i].held_out = {random_cloze(i, 6)};
  }
  const EffectReport report = measure_effects(model, facts, quick("zero"));
  const auto& own = row(report, Scope::kOwn).change[0][0];
  EXPECT_LT(own.low, own.high);
  EXPECT_FALSE(std::isnan(row(report, Scope::kOwn).holm[0]));
  const EffectRow& held_out = row(report, Scope::kHeldOut);
  EXPECT_EQ(held_out.facts, 9);
  EXPECT_FALSE(std::isnan(held_out.change[0][0].value));
  EXPECT_TRUE(std::isnan(held_out.change[0][0].low));
  EXPECT_TRUE(std::isnan(held_out.difference[1][2].low));
  EXPECT_TRUE(std::isnan(held_out.holm[0]));
  // Side effects have intervals of the two metrics that pairs tell.
  const EffectRow& others = row(report, Scope::kOtherRelations);
  EXPECT_LT(others.change[0][static_cast<size_t>(Metric::kLogOdds)].low,
            others.change[0][static_cast<size_t>(Metric::kLogOdds)].high);
  EXPECT_TRUE(std::isnan(others.change[0][static_cast<size_t>(Metric::kRatioOfMeans)].low));
  EXPECT_FALSE(std::isnan(others.change[0][static_cast<size_t>(Metric::kRatioOfMeans)].value));
  EXPECT_FALSE(std::isnan(others.holm[0]));
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
        EXPECT_TRUE(a.value == b.value || (std::isnan(a.value) && std::isnan(b.value)));
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
  for (EffectFact& fact : facts) {
    fact.neurons = strongest(model, fact, 2);
    fact.object = fact.subject;  // no interval under 10 objects
  }
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
  std::vector<Cloze> clozes;
  for (size_t f = 0; f < facts.size(); ++f) {
    sum += values.of(f);
    clozes.push_back(facts[f].prompts[fact_seed(facts[f], options.seed) % facts[f].prompts.size()]);
  }
  const at::Tensor rows = mask_activations(model, clozes);
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
