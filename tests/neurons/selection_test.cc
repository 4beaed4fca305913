// Selection against a slow and plain model of the rules, statistics against counting pairs.
#include "engram/neurons/selection.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <random>
#include <set>

#include "engram/error.h"
#include "engram/statistics/neuron_sets.h"

namespace engram {
namespace {

std::set<NeuronId> ids(const std::vector<CountedNeuron>& neurons) {
  std::set<NeuronId> set;
  for (const CountedNeuron& n : neurons) set.insert(n.id);
  return set;
}

PromptNeurons pass(const std::vector<float>& scores, const SelectionOptions& options) {
  return passing_neurons(at::tensor(scores, at::kFloat).view({1, -1}), options);
}

TEST(PassingNeurons, TheThresholdItselfPassesOrNotByPreset) {
  // 0.25 is a float, and so are its products here: the boundary is exact.
  SelectionOptions options = selection_preset("dai2022", Score::kIntegratedGradients);
  options.ratio = 0.25;
  EXPECT_EQ(pass({4, 1, 0.99F, -5}, options).neurons.size(), 2U);
  options = selection_preset("eleuther", Score::kIntegratedGradients);
  options.ratio = 0.25;
  EXPECT_EQ(pass({4, 1, 1.01F, -5}, options).neurons.size(), 2U);
}

TEST(PassingNeurons, NothingPassesWithoutAPositiveScore) {
  const SelectionOptions options = selection_preset("dai2022", Score::kIntegratedGradients);
  EXPECT_TRUE(pass({-1, -2, -3}, options).neurons.empty());
  EXPECT_TRUE(pass({0, -2, 0}, options).neurons.empty());
  EXPECT_EQ(pass({-1, -2, -3}, options).largest, -1.0F);
  EXPECT_THROW(pass({1, NAN}, options), InputError);
}

TEST(PassingNeurons, LayersAndNeuronsOfAMatrix) {
  SelectionOptions options;
  options.ratio = 0.5;
  at::Tensor scores = at::zeros({3, 4});
  scores[2][1] = 1.0;
  scores[0][3] = 0.5;
  const PromptNeurons found = passing_neurons(scores, options);
  ASSERT_EQ(found.neurons.size(), 2U);
  EXPECT_EQ(found.neurons[0].id, (NeuronId{0, 3}));
  EXPECT_EQ(found.neurons[1].id, (NeuronId{2, 1}));
  EXPECT_EQ(found.neurons[1].score, 1.0F);
}

TEST(Presets, AreThoseOfTheirAuthors) {
  const SelectionOptions dai = selection_preset("dai2022", Score::kIntegratedGradients);
  EXPECT_EQ(dai.ratio, 0.2);
  EXPECT_EQ(dai.share, 0.7);
  EXPECT_FALSE(dai.above_ratio);
  EXPECT_TRUE(dai.adapt);
  EXPECT_EQ(selection_preset("dai2022", Score::kActivation).ratio, 0.5);
  const SelectionOptions eleuther = selection_preset("eleuther", Score::kIntegratedGradients);
  EXPECT_EQ(eleuther.ratio, 0.3);
  EXPECT_EQ(eleuther.share, 0.5);
  EXPECT_TRUE(eleuther.above_ratio && eleuther.above_share);
  EXPECT_FALSE(eleuther.adapt);
  EXPECT_EQ(selection_preset("eleuther-pararel", Score::kIntegratedGradients).share, 0.3);
  EXPECT_THROW(selection_preset("dai", Score::kIntegratedGradients), UsageError);
}

Bag bag_of(int64_t prompts, const std::vector<int32_t>& counts) {
  Bag bag;
  bag.prompts = prompts;
  for (size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] > 0) bag.neurons.push_back({{0, static_cast<int32_t>(i)}, counts[i], 1.0F});
  }
  return bag;
}

TEST(SelectNeurons, ShareOfThePromptsAtTheBoundary) {
  SelectionOptions options = selection_preset("dai2022", Score::kIntegratedGradients);
  options.adapt = false;
  const std::vector<Bag> ten = {bag_of(10, {6, 7, 8, 10})};
  EXPECT_EQ(ids(select_neurons(ten, options).neurons[0]),
            (std::set<NeuronId>{{0, 1}, {0, 2}, {0, 3}}));  // 7 of 10 is enough
  const std::vector<Bag> four = {bag_of(4, {2, 3, 4})};
  EXPECT_EQ(select_neurons(four, options).neurons[0].size(), 2U);  // 2.8 and the minimum of 3
  const std::vector<Bag> three = {bag_of(3, {2, 3})};
  EXPECT_EQ(select_neurons(three, options).neurons[0].size(), 1U);  // 2.1, but at least 3
  options = selection_preset("eleuther", Score::kIntegratedGradients);
  EXPECT_EQ(select_neurons(four, options).neurons[0].size(), 2U);  // strictly more than 2
}

