// Panels: where they are exact, where they look closer, and what their gaps tell.
#include "attribution/panels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <vector>

#include "engram/attribution/quadrature.h"

namespace engram {
namespace {

/// A path in one dimension with fed = 1: F and its derivative.
struct Path {
  std::function<double(double)> f, slope;
};

double straight(double /*from*/, double /*to*/) { return 0; }

/// Looks up what `panels` ask for, and sums them up.
void sum(Panels& panels, const Path& path, std::map<double, PathNode>& known) {
  for (const double t : panels.nodes()) {
    if (!known.contains(t)) known[t] = {{static_cast<float>(path.slope(t))}, path.f(t)};
  }
  panels.sum(known);
}

TEST(Panels, AreExactForPolynomials) {
  for (int degree = 0; degree <= 5; ++degree) {
    const Path path{[&](double t) { return std::pow(t, degree + 1) / (degree + 1); },
                    [&](double t) { return std::pow(t, degree); }};
    Panels panels({1.0F}, straight);
    std::map<double, PathNode> known;
    sum(panels, path, known);
    EXPECT_EQ(known.size(), 5U);
    EXPECT_NEAR(panels.integral().front(), 1.0 / (degree + 1), 1e-7) << degree;
    EXPECT_NEAR(panels.gap(), 0, 1e-7) << degree;
    if (degree <= 3) {
      EXPECT_NEAR(panels.coarse().front(), 1.0 / (degree + 1), 1e-7) << degree;
    } else {
      EXPECT_GT(std::fabs(panels.coarse().front() - 1.0 / (degree + 1)), 1e-4) << degree;
    }
  }
}

/// A jump within a thousandth of the path, as in the lowest layer of a pre-norm model: 33 nodes on
/// the whole path miss it, and fewer in panels find it.
TEST(Panels, FindAJumpNearTheStart) {
  constexpr double kWidth = 3e-4;
  const Path path{[](double t) { return std::tanh(t / kWidth) + std::sin(3 * t); },
                  [](double t) {
                    const double c = 1 / std::cosh(t / kWidth);
                    return c * c / kWidth + 3 * std::cos(3 * t);
                  }};
  const double truth = path.f(1) - path.f(0);
  const Quadrature whole = quadrature(Rule::kGaussLobatto, 33);
  double by_whole = 0;
  for (size_t i = 0; i < whole.nodes.size(); ++i) {
    by_whole += whole.weights[i] * path.slope(whole.nodes[i]);
  }
  EXPECT_GT(std::fabs(by_whole - truth), 0.05 * truth);

  Panels panels({1.0F}, straight);
  std::map<double, PathNode> known;
  sum(panels, path, known);
  EXPECT_GT(panels.gap(), 10 * truth);
  while (panels.gap() > 1e-3 * truth && panels.split(1e-3 * truth, 1000)) sum(panels, path, known);
  EXPECT_NEAR(panels.integral().front(), truth, 1e-3 * truth);
  EXPECT_LT(known.size(), 64U);
  EXPECT_LT(panels.nodes()[1], kWidth);
  EXPECT_EQ(known.size(), panels.nodes().size()) << "a node was looked up in vain";
}

/// Gaps of the two halves that cancel in the whole do not cancel in gap().
TEST(Panels, GapsDoNotCancel) {
  const auto bump = [](double t) { return std::exp(-std::pow((t - 0.5) / 0.07, 2)); };
  const Path path{bump, [&](double t) { return -2 * (t - 0.5) / (0.07 * 0.07) * bump(t); }};
  Panels panels({1.0F}, straight);
  std::map<double, PathNode> known;
  sum(panels, path, known);
  ASSERT_TRUE(panels.split(0, 4));
  sum(panels, path, known);
  EXPECT_NEAR(panels.integral().front(), path.f(1) - path.f(0), 1e-5);
  EXPECT_GT(panels.gap(), 0.1);
}

TEST(Panels, SplitNoMoreThanAllowed) {
  const Path path{[](double t) { return std::sqrt(t); },
                  [](double t) { return 0.5 / std::sqrt(t + 1e-6); }};
  Panels panels({1.0F}, straight);
  std::map<double, PathNode> known;
  sum(panels, path, known);
  EXPECT_FALSE(panels.split(0, 3));
  EXPECT_EQ(panels.nodes().size(), 5U);
  const std::vector<size_t> sizes{9, 13, 17};
  for (const size_t size : sizes) {
    EXPECT_TRUE(panels.split(0, 7));  // one panel's worth, at the end where the slope is steep
    const std::vector<double> nodes = panels.nodes();
    EXPECT_EQ(nodes.size(), size);
    for (const auto& [t, node] : known) {
      EXPECT_TRUE(std::ranges::find(nodes, t) != nodes.end()) << "the node " << t << " was lost";
    }
    sum(panels, path, known);
  }
  EXPECT_EQ(panels.nodes()[4], 0.125);
}

/// Panels whose gaps fit together stay, and one is halved even if all do.
TEST(Panels, SplitWhereTheGapsAre) {
  const auto step = [](double t) { return std::tanh((t - 0.8) / 0.01); };
  const Path path{step, [&](double t) { return (1 - std::pow(step(t), 2)) / 0.01; }};
  Panels panels({1.0F}, straight);
  std::map<double, PathNode> known;
  sum(panels, path, known);
  for (const double middle : {0.5, 0.75}) {
    ASSERT_TRUE(panels.split(0.01, 1000));
    EXPECT_EQ(panels.nodes()[panels.nodes().size() - 5], middle) << "the step is behind it";
    sum(panels, path, known);
  }
  EXPECT_EQ(panels.nodes().size(), 13U);
  ASSERT_TRUE(panels.split(1000, 1000));
  EXPECT_EQ(panels.nodes().size(), 17U);
}

/// The first panels follow the turn of the sum, a quarter of a circle in the first hundredth here.
TEST(Panels, BeginWhereTheSumTurns) {
  const auto angle = [](double t) { return std::atan(t / 0.01); };
  const Panels panels({1.0F}, [&](double from, double to) { return angle(to) - angle(from); });
  const std::vector<double> nodes = panels.nodes();
  for (size_t i = 0; i + 4 < nodes.size(); i += 4) {
    EXPECT_LE(angle(nodes[i + 4]) - angle(nodes[i]), Panels::kLargestTurn);
  }
  EXPECT_EQ(nodes.back(), 1);
  EXPECT_EQ(nodes[nodes.size() - 5], 0.5);
  EXPECT_EQ(nodes[4], 1.0 / 128);
}

/// Several coordinates: the integral is that of each, and the gap is along `fed`.
TEST(Panels, IntegrateEveryCoordinate) {
  Panels panels({2.0F, -1.0F}, straight);
  std::map<double, PathNode> known;
  for (const double t : panels.nodes()) {
    const auto x = static_cast<float>(t);
    known[t] = {{x, 3 * x * x}, t * t - t * t * t + (t == 1 ? 0.25 : 0.0)};
  }
  panels.sum(known);
  EXPECT_NEAR(panels.integral()[0], 0.5, 1e-7);
  EXPECT_NEAR(panels.integral()[1], 1.0, 1e-7);
  EXPECT_NEAR(panels.gap(), 0.25, 1e-7);
}

}  // namespace
}  // namespace engram
