// Products and the transposed copies that make them faster.
#include "engram/model/product.h"

#include <gtest/gtest.h>

#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <array>

#include "intervention/random_model.h"

namespace engram::testing {
namespace {

at::Tensor random(at::IntArrayRef shape, uint64_t seed) {
  return at::randn(shape, at::detail::createCPUGenerator(seed));
}

/// Equal but for the order in which products add up.
bool same(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>() < 1e-5 * b.abs().max().item<double>();
}

// Rows, inner and outer sizes: tall, flat, odd, one row, larger than the blocks of a product.
constexpr std::array<std::array<int64_t, 3>, 7> kShapes = {{{1, 7, 5},
                                                            {3, 64, 64},
                                                            {17, 33, 129},
                                                            {96, 256, 1000},
                                                            {130, 768, 64},
                                                            {64, 1023, 257},
                                                            {500, 300, 96}}};

TEST(Product, AgreesWithFloat64InAnyLayout) {
  const at::NoGradGuard no_grad;
  for (const auto& [m, k, n] : kShapes) {
    const at::Tensor a = random({m, k}, 1);
    const at::Tensor weight = random({n, k}, 2);
    const at::Tensor exact = at::mm(a.to(at::kDouble), weight.t().to(at::kDouble));
    const double size = exact.abs().max().item<double>();
    for (const at::Tensor& right : {weight.t(), weight.t().contiguous()}) {
      const at::Tensor out = at::full({m, n}, 7.0F);
      matrix_product(a, right, out, false);
      EXPECT_LT((out - exact).abs().max().item<double>(), 1e-5 * size) << m << " " << k << " " << n;
      matrix_product(a, right, out, true);
      EXPECT_LT((out - 2 * exact).abs().max().item<double>(), 2e-5 * size);
      const at::Tensor bias = random({n}, 3);
      EXPECT_LT((affine(a, right, bias) - exact - bias).abs().max().item<double>(), 1e-5 * size);
    }
  }
}

class PreparedModel : public ::testing::Test {
 protected:
  [[nodiscard]] at::Tensor logits(const Model& model) const {
    const at::NoGradGuard no_grad;
    return model.logits(model.encode(ids_).flatten(0, 1));
  }
  static bool has_copies(const Model& model) {
    return model.columns(model.weights().head_weight).is_contiguous();
  }
  Model model_ = random_model(5);
  at::Tensor ids_ = at::arange(24, at::kLong).view({3, 8});
};

TEST_F(PreparedModel, GivesTheSameLogits) {
  const at::Tensor before = logits(model_);
  EXPECT_FALSE(has_copies(model_));
  model_.prepare_products();
  EXPECT_EQ(has_copies(model_), product_wants_columns(model_.weights().head_weight));
  EXPECT_TRUE(same(logits(model_), before));
}

TEST_F(PreparedModel, LetsGradientsThrough) {
  const at::Tensor hidden = random({3, 16}, 4).requires_grad_();
  const auto gradient = [&] {
    return torch::autograd::grad({model_.logits(hidden).logsumexp(1).sum()}, {hidden}).front();
  };
  const at::Tensor before = gradient();
  {
    const c10::InferenceMode guard;
    model_.prepare_products();
  }
  EXPECT_TRUE(same(gradient(), before));
}

TEST_F(PreparedModel, CopiesOfAReplacedWeightAreNotTheOriginals) {
  Model replaced = model_;
  replaced.replace_values(1, random({16, 40}, 9));
  for (const Model* model : {&replaced, &model_}) {  // the original last
    model->prepare_products();
    const at::Tensor& weight = model->weights().layers[1].ffn_out_weight;
    EXPECT_EQ(model->columns(weight).is_contiguous(), product_wants_columns(weight));
  }
}

TEST_F(PreparedModel, ForgetsCopiesOfWeightsThatChange) {
  model_.prepare_products();
  Model replaced = model_;
  const at::Tensor other = random({16, 40}, 9);
  replaced.replace_values(1, other);
  Model changed = random_model(5);
  changed.prepare_products();
  changed.mutable_weights().layers[1].ffn_out_weight.copy_(other);
  changed.prepare_products();  // refused: the holder of the weights may go on changing them
  EXPECT_FALSE(has_copies(changed));
  EXPECT_TRUE(same(logits(replaced), logits(changed)));
  EXPECT_FALSE(same(logits(replaced), logits(model_)));
}

}  // namespace
}  // namespace engram::testing