TEST(SelectNeurons, SharesAreCountedExactly) {
  SelectionOptions options = selection_preset("dai2022", Score::kIntegratedGradients);
  options.passes = 5;
  // No share finds few enough neurons: 0.7 moves to 0.9 by four sums, which end above it.
  std::vector<int32_t> counts(20, 10);
  counts.push_back(9);
  const std::vector<Bag> ten = {bag_of(10, counts)};
  const RelationSelection found = select_neurons(ten, options);
  EXPECT_NEAR(found.share, 0.9, 1e-9);
  EXPECT_EQ(found.neurons[0].size(), 21U) << "9 of 10 are 0.9";
  // In doubles 0.07 * 100 is above 7, 0.29 * 100 is below 29.
  options.adapt = false;
  options.min_prompts = 1;
  options.share = 0.07;
  const std::vector<Bag> hundred = {bag_of(100, {6, 7, 8, 28, 29, 30})};
  EXPECT_EQ(select_neurons(hundred, options).neurons[0].size(), 5U);
  options.share = 0.29;
  options.above_share = true;
  EXPECT_EQ(select_neurons(hundred, options).neurons[0].size(), 1U);
}

TEST(SelectNeurons, SmallBagsAreNotRefined) {
  for (const char* preset : {"dai2022", "eleuther"}) {
    const SelectionOptions options = selection_preset(preset, Score::kIntegratedGradients);
    const std::vector<Bag> bags = {bag_of(1, {1, 0, 1}), bag_of(2, {2, 1}), bag_of(3, {3})};
    const RelationSelection found = select_neurons(bags, options);
    EXPECT_EQ(found.too_few, 2);
    EXPECT_TRUE(found.neurons[0].empty());
    EXPECT_TRUE(found.neurons[1].empty());
    EXPECT_EQ(found.neurons[2].size(), 1U);
    EXPECT_EQ(found.unrefined[0].size(), 2U);
    EXPECT_EQ(found.unrefined[1].size(), 2U);
    EXPECT_EQ(found.unrefined[1][0].prompts, 2);
    EXPECT_TRUE(found.unrefined[2].empty());
  }
}

/// The rule as METHOD tells it, on sets of neurons per prompt.
struct SlowRelation {
  std::vector<std::vector<std::set<NeuronId>>> facts;
  double share = 0;
  int passes = 0;

  std::vector<std::set<NeuronId>> select() {
    std::vector<std::set<NeuronId>> sets;
    double p = 0.7;
    for (int pass = 0; pass < 6; ++pass) {
      sets.clear();
      double total = 0;
      for (const auto& prompts : facts) {
        std::map<NeuronId, int> count;
        for (const auto& prompt : prompts) {
          for (const NeuronId id : prompt) ++count[id];
        }
        std::set<NeuronId> kept;
        for (const auto& [id, n] : count) {
          const double wanted = p * static_cast<double>(prompts.size());
          if (n >= std::max(wanted - 1e-6, 3.0)) kept.insert(id);
        }
        total += static_cast<double>(kept.size());
        sets.push_back(kept);
      }
      share = p;
      passes = pass + 1;
      const double mean = total / static_cast<double>(facts.size());
      if (mean >= 2 && mean <= 5) break;
      p += mean < 2 ? -0.05 : 0.05;
    }
    return sets;
  }
};

TEST(SelectNeurons, AdaptsAsASlowModelDoes) {
  const SelectionOptions options = selection_preset("dai2022", Score::kIntegratedGradients);
  std::mt19937 random(7);
  std::set<int> passes;
  for (int round = 0; round < 200; ++round) {
    // How often neurons repeat decides whether the share has to fall or to rise.
    const double agreement = std::uniform_real_distribution(0.2, 0.98)(random);
    const int neurons = std::uniform_int_distribution(1, 12)(random);
    SlowRelation slow;
    std::vector<Bag> bags;
    for (int f = 0; f < 6; ++f) {
      const int prompts = std::uniform_int_distribution(1, 20)(random);
      slow.facts.emplace_back();
      std::vector<PromptNeurons> fast;
      for (int i = 0; i < prompts; ++i) {
        std::set<NeuronId> set;
        PromptNeurons prompt;
        for (int32_t n = 0; n < neurons; ++n) {
          if (!std::bernoulli_distribution(agreement)(random)) continue;
          set.insert({n % 3, n});
        }
        for (const NeuronId id : set) prompt.neurons.push_back({id, 1.0F});
        slow.facts.back().push_back(set);
        fast.push_back(prompt);
      }
      bags.push_back(make_bag(fast));
    }
    const std::vector<std::set<NeuronId>> expected = slow.select();
    const RelationSelection found = select_neurons(bags, options);
    for (size_t f = 0; f < bags.size(); ++f) EXPECT_EQ(ids(found.neurons[f]), expected[f]);
    EXPECT_EQ(found.share, slow.share);
    EXPECT_EQ(found.passes, slow.passes);
    EXPECT_EQ(found.within, found.mean >= 2 && found.mean <= 5);
    passes.insert(slow.passes);
  }
  EXPECT_TRUE(passes.contains(1) && passes.contains(6) && passes.size() >= 4);
}

