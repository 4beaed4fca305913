#include "engram/neurons/matched.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "intervention/random_model.h"

namespace engram {
namespace {

using testing::random_model;

struct Setting {
  Model model = random_model(1, 3, 16, 400);
  at::Generator generator = at::detail::createCPUGenerator(5);
  at::Tensor activation = at::randn({3, 400}, generator);
  at::Tensor product = at::randn({3, 400}, generator);
  std::vector<NeuronId> neurons = {{0, 5}, {2, 17}, {2, 300}, {2, 301}};
  std::unordered_set<NeuronId> located = {{0, 5},  {2, 17}, {2, 300}, {2, 301},
                                          {2, 18}, {0, 6},  {1, 9}};
};

TEST(Deciles, HoldATenthEach) {
  const at::Tensor values = at::randn({2, 200});
  const at::Tensor found = deciles(values);
  for (int64_t row = 0; row < 2; ++row) {
    for (int64_t decile = 0; decile < 10; ++decile) {
      const at::Tensor inside = found[row].eq(decile);
      EXPECT_EQ(inside.sum().item<int64_t>(), 20);
      if (decile == 0) continue;
      EXPECT_GE(values[row].masked_select(inside).min().item<float>(),
                values[row].masked_select(found[row].eq(decile - 1)).max().item<float>());
    }
  }
  EXPECT_EQ(deciles(at::zeros({1, 10})).max().item<int64_t>(), 9);  // ties by index
}

TEST(MatchedSampler, DrawsStayInTheLayerAndAreNeverLocated) {
  const Setting s;
  const MatchedSampler sampler(s.model, s.located);
  for (const MatchStrength strength : kMatchStrengths) {
    const MatchedSets sets = sampler.draw(s.neurons, strength, s.activation, s.product, 50, 11);
    ASSERT_EQ(sets.draws.size(), 50U);
    EXPECT_EQ(sets.missing, 0);
    EXPECT_GT(std::set<std::vector<NeuronId>>(sets.draws.begin(), sets.draws.end()).size(), 10U);
    for (const std::vector<NeuronId>& draw : sets.draws) {
      ASSERT_EQ(draw.size(), s.neurons.size());
      EXPECT_EQ(std::set<NeuronId>(draw.begin(), draw.end()).size(), draw.size());
      std::multiset<int32_t> layers;
      for (const NeuronId id : draw) {
        EXPECT_FALSE(s.located.contains(id));
        layers.insert(id.layer);
      }
      EXPECT_EQ(layers, (std::multiset<int32_t>{0, 2, 2, 2}));
    }
  }
}

/// Where activation and gradient have signs, and the located neurons stand in the tail of their
/// product: what deciles of absolute values matched with neurons of the other sign.
struct Signed {
  Model model = random_model(2, 1, 8, 2000);
  at::Generator generator = at::detail::createCPUGenerator(6);
  at::Tensor activation = at::randn({1, 2000}, generator);
  at::Tensor product = activation * at::randn({1, 2000}, generator);
  std::vector<NeuronId> neurons = largest_neurons(product.slice(1, 0, 400), 3);
};

TEST(MatchedSampler, NearestNeighboursAreAlikeWithTheirSigns) {
  const Signed s;
  const MatchedSampler sampler(s.model, {s.neurons.begin(), s.neurons.end()});
  const auto drawn = [&](MatchStrength strength) {
    return sampler.draw(s.neurons, strength, s.activation, s.product, 20, 3);
  };
  const MatchedSets layer = drawn(MatchStrength::kLayer);
  const MatchedSets activation = drawn(MatchStrength::kActivation);
  const MatchedSets product = drawn(MatchStrength::kGradient);
  const auto at_activation = static_cast<size_t>(Covariate::kActivation);
  const auto at_product = static_cast<size_t>(Covariate::kProduct);
  EXPECT_GT(std::abs(layer.difference[at_product]), 2) << "else nothing is tested";
  EXPECT_LT(std::abs(activation.difference[at_activation]), 0.2);
  EXPECT_LT(std::abs(product.difference[at_product]), 0.25 * layer.difference[at_product]);
  // Deciles of the absolute values would take either sign.
  for (const std::vector<NeuronId>& draw : product.draws) {
    for (const NeuronId id : draw) EXPECT_GT(s.product[0][id.neuron].item<float>(), 0);
  }
}

TEST(MatchedSampler, TheDifferenceIsThatOfStandardisedCovariates) {
  const Signed s;
  const MatchedSampler sampler(s.model, {s.neurons.begin(), s.neurons.end()});
  const MatchedSets sets =
      sampler.draw(s.neurons, MatchStrength::kActivation, s.activation, s.product, 4, 9);
  const at::Tensor norms = s.model.weights().layers[0].ffn_out_weight.norm(2, 0);
  const std::array<at::Tensor, kCovariates> values = {s.activation[0], norms, s.product[0]};
  for (size_t c = 0; c < kCovariates; ++c) {
    const at::Tensor z = (values[c] - values[c].mean()) / values[c].std(/*unbiased=*/false);
    double expected = 0;
    for (const NeuronId id : s.neurons) expected += z[id.neuron].item<double>() / 3;
    for (const auto& draw : sets.draws) {
      for (const NeuronId id : draw) expected -= z[id.neuron].item<double>() / 12;
    }
    EXPECT_NEAR(sets.difference[c], expected, 1e-4);
  }
}

TEST(MatchedSampler, TakesTheNearestUntilNothingIsLeft) {
  const Setting s;
  std::unordered_set<NeuronId> located;
  for (int32_t i = 0; i < 400; ++i) {
    if (i != 7 && i != 8) located.insert({1, i});
  }
  const MatchedSampler sampler(s.model, located);
  const std::vector<NeuronId> neurons = {{1, 1}, {1, 2}, {1, 3}};
  const MatchedSets sets =
      sampler.draw(neurons, MatchStrength::kGradient, s.activation, s.product, 5, 1);
  EXPECT_EQ(sets.missing, 1);  // two are left for three
  for (const auto& draw : sets.draws) {
    EXPECT_EQ(draw, (std::vector<NeuronId>{{1, 7}, {1, 8}}));
  }
}

TEST(MatchedSampler, NextAreTheLargestOfTheSameLayersThatAreNotLocated) {
  const Setting s;
  const MatchedSampler sampler(s.model, s.located);
  const std::vector<NeuronId> next = sampler.next(s.neurons, s.product);
  std::map<int32_t, std::vector<float>> taken, left;
  for (int32_t layer = 0; layer < 3; ++layer) {
    for (int32_t i = 0; i < 400; ++i) {
      const NeuronId id{layer, i};
      if (s.located.contains(id)) {
        EXPECT_EQ(std::ranges::count(next, id), 0);
        continue;
      }
      const bool there = std::ranges::find(next, id) != next.end();
      (there ? taken : left)[layer].push_back(s.product[layer][i].item<float>());
    }
  }
  EXPECT_EQ(taken[0].size(), 1U);
  EXPECT_EQ(taken[1].size(), 0U);
  EXPECT_EQ(taken[2].size(), 3U);
  for (const int32_t layer : {0, 2}) {
    EXPECT_GE(std::ranges::min(taken[layer]), std::ranges::max(left[layer]));
  }
}

TEST(LargestNeurons, AreTheLargestOverAllLayersBySign) {
  at::Tensor values = at::zeros({2, 5});
  values[0][3] = 2.0;
  values[1][1] = 5.0;
  values[1][4] = -9.0;
  EXPECT_EQ(largest_neurons(values, 2), (std::vector<NeuronId>{{0, 3}, {1, 1}}));
  EXPECT_EQ(largest_neurons(values, 100).size(), 10U);
}

TEST(MatchedSampler, SeedDecides) {
  const Setting s;
  const MatchedSampler sampler(s.model, s.located);
  const auto draw = [&](uint64_t seed) {
    return sampler.draw(s.neurons, MatchStrength::kLayer, s.activation, s.product, 20, seed).draws;
  };
  EXPECT_EQ(draw(1), draw(1));
  EXPECT_NE(draw(1), draw(2));
}

}  // namespace
}  // namespace engram
