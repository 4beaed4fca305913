#include "engram/neurons/matched.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "intervention/random_model.h"

namespace engram {
namespace {

using testing::random_model;

struct Setting {
  Model model = random_model(1, 3, 16, 400);
  at::Generator generator = at::detail::createCPUGenerator(5);
  at::Tensor activation = at::rand({3, 400}, generator);
  at::Tensor gradient = at::rand({3, 400}, generator);
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

TEST(MatchedSampler, DrawsMatchNeuronByNeuron) {
  const Setting s;
  const MatchedSampler sampler(s.model, s.located);
  std::vector<at::Tensor> norms;
  for (const LayerWeights& layer : s.model.weights().layers) {
    norms.push_back(layer.ffn_out_weight.norm(2, 0));
  }
  const at::Tensor value = deciles(at::stack(norms));
  const at::Tensor activation = deciles(s.activation);
  const at::Tensor gradient = deciles(s.gradient);
  const auto cell = [&](NeuronId id, MatchStrength strength) {
    std::vector<int64_t> key = {id.layer};
    if (strength != MatchStrength::kLayer) {
      key.push_back(activation[id.layer][id.neuron].item<int64_t>());
      key.push_back(value[id.layer][id.neuron].item<int64_t>());
    }
    if (strength == MatchStrength::kGradient) {
      key.push_back(gradient[id.layer][id.neuron].item<int64_t>());
    }
    return key;
  };
  for (const MatchStrength strength : {MatchStrength::kLayer, MatchStrength::kActivation}) {
    const MatchedSets sets = sampler.draw(s.neurons, strength, s.activation, s.gradient, 50, 11);
    ASSERT_EQ(sets.draws.size(), 50U);
    EXPECT_EQ(sets.weakened + sets.missing, 0);
    std::set<std::vector<NeuronId>> distinct(sets.draws.begin(), sets.draws.end());
    EXPECT_GT(distinct.size(), 10U);
    for (const std::vector<NeuronId>& draw : sets.draws) {
      ASSERT_EQ(draw.size(), s.neurons.size());
      EXPECT_EQ(std::set<NeuronId>(draw.begin(), draw.end()).size(), draw.size());
      std::multiset<std::vector<int64_t>> expected, found;
      for (const NeuronId id : draw) {
        EXPECT_FALSE(s.located.contains(id));
        found.insert(cell(id, strength));
      }
      for (const NeuronId id : s.neurons) expected.insert(cell(id, strength));
      EXPECT_EQ(found, expected);
    }
  }
}

TEST(MatchedSampler, DrawsMatchTheGradientToo) {
  // Cells of a thousandth of a layer: it takes a wide one to fill them.
  const Model model = random_model(2, 1, 8, 20'000);
  at::Generator generator = at::detail::createCPUGenerator(6);
  const at::Tensor activation = at::rand({1, 20'000}, generator);
  const at::Tensor gradient = at::rand({1, 20'000}, generator);
  const std::vector<NeuronId> neurons = {{0, 50}, {0, 7000}, {0, 19'999}};
  const MatchedSampler sampler(model, {neurons.begin(), neurons.end()});
  const MatchedSets sets =
      sampler.draw(neurons, MatchStrength::kGradient, activation, gradient, 30, 3);
  ASSERT_EQ(sets.draws.size(), 30U);
  EXPECT_EQ(sets.weakened + sets.missing, 0);
  const at::Tensor value =
      deciles(model.weights().layers[0].ffn_out_weight.norm(2, 0).unsqueeze(0));
  const at::Tensor by_activation = deciles(activation);
  const at::Tensor by_gradient = deciles(gradient);
  const auto cell = [&](NeuronId id) {
    std::vector<int64_t> key;
    for (const at::Tensor& decile : {value, by_activation, by_gradient}) {
      key.push_back(decile[0][id.neuron].item<int64_t>());
    }
    return key;
  };
  std::multiset<std::vector<int64_t>> expected;
  for (const NeuronId id : neurons) expected.insert(cell(id));
  for (const std::vector<NeuronId>& draw : sets.draws) {
    std::multiset<std::vector<int64_t>> found;
    for (const NeuronId id : draw) found.insert(cell(id));
    EXPECT_EQ(found, expected);
  }
  EXPECT_GT(std::set<std::vector<NeuronId>>(sets.draws.begin(), sets.draws.end()).size(), 20U);
}

TEST(MatchedSampler, CandidatesAreNested) {
  const Setting s;
  const MatchedSampler sampler(s.model, s.located);
  const at::Tensor activation = deciles(s.activation);
  const at::Tensor gradient = deciles(s.gradient);
  size_t smaller = 0;
  for (const NeuronId id : s.neurons) {
    const auto layer = sampler.candidates(id, MatchStrength::kLayer, activation, gradient);
    const auto close = sampler.candidates(id, MatchStrength::kActivation, activation, gradient);
    const auto closest = sampler.candidates(id, MatchStrength::kGradient, activation, gradient);
    EXPECT_TRUE(std::ranges::includes(layer, close));
    EXPECT_TRUE(std::ranges::includes(close, closest));
    EXPECT_LT(close.size(), layer.size());
    smaller += closest.size() < close.size() ? 1 : 0;
  }
  EXPECT_GT(smaller, 0U);
}

TEST(MatchedSampler, SmallCellsAreFilledMoreWeaklyAndSaidSo) {
  const Setting s;
  std::unordered_set<NeuronId> located;
  for (int32_t i = 0; i < 400; ++i) {
    if (i != 7 && i != 8) located.insert({1, i});
  }
  const MatchedSampler sampler(s.model, located);
  const std::vector<NeuronId> neurons = {{1, 1}, {1, 2}, {1, 3}};
  const MatchedSets sets =
      sampler.draw(neurons, MatchStrength::kGradient, s.activation, s.gradient, 5, 1);
  EXPECT_EQ(sets.missing, 1);  // two are left for three
  EXPECT_GT(sets.weakened, 0);
  for (const auto& draw : sets.draws) {
    EXPECT_EQ(draw, (std::vector<NeuronId>{{1, 7}, {1, 8}}));
  }
}

TEST(MatchedSampler, SeedDecides) {
  const Setting s;
  const MatchedSampler sampler(s.model, s.located);
  const auto draw = [&](uint64_t seed) {
    return sampler.draw(s.neurons, MatchStrength::kLayer, s.activation, s.gradient, 20, seed).draws;
  };
  EXPECT_EQ(draw(1), draw(1));
  EXPECT_NE(draw(1), draw(2));
}

}  // namespace
}  // namespace engram