TEST(MakeBag, CountsPromptsAndAveragesScores) {
  const std::vector<PromptNeurons> prompts = {
      {3, {{{0, 1}, 1.0F}, {{2, 0}, 3.0F}}}, {-1, {}}, {2, {{{0, 1}, 2.0F}}}};
  const Bag bag = make_bag(prompts);
  EXPECT_EQ(bag.prompts, 3);
  ASSERT_EQ(bag.neurons.size(), 2U);
  EXPECT_EQ(bag.neurons[0].prompts, 2);
  EXPECT_FLOAT_EQ(bag.neurons[0].score, 1.5F);
}

// Moving the threshold by the margin, up and down, moves exactly the neurons that are called near.
TEST(SelectNeurons, NearAreThoseThatAMovedThresholdMoves) {
  std::mt19937 random(3);
  std::uniform_real_distribution<double> uniform(-0.5, 0.5);
  int64_t seen = 0;
  for (int trial = 0; trial < 60; ++trial) {
    SelectionOptions options = selection_preset(trial % 2 == 0 ? "eleuther-pararel" : "dai2022",
                                                Score::kIntegratedGradients);
    options.adapt = false;
    std::vector<at::Tensor> scores;
    const int prompts_of_fact = trial % 3 == 2 ? 2 : 5;  // two are too few to be refined
    for (int prompt = 0; prompt < prompts_of_fact; ++prompt) {
      at::Tensor one = at::zeros({2, 30});
      float* at = one.mutable_data_ptr<float>();
      at[0] = 1;
      for (int i = 1; i < 60; ++i) {
        // Most lie about the threshold, within four times the margin.
        at[i] = static_cast<float>(options.ratio + 0.008 * uniform(random));
      }
      scores.push_back(one * 3);
    }
    const auto set_at = [&](double ratio, RelationSelection* whole) {
      SelectionOptions moved = options;
      moved.ratio = ratio;
      std::vector<PromptNeurons> prompts;
      for (const at::Tensor& one : scores) prompts.push_back(passing_neurons(one, moved));
      const std::vector<Bag> bags = {make_bag(prompts)};
      RelationSelection selection = select_neurons(bags, moved);
      std::set<NeuronId> ids;
      const auto& sets = selection.too_few > 0 ? selection.unrefined : selection.neurons;
      for (const CountedNeuron& neuron : sets[0]) ids.insert(neuron.id);
      if (whole != nullptr) *whole = std::move(selection);
      return ids;
    };
    RelationSelection here;
    const std::set<NeuronId> set = set_at(options.ratio, &here);
    const std::set<NeuronId> low = set_at(options.ratio - kNearThreshold, nullptr);
    const std::set<NeuronId> high = set_at(options.ratio + kNearThreshold, nullptr);
    std::vector<NeuronId> moved;
    std::ranges::set_difference(low, high, std::back_inserter(moved));
    EXPECT_EQ(here.near[0], moved);
    EXPECT_TRUE(std::ranges::includes(low, set) && std::ranges::includes(set, high));
    seen += static_cast<int64_t>(moved.size());
  }
  EXPECT_GT(seen, 100);
}

TEST(CheckSelection, RefusesWhatCannotBeMeant) {
  const auto with = [](auto change) {
    SelectionOptions options;
    change(options);
    check_selection(options);
  };
  EXPECT_THROW(with([](auto& o) { o.ratio = 0; }), UsageError);
  EXPECT_THROW(with([](auto& o) { o.share = 1.1; }), UsageError);
  EXPECT_THROW(with([](auto& o) { o.passes = 0; }), UsageError);
  EXPECT_THROW(with([](auto& o) { o.most = 1; }), UsageError);
  EXPECT_THROW(with([](auto& o) { o.step = 0; }), UsageError);
}

