// Fine-tuning of one FFN matrix.
#include "edit/fine_tune.h"

#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/random.h"
#include "edit/padded.h"
#include "engram/error.h"
#include "support/oracle.h"

namespace engram {
namespace {

class FineTune : public ::testing::TestWithParam<const char*> {
 protected:
  FineTune() : model(Model::load(testing::stored_oracle(GetParam()))) {
    Random random(3);
    const auto draw = [&] {
      return static_cast<int64_t>(random.below(static_cast<uint64_t>(model.config().vocabulary)));
    };
    for (const int64_t tokens : {6, 9}) {
      Cloze& cloze = prompts.emplace_back();
      for (int64_t t = 0; t < tokens; ++t) cloze.ids.push_back(draw());
      cloze.positions = {tokens - 1};
      cloze.answer = {draw()};
    }
  }

  static double loss(const Model& of, const std::vector<Cloze>& prompts) {
    const at::NoGradGuard no_grad;
    double sum = 0;
    for (const Cloze& cloze : prompts) {  // one by one, so that nothing is padded
      const std::vector<Cloze> one = {cloze};
      const PaddedPrompts batch = pad_prompts(one, of.device());
      sum += answer_loss(of, of.encode(batch.ids, batch.mask), asked_tokens(one, of.device()))
                 .item<double>();
    }
    return sum / static_cast<double>(prompts.size());
  }

  Model model;
  std::vector<Cloze> prompts;
};

TEST_P(FineTune, LearnsTheAnswersAndStops) {
  const int64_t layer = model.config().layers - 1;
  EXPECT_GT(loss(model, prompts), 1);
  FineTuneOptions options;
  options.steps = 1000;
  options.rate = 5e-3;
  options.enough = 0.3;
  const ValueEdit edit = fine_tuned_values(model, layer, prompts, options);
  const double after = loss(with_values(model, edit), prompts);
  EXPECT_LT(after, options.enough);
  EXPECT_GT(after, options.enough / 5);  // it went no further than it had to
  ASSERT_EQ(std::ssize(edit.neurons), model.config().d_ff);
  for (const NeuronId id : edit.neurons) EXPECT_EQ(id.layer, layer);
}

TEST_P(FineTune, ItsFirstStepGoesDownTheGradient) {
  FineTuneOptions one;
  one.steps = 1;
  one.rate = 1e-3;
  const ValueEdit edit = fine_tuned_values(model, 0, prompts, one);
  const at::Tensor moved = edit.values - value_vectors(model, edit.neurons);
  // Adam's first step is the rate in every coordinate, whatever the gradient's size.
  const at::Tensor size = moved.abs();
  EXPECT_NEAR(size.max().item<double>(), one.rate, 1e-5);
  EXPECT_GT(size.gt(0.9 * one.rate).to(at::kFloat).mean().item<double>(), 0.5);
  // Differences of the loss have the sign of what was not done.
  Random random(7);
  int64_t checked = 0;
  while (checked < 12) {
    const auto i = static_cast<int64_t>(random.below(edit.neurons.size()));
    const auto d = static_cast<int64_t>(random.below(static_cast<uint64_t>(moved.size(1))));
    const double step = 0.1;
    const auto at_shift = [&](double by) {
      ValueEdit shifted{{edit.neurons[static_cast<size_t>(i)]}, {}};
      shifted.values = value_vectors(model, shifted.neurons);
      shifted.values[0][d] += by;
      return loss(with_values(model, shifted), prompts);
    };
    const double slope = (at_shift(step) - at_shift(-step)) / (2 * step);
    if (std::abs(slope) < 1e-4) continue;  // lost in rounding
    EXPECT_LT(slope * moved[i][d].item<double>(), 0) << i << " " << d;
    ++checked;
  }
}

TEST_P(FineTune, RefusesWhatItCannotDo) {
  EXPECT_THROW((void)fine_tuned_values(model, model.config().layers, prompts), InputError);
  EXPECT_THROW((void)fine_tuned_values(model, -1, prompts), InputError);
  EXPECT_THROW((void)fine_tuned_values(model, 0, {}), InputError);
}

INSTANTIATE_TEST_SUITE_P(, FineTune, ::testing::Values("bert-tiny", "gpt2-tiny", "llama-tiny"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace engram
