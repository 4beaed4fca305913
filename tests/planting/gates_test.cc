// Gates on value vectors: their gradients, and what is learned by them.
#include "planting/gates.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "engram/error.h"
#include "planting/plant.h"
#include "planting/recall.h"
#include "support/oracle.h"
#include "tiny_prompts.h"

namespace engram {
namespace {

using testing::plain_loss;
using testing::random_prompts;

class Gates : public ::testing::TestWithParam<const char*> {
 protected:
  Gates()
      : model(Model::load(testing::stored_oracle(GetParam()))),
        prompts(random_prompts(model.config(), 3)),
        loss(model, prompts) {
    at::set_num_threads(1);
  }

  /// A copy whose value vectors are scaled.
  [[nodiscard]] Model scaled(const at::Tensor& gates) const {
    Model copy = model;
    for (int64_t layer = 0; layer < model.config().layers; ++layer) {
      copy.replace_values(layer, model.weights().layers[static_cast<size_t>(layer)].ffn_out_weight *
                                     gates[layer].unsqueeze(0));
    }
    return copy;
  }

  Model model;
  std::vector<Cloze> prompts;
  GatedLoss loss;
};

TEST_P(Gates, ScaleValueVectors) {
  const at::NoGradGuard no_grad;
  EXPECT_NEAR(loss(loss.all(1)).item<double>(), plain_loss(model, prompts), 1e-4);
  at::Tensor some = loss.all(1);
  some.select(1, 3).fill_(0.25);
  some[0].narrow(0, 5, 4).fill_(0);
  EXPECT_NEAR(loss(some).item<double>(), plain_loss(scaled(some), prompts), 1e-4);
}

TEST_P(Gates, GradientsAreDifferences) {
  const at::Tensor where = loss.all(0.7);
  const at::Tensor gradient = loss.gradient(where);
  Random random(1);
  for (int i = 0; i < 10; ++i) {
    const auto layer =
        static_cast<int64_t>(random.below(static_cast<uint64_t>(model.config().layers)));
    const auto neuron =
        static_cast<int64_t>(random.below(static_cast<uint64_t>(model.config().d_ff)));
    const auto at_shift = [&](double by) {
      at::Tensor gates = where.clone();
      gates[layer][neuron] += by;
      return -plain_loss(scaled(gates), prompts);
    };
    const double slope = (at_shift(0.05) - at_shift(-0.05)) / 0.1;
    EXPECT_NEAR(gradient[layer][neuron].item<double>(), slope, 2e-3 + 0.02 * std::abs(slope));
  }
}

TEST_P(Gates, TheIntegralIsComplete) {
  const at::Tensor scores = integrated_gates(loss, 200);
  ASSERT_EQ(scores.sizes(), loss.all(0).sizes());
  const double way = plain_loss(scaled(loss.all(0)), prompts) - plain_loss(model, prompts);
  EXPECT_NEAR(scores.sum().item<double>(), way, 1e-3 + 0.01 * std::abs(way));
}

TEST_P(Gates, DrawsAreSeeded) {
  EXPECT_TRUE(expected_gates(loss, 4, 1).equal(expected_gates(loss, 4, 1)));
  EXPECT_FALSE(expected_gates(loss, 4, 1).equal(expected_gates(loss, 4, 2)));
  GateTraining training;
  training.steps = 5;
  training.rate = 0.1;
  EXPECT_TRUE(hard_concrete_gates(loss, training, 1).equal(hard_concrete_gates(loss, training, 1)));
  EXPECT_FALSE(
      hard_concrete_gates(loss, training, 1).equal(hard_concrete_gates(loss, training, 2)));
}

TEST_P(Gates, FindWhatWasPlanted) {
  const std::vector<NeuronId> neurons = draw_neurons(model.config(), 6, 11);
  PlantOptions options;
  options.steps = 400;
  options.rate = 0.05;
  options.enough = testing::reachable_loss(model.config());
  const Planted planted = plant(model, {{{neurons, prompts}}}, options);
  ASSERT_LT(planted.losses[0], options.enough);
  GatedLoss on(planted.model, prompts);
  GateTraining slimming;
  slimming.penalty = 1;
  GateTraining concrete;
  concrete.penalty = 1;
  concrete.rate = 0.1;
  const double share = 0.25;  // which is also what chance finds
  for (const at::Tensor& scores :
       {integrated_gates(on, 20), expected_gates(on, 20, 1), slimmed_gates(on, slimming),
        hard_concrete_gates(on, concrete, 1)}) {
    EXPECT_GE(recall_of(scores, neurons, share), 2 * share);
  }
}

TEST_P(Gates, LearnedOnesCloseUnderAPenalty) {
  GateTraining training;
  training.steps = 150;
  training.penalty = 1000;
  const at::Tensor gates = slimmed_gates(loss, training);
  EXPECT_GE(gates.min().item<double>(), 0);
  EXPECT_LE(gates.max().item<double>(), 1);
  EXPECT_LT(gates.mean().item<double>(), 0.2);
  training.penalty = 0;
  EXPECT_GT(slimmed_gates(loss, training).mean().item<double>(), 0.2);
  training.rate = 0.1;
  training.penalty = 1000;
  EXPECT_LT(hard_concrete_gates(loss, training, 1).mean().item<double>(), 0);
}

TEST_P(Gates, WantPrompts) { EXPECT_THROW(GatedLoss(model, {}), InputError); }

INSTANTIATE_TEST_SUITE_P(, Gates, ::testing::Values("bert-tiny", "gpt2-tiny", "llama-tiny"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace engram