TEST(Statistics, EqualCountingAllPairs) {
  std::mt19937 random(3);
  std::vector<FactNeurons> facts;
  for (int f = 0; f < 40; ++f) {
    FactNeurons fact{"P" + std::to_string(f % 4 == 3 ? f : f % 3), {}};  // some stand alone
    for (int32_t n = 0; n < 10; ++n) {
      if (std::bernoulli_distribution(0.3)(random)) fact.neurons.push_back({n % 2, n});
    }
    facts.push_back(fact);
  }
  std::map<std::string, std::pair<double, double>> within;
  double across = 0, across_pairs = 0, total = 0;
  for (size_t a = 0; a < facts.size(); ++a) {
    total += static_cast<double>(facts[a].neurons.size());
    for (size_t b = a + 1; b < facts.size(); ++b) {
      double common = 0;
      for (const NeuronId id : facts[a].neurons) {
        if (std::ranges::find(facts[b].neurons, id) != facts[b].neurons.end()) ++common;
      }
      if (facts[a].relation == facts[b].relation) {
        within[facts[a].relation].first += common;
        within[facts[a].relation].second += 1;
      } else {
        across += common;
        across_pairs += 1;
      }
    }
  }
  double mean = 0;
  for (const auto& [relation, sums] : within) mean += sums.first / sums.second;
  const NeuronStatistics found = neuron_statistics(facts, 2, 3);
  EXPECT_NEAR(found.intersection_within, mean / static_cast<double>(within.size()), 1e-12);
  EXPECT_NEAR(found.intersection_across, across / across_pairs, 1e-12);
  EXPECT_NEAR(found.per_fact, total / 40, 1e-12);
  EXPECT_EQ(found.layers[0] + found.layers[1], static_cast<int64_t>(total));
  ASSERT_EQ(found.hubs.size(), 3U);
  EXPECT_GE(found.hubs[0].facts, found.hubs[1].facts);
  EXPECT_EQ(found.distinct, 10);
  EXPECT_THROW(neuron_statistics(facts, 1), InputError);
}

TEST(RelationNeurons, MostFrequentAndCommon) {
  std::vector<FactNeurons> facts(20, {"P1", {{0, 1}}});
  facts[0].neurons.push_back({0, 2});
  facts[1].neurons.push_back({0, 2});
  facts[2].neurons.push_back({0, 3});
  const RelationNeurons found = relation_neurons(facts, 2, 0.1);
  ASSERT_EQ(found.most_frequent.size(), 2U);
  EXPECT_EQ(found.most_frequent[0].id, (NeuronId{0, 1}));
  EXPECT_EQ(found.most_frequent[1].facts, 2);
  EXPECT_EQ(found.common.size(), 2U);  // 2 of 20 is 10 %, 1 is not
  // 7 of 70 are 10 % too, though 0.1 * 70 is above 7 in doubles.
  std::vector<FactNeurons> seventy(70, {"P1", {}});
  for (size_t i = 0; i < 7; ++i) seventy[i].neurons = {{0, 1}};
  for (size_t i = 0; i < 6; ++i) seventy[i].neurons.push_back({0, 2});
  EXPECT_EQ(relation_neurons(seventy, 20, 0.1).common.size(), 1U);
}

TEST(EditableNeurons, DropThoseThatManyOtherFactsHave) {
  // Neuron k is in the facts 0..k, so in k other facts than fact 0.
  const auto relation = [](size_t size, int32_t most) {
    std::vector<FactNeurons> facts(size, {"P1", {}});
    for (int32_t k = 0; k <= most; ++k) {
      for (int32_t f = 0; f <= k; ++f) facts[static_cast<size_t>(f)].neurons.push_back({0, k});
    }
    return facts;
  };
  const auto kept = [](const std::vector<FactNeurons>& facts, bool as_released = false) {
    return editable_neurons(facts, 0, 0.1, 2, as_released).size();
  };
  EXPECT_EQ(kept(relation(31, 5)), 4U);  // 3 of 30 others are not more than 10 %, 4 are
  EXPECT_EQ(kept(relation(30, 5)), 3U);  // 3 of 29 are more
  EXPECT_EQ(kept(relation(5, 4)), 2U);   // 1 of 4 is more than 10 %, but not 2 facts
  EXPECT_EQ(kept(relation(1, 0)), 1U);   // no other fact
  // The paper's code counts the fact twice: 2 of 20 are 10 %, 2 of 19 are more.
  EXPECT_EQ(kept(relation(20, 5), true), 1U);
  EXPECT_EQ(kept(relation(19, 5), true), 0U);
  const std::vector<FactNeurons> facts = {{"P1", {{1, 5}, {0, 3}, {0, 9}}}, {"P1", {}}};
  EXPECT_EQ(editable_neurons(facts, 0), facts[0].neurons);
  EXPECT_TRUE(editable_neurons(facts, 1).empty());
  EXPECT_THROW(editable_neurons(facts, 2), InternalError);
}

}  // namespace
}  // namespace engram
