// The exponential of the kernels against std::exp in double.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "model/kernels.h"
#include "model/kernels_exp.h"

namespace engram::kernels {
namespace {

/// Floats from 0 down to -87: every 1009th, which hits all exponents and last digits.
std::vector<float> negative_floats() {
  std::vector<float> values;
  const auto last = std::bit_cast<uint32_t>(-87.0F);
  for (uint32_t bits = std::bit_cast<uint32_t>(-0.0F); bits <= last; bits += 1009) {
    values.push_back(std::bit_cast<float>(bits));
  }
  return values;
}

TEST(Kernels, ExpIsRightToTwoInTenMillionOverItsWholeRange) {
  const std::vector<float> x = negative_floats();
  ASSERT_GT(x.size(), 1'000'000U);
  std::vector<float> y(x.size());
  exp_row(x.data(), 0, y.data(), static_cast<int64_t>(x.size()));
  std::vector<float> product = x;
  minus_softmax(product.data(), 0, -1, static_cast<int64_t>(product.size()));
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double expected = std::exp(static_cast<double>(x[i]));
    worst = std::max(worst, std::abs(y[i] - expected) / expected);
    worst = std::max(worst, std::abs(product[i] - expected) / expected);
  }
  EXPECT_LE(worst, 2e-7);
}

TEST(Kernels, ExpOfSmallRowsAndOfWhatIsNoNumber) {
  for (int64_t count = 0; count < 40; ++count) {  // what the vectors leave over
    std::vector<float> x;
    for (int64_t i = 0; i < count; ++i) x.push_back(-0.37F * static_cast<float>(i * i));
    exp_row(x.data(), 1, x.data(), count);
    for (int64_t i = 0; i < count; ++i) {
      // Of the float that the function sees.
      const double expected = std::exp(static_cast<double>(-0.37F * static_cast<float>(i * i) - 1));
      EXPECT_NEAR(x[static_cast<size_t>(i)], expected, 2e-7 * expected + 2e-38);
    }
  }
  std::vector<float> odd = {std::numeric_limits<float>::quiet_NaN(),
                            -std::numeric_limits<float>::infinity(), -1e30F, 0.0F};
  exp_row(odd.data(), 0, odd.data(), 4);
  EXPECT_TRUE(std::isnan(odd[0]));
  EXPECT_NEAR(odd[1], 1.6e-38, 0.1e-38);
  EXPECT_NEAR(odd[2], 1.6e-38, 0.1e-38);
  EXPECT_EQ(odd[3], 1.0F);
}

TEST(Kernels, AnswersAreReadAsInDoublePrecision) {
  const at::Generator generator = at::detail::createCPUGenerator(11);
  const at::Tensor logits = at::randn({6, 700}, generator) * 4;
  const std::vector<int64_t> answer = {0, 699, 350, 12, 500, 3};
  logits[2][350] = 90.0F;                                   // P rounds to 1
  logits[3][12] = -90.0F;                                   // P next to nothing
  logits[4][500] = std::numeric_limits<float>::infinity();  // no number
  logits[5][600] = std::numeric_limits<float>::quiet_NaN();
  std::vector<TokenAnswer> fast(6);
  std::vector<TokenAnswer> plain(6);
  read_answers(logits, answer.data(), fast.data());
  generic::read_answers(logits, answer.data(), plain.data());
  for (size_t row = 0; row < 6; ++row) {
    if (row >= 4) {
      EXPECT_TRUE(std::isnan(fast[row].log_p)) << row;
      EXPECT_TRUE(std::isnan(fast[row].log_odds)) << row;
      EXPECT_TRUE(std::isnan(plain[row].log_p)) << row;
      continue;
    }
    const at::Tensor wide = logits[static_cast<int64_t>(row)].to(at::kDouble).clone();
    const double own = wide[answer[row]].item<double>();
    const double log_p = own - wide.logsumexp(0).item<double>();
    wide[answer[row]] = -std::numeric_limits<double>::infinity();
    const double log_odds = own - wide.logsumexp(0).item<double>();
    const auto larger = wide.gt(own).sum().item<int64_t>();
    for (const TokenAnswer& one : {fast[row], plain[row]}) {
      EXPECT_NEAR(one.log_odds, log_odds, 1e-6 * (1 + std::abs(log_odds))) << row;
      EXPECT_NEAR(one.log_p, log_p, 1e-6 * (1 + std::abs(log_p))) << row;
      EXPECT_EQ(one.larger, larger) << row;
    }
  }
}

TEST(Kernels, ActivationsOfTheExponentialAreRight) {
  std::vector<float> u;
  for (int i = 0; i <= 17518; ++i) u.push_back(-12 + 0.00137F * static_cast<float>(i));
  std::vector<float> a(u.size());
  std::vector<float> d(u.size());
  const auto count = static_cast<int64_t>(u.size());
  const auto worst = [&](const auto& value, const auto& slope) {
    double largest = 0;
    for (size_t i = 0; i < u.size(); ++i) {
      const double x = u[i];
      largest = std::max(largest, std::abs(a[i] - value(x)) / std::max(1.0, std::abs(x)));
      largest = std::max(largest, std::abs(d[i] - slope(x)));
    }
    return largest;
  };
  const auto cdf = [](double x) { return std::erfc(-x / std::sqrt(2.0)) / 2; };
  gelu(u.data(), a.data(), d.data(), count);
  EXPECT_LE(
      worst([&](double x) { return x * cdf(x); },
            [&](double x) { return cdf(x) + x * std::exp(-x * x / 2) / std::sqrt(2 * M_PI); }),
      4e-7);
  const auto logistic = [](double x) { return 1 / (1 + std::exp(-x)); };
  silu(u.data(), a.data(), d.data(), count);
  EXPECT_LE(worst([&](double x) { return x * logistic(x); },
                  [&](double x) { return logistic(x) * (1 + x * (1 - logistic(x))); }),
            1e-6);  // 1 - s is off by 6e-8, and is multiplied by x
  const double c = std::sqrt(2 / M_PI);
  const auto tanh_of = [&](double x) { return std::tanh(c * (x + 0.044715 * x * x * x)); };
  gelu_tanh(u.data(), a.data(), d.data(), count);
  EXPECT_LE(worst([&](double x) { return x / 2 * (1 + tanh_of(x)); },
                  [&](double x) {
                    const double t = tanh_of(x);
                    return (1 + t) / 2 + x / 2 * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x);
                  }),
            2e-6);
}

}  // namespace
}  // namespace engram::kernels
