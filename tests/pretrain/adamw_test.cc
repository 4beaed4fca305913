#include "pretrain/adamw.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "engram/error.h"

namespace engram::pretrain {
namespace {

std::vector<at::Tensor> some_parameters() {
  at::manual_seed(3);
  std::vector<at::Tensor> parameters;
  for (const auto& shape : {std::vector<int64_t>{300, 260}, {260}, {7}}) {
    parameters.push_back(at::randn(shape).requires_grad_());
  }
  return parameters;
}

/// [micro-batch][parameter]; the same numbers for the same step.
std::vector<std::vector<at::Tensor>> some_gradients(int64_t step, double size) {
  const std::vector<at::Tensor> parameters = some_parameters();
  at::manual_seed(static_cast<uint64_t>(100 + step));
  std::vector<std::vector<at::Tensor>> gradients(3);
  for (auto& of_batch : gradients) {
    for (const at::Tensor& p : parameters) of_batch.push_back(at::randn(p.sizes()) * size);
  }
  return gradients;
}

TEST(AdamW, LoopsAndTensorOperationsTakeTheSameSteps) {
  const AdamWOptions options;
  AdamW loops(some_parameters(), options), tensors(some_parameters(), options);
  Workers workers(2);
  for (int64_t step = 0; step < 5; ++step) {
    // The first steps are clipped, the last ones are not.
    const double size = step < 3 ? 0.1 : 1e-4;
    auto a = some_gradients(step, size), b = some_gradients(step, size);
    const double norm = loops.step(a, step, 1e-2, workers);
    EXPECT_NEAR(tensors.step_generic(b, step, 1e-2), norm, 1e-5 * norm);
    EXPECT_EQ(norm > options.clip, step < 3);
  }
  const auto one = loops.state(), other = tensors.state();
  ASSERT_EQ(one.size(), other.size());
  for (size_t i = 0; i < one.size(); ++i) {
    const double largest = one[i].detach().abs().max().item<double>();
    EXPECT_LT((one[i].detach() - other[i].detach()).abs().max().item<double>(), 1e-5 * largest);
  }
}

TEST(AdamW, TheFirstStepIsTheRateInTheGradientsDirection) {
  at::Tensor vector = at::zeros({4}).requires_grad_();  // a vector: not decayed
  AdamWOptions options;
  options.clip = 1e9;
  AdamW optimiser({vector}, options);
  Workers workers(1);
  std::vector<std::vector<at::Tensor>> gradients{{at::tensor({1.0F, -2.0F, 0.5F, 0.0F})}};
  EXPECT_NEAR(optimiser.step(gradients, 0, 0.125, workers), std::sqrt(5.25), 1e-6);
  const at::Tensor expected = at::tensor({-0.125F, 0.125F, -0.125F, 0.0F});
  EXPECT_TRUE(at::allclose(vector.detach(), expected, 1e-4, 1e-6));
}

TEST(AdamW, RefusesAGradientThatIsNotFinite) {
  at::Tensor vector = at::zeros({2}).requires_grad_();
  AdamW optimiser({vector}, {});
  Workers workers(1);
  std::vector<std::vector<at::Tensor>> gradients{
      {at::tensor({1.0F, std::numeric_limits<float>::infinity()})}};
  EXPECT_THROW(optimiser.step(gradients, 0, 0.1, workers), InputError);
  EXPECT_TRUE(at::equal(vector.detach(), at::zeros({2})));
}

}  // namespace
}  // namespace engram::pretrain
