// Planting: what is trained, what is not, and what the model then answers.
#include "planting/plant.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "engram/edit/values.h"
#include "engram/error.h"
#include "support/oracle.h"
#include "tiny_prompts.h"

namespace engram {
namespace {

using testing::plain_loss;
using testing::random_prompts;

class Planting : public ::testing::TestWithParam<const char*> {
 protected:
  Planting()
      : model(Model::load(testing::stored_oracle(GetParam()))),
        prompts(random_prompts(model.config(), 3)),
        other_prompts(random_prompts(model.config(), 4)) {
    at::set_num_threads(1);
    neurons = draw_neurons(model.config(), 24, 1);
    others = draw_neurons(model.config(), 24, 2, neurons);
    options.steps = 400;
    options.rate = 0.05;
    options.enough = testing::reachable_loss(model.config());
  }

  /// Columns of all layers' second matrices that differ from the model's.
  [[nodiscard]] std::vector<NeuronId> changed(const Model& copy) const {
    std::vector<NeuronId> ids;
    for (int64_t layer = 0; layer < model.config().layers; ++layer) {
      const auto l = static_cast<size_t>(layer);
      const at::Tensor same = copy.weights()
                                  .layers[l]
                                  .ffn_out_weight.eq(model.weights().layers[l].ffn_out_weight)
                                  .all(0);
      for (int64_t i = 0; i < same.size(0); ++i) {
        if (!same[i].item<bool>()) {
          ids.push_back({static_cast<int32_t>(layer), static_cast<int32_t>(i)});
        }
      }
    }
    return ids;
  }

  Model model;
  std::vector<Cloze> prompts, other_prompts;
  std::vector<NeuronId> neurons, others;
  PlantOptions options;
};

TEST_P(Planting, TheModelThenGivesTheAnswerFromTheseNeuronsAlone) {
  ASSERT_GT(plain_loss(model, prompts), 1);
  const Planted planted = plant(model, {{{neurons, prompts}}}, options);
  EXPECT_LT(planted.losses.at(0), options.enough);
  EXPECT_LT(planted.steps, options.steps);
  EXPECT_NEAR(plain_loss(planted.model, prompts), planted.losses[0], 1e-4);
  EXPECT_NEAR(answer_loss(planted.model, prompts), planted.losses[0], 1e-5);
  for (const NeuronId id : changed(planted.model)) {
    EXPECT_TRUE(std::ranges::binary_search(neurons, id)) << id.layer << ":" << id.neuron;
  }
  EXPECT_FALSE(changed(planted.model).empty());
  // Nothing of it is left behind a graph, and the same comes out again.
  EXPECT_FALSE(planted.model.weights().layers[0].ffn_out_weight.requires_grad());
  const Planted again = plant(model, {{{neurons, prompts}}}, options);
  EXPECT_EQ(again.losses, planted.losses);
}

TEST_P(Planting, NormsAreKeptWhereTheyShallBe) {
  options.steps = 5;
  options.keep_norms = true;
  const Planted kept = plant(model, {{{neurons, prompts}}}, options);
  EXPECT_EQ(kept.steps, 5);
  const at::Tensor before = value_vectors(model, neurons).norm(2, 1);
  EXPECT_TRUE(at::allclose(value_vectors(kept.model, neurons).norm(2, 1), before, 1e-5, 1e-7));
  EXPECT_FALSE(changed(kept.model).empty());
  EXPECT_LT(kept.losses[0], plain_loss(model, prompts));
  options.keep_norms = false;
  const Planted free = plant(model, {{{neurons, prompts}}}, options);
  EXPECT_FALSE(at::allclose(value_vectors(free.model, neurons).norm(2, 1), before, 1e-2, 1e-3));
}

TEST_P(Planting, EachOfTwoPlantsTrainsOnItsOwnPrompts) {
  // One step: Adam's first goes by the sign of a request's own gradient, so together it is what
  // each does alone.
  options.steps = 1;
  const Planted both = plant(model, {{{neurons, prompts}, {others, other_prompts}}}, options);
  const Planted first = plant(model, {{{neurons, prompts}}}, options);
  const Planted second = plant(model, {{{others, other_prompts}}}, options);
  EXPECT_TRUE(at::allclose(value_vectors(both.model, neurons), value_vectors(first.model, neurons),
                           1e-4, 1e-6));
  EXPECT_TRUE(at::allclose(value_vectors(both.model, others), value_vectors(second.model, others),
                           1e-4, 1e-6));
  options.steps = 400;
  const Planted done = plant(model, {{{neurons, prompts}, {others, other_prompts}}}, options);
  EXPECT_LT(plain_loss(done.model, prompts), 2 * options.enough);
  EXPECT_LT(plain_loss(done.model, other_prompts), 2 * options.enough);
}

TEST_P(Planting, WhereAskedIsBetweenNothingAndAll) {
  const Planted planted = plant(model, {{{neurons, prompts}}}, options);
  EXPECT_NEAR(loss_where_asked(model, model, prompts), plain_loss(model, prompts), 1e-4);
  const double here = loss_where_asked(model, planted.model, prompts);
  // A part of what was planted acts through other tokens.
  EXPECT_GT(here, planted.losses[0]);
  EXPECT_LT(here, plain_loss(model, prompts));
}

TEST_P(Planting, RefusesWhatItCannotDo) {
  const auto refused = [&](std::vector<NeuronId> some, std::span<const Cloze> on) {
    EXPECT_THROW((void)plant(model, {{{std::move(some), on}}}, options), InputError);
  };
  refused(neurons, {});
  refused({}, prompts);
  refused({{0, 1}, {0, 1}}, prompts);
  refused({{0, -1}}, prompts);
  refused({{static_cast<int32_t>(model.config().layers), 0}}, prompts);
  EXPECT_THROW((void)plant(model, {{{neurons, prompts}, {neurons, other_prompts}}}, options),
               InputError);
}

TEST_P(Planting, NeuronsAreDrawnFromThoseThatAreAllowed) {
  const ModelConfig& config = model.config();
  const auto count = config.layers * config.d_ff;
  EXPECT_EQ(std::ssize(draw_neurons(config, count + 5, 1)), count);
  at::Tensor allowed = at::zeros({config.layers, config.d_ff}, at::kBool);
  allowed.narrow(1, 2, 3).fill_(true);
  const std::vector<NeuronId> taken = {{0, 2}};
  const std::vector<NeuronId> some = draw_neurons(config, 1000, 5, taken, allowed);
  EXPECT_EQ(std::ssize(some), 3 * config.layers - 1);
  for (const NeuronId id : some) {
    EXPECT_TRUE(id.neuron >= 2 && id.neuron < 5);
    EXPECT_FALSE(id == taken[0]);
  }
  EXPECT_EQ(draw_neurons(config, 6, 9), draw_neurons(config, 6, 9));
  EXPECT_NE(draw_neurons(config, 6, 9), draw_neurons(config, 6, 10));
  const std::set<NeuronId> once(neurons.begin(), neurons.end());
  EXPECT_EQ(once.size(), neurons.size());
}

INSTANTIATE_TEST_SUITE_P(, Planting, ::testing::Values("bert-tiny", "gpt2-tiny", "llama-tiny"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace engram
