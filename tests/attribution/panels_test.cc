// Panels: where they are exact, where they look closer, and that they lose no node.
#include "attribution/panels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "attribution/quadrature.h"

namespace engram {
namespace {

/// F and its derivative on a path with fed = 1.
struct Path {
  std::function<double(double)> f, slope;
};

/// A path on which nothing turns.
Panels straight(const std::vector<double>& known = {0, 1}) {
  const std::vector<float> rest{0};
  const std::vector<float> fed{1};
  return {Arc(rest, fed, 1, 0.0), fed, known};
}

/// One whose sum passes the origin at kNear of the length of what is fed.
constexpr double kNear = 0.04;
Panels turning() {
  const std::vector<float> rest{static_cast<float>(kNear), static_cast<float>(-kNear), 0, 0};
  const std::vector<float> fed{0, 0, 1, -1};
  return {Arc(rest, fed, 1, 0.0), {1}, {0, 1}};
}
double angle(double t) { return std::atan(t / kNear); }

/// Looks up what `panels` ask for, and sums them up.
void sum(Panels& panels, const Path& path, std::map<double, PathNode>& known) {
  for (const double t : panels.nodes()) {
    if (!known.contains(t)) known[t] = {{static_cast<float>(path.slope(t))}, path.f(t)};
  }
  panels.sum(known);
}

double gap(const Panels& panels, const Path& path) {
  return std::fabs(panels.integral().front() - (path.f(1) - path.f(0)));
}

TEST(Panels, AreExactForPolynomials) {
  for (int degree = 0; degree <= 6; ++degree) {
    const Path path{[&](double t) { return std::pow(t, degree + 1) / (degree + 1); },
                    [&](double t) { return std::pow(t, degree); }};
    Panels panels = straight();
    std::map<double, PathNode> known;
    sum(panels, path, known);
    EXPECT_EQ(known.size(), 5U);
    EXPECT_EQ(gap(panels, path) < 1e-7, degree <= 5) << degree;  // 5: by symmetry
    EXPECT_EQ(std::fabs(panels.coarse().front() - path.f(1)) < 1e-7, degree <= 3) << degree;
    ASSERT_TRUE(panels.split(1));
    sum(panels, path, known);
    EXPECT_EQ(gap(panels, path) < 1e-7, degree <= 5) << degree;
  }
}

/// A jump within a thousandth of the path: 33 nodes on the whole path miss it, and fewer in panels
/// find it.
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

  Panels panels = straight();
  std::map<double, PathNode> known;
  sum(panels, path, known);
  EXPECT_GT(gap(panels, path), 10 * truth);
  while (gap(panels, path) > 1e-3 * truth && known.size() < 64) {
    ASSERT_TRUE(panels.split(1000));
    sum(panels, path, known);
  }
  EXPECT_LT(known.size(), 33U);
  EXPECT_LT(panels.nodes()[1], kWidth);
  EXPECT_EQ(known.size(), panels.nodes().size()) << "a node was looked up in vain";
}

TEST(Panels, SplitNoMoreThanAllowed) {
  const Path path{[](double t) { return std::sqrt(t); },
                  [](double t) { return 0.5 / std::sqrt(t + 1e-6); }};
  Panels panels = straight();
  std::map<double, PathNode> known;
  sum(panels, path, known);
  EXPECT_FALSE(panels.split(0));
  EXPECT_EQ(panels.nodes().size(), 5U);
  EXPECT_TRUE(panels.split(1));
  EXPECT_EQ(panels.nodes()[1], 0.125) << "the slope is steep before it";
  for (const size_t size : {6U, 8U, 10U}) {
    EXPECT_EQ(panels.nodes().size(), size);
    for (const auto& [t, node] : known) {
      EXPECT_TRUE(std::ranges::find(panels.nodes(), t) != panels.nodes().end())
          << "the node " << t << " was lost";
    }
    sum(panels, path, known);
    EXPECT_TRUE(panels.split(1000));
  }
}

/// A step behind t = 0.75 draws the nodes.
TEST(Panels, SplitWhereTheGapsAre) {
  const auto step = [](double t) { return std::tanh((t - 0.8) / 0.01); };
  const Path path{step, [&](double t) { return (1 - std::pow(step(t), 2)) / 0.01; }};
  Panels panels = straight();
  std::map<double, PathNode> known;
  sum(panels, path, known);
  while (known.size() < 30) {
    ASSERT_TRUE(panels.split(1000));
    sum(panels, path, known);
  }
  EXPECT_GT(std::ranges::count_if(panels.nodes(), [](double t) { return t > 0.74 && t < 0.86; }),
            18);
  EXPECT_LT(gap(panels, path), 3e-3);
}

/// Gaps of two halves that cancel in the whole do not cancel in misfit().
TEST(Panels, GapsDoNotCancel) {
  const auto bump = [](double t) { return std::exp(-std::pow((t - 0.5) / 0.07, 2)); };
  const Path path{bump, [&](double t) { return -2 * (t - 0.5) / (0.07 * 0.07) * bump(t); }};
  Panels panels = straight();
  std::map<double, PathNode> known;
  sum(panels, path, known);
  EXPECT_LT(gap(panels, path), 1e-5);
  EXPECT_GT(panels.misfit(), 0.5);
  while (panels.misfit() > 0.01 && known.size() < 40) {
    ASSERT_TRUE(panels.split(1000));
    sum(panels, path, known);
  }
  EXPECT_LT(known.size(), 40U);
}

/// The first panels follow the turn of the sum, most of a quarter of a circle in the first tenth.
TEST(Panels, BeginWhereTheSumTurns) {
  const std::vector<double> nodes = turning().nodes();
  EXPECT_EQ(nodes.size(), 9U);
  EXPECT_EQ(nodes.front(), 0);
  EXPECT_EQ(nodes.back(), 1);
  for (size_t i = 0; i + 1 < nodes.size(); ++i) {
    EXPECT_LE(angle(nodes[i + 1]) - angle(nodes[i]), Panels::kLargestTurn);
  }
  EXPECT_LT(nodes[4], kNear);
}

/// What is smooth in the angle needs no more than the first panels.
TEST(Panels, SumInTheAngle) {
  const Path path{
      [](double t) { return std::sin(2 * angle(t)); },
      [](double t) { return 2 * std::cos(2 * angle(t)) * kNear / (t * t + kNear * kNear); }};
  Panels panels = turning();
  std::map<double, PathNode> known;
  sum(panels, path, known);
  EXPECT_LT(gap(panels, path), 1e-4);
  Panels even = straight({0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1});
  sum(even, path, known);
  EXPECT_GT(gap(even, path), 0.1);
}

/// Nodes that there are already stay, and wide panels between them are cut.
TEST(Panels, BeginWithTheNodesThatThereAre) {
  const std::vector<double> expected{0, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1};
  const std::vector<double> nodes = straight({0, 0.1, 0.4, 1}).nodes();
  ASSERT_EQ(nodes.size(), expected.size());
  for (size_t i = 0; i < nodes.size(); ++i) EXPECT_DOUBLE_EQ(nodes[i], expected[i]);
}

/// Several coordinates: the integral is that of each, and the gaps are along `fed`.
TEST(Panels, IntegrateEveryCoordinate) {
  const std::vector<float> rest{0, 0};
  const std::vector<float> fed{2.0F, -1.0F};
  Panels panels(Arc(rest, fed, 1, std::nullopt), fed, {0, 1});
  std::map<double, PathNode> known;
  for (const double t : panels.nodes()) {
    const auto x = static_cast<float>(t);
    // F does not fit behind t = 0.75.
    known[t] = {{x, 3 * x * x}, t * t - t * t * t + (t == 1 ? 0.25 : 0.0)};
  }
  panels.sum(known);
  EXPECT_NEAR(panels.integral()[0], 0.5, 1e-7);
  EXPECT_NEAR(panels.integral()[1], 1.0, 1e-7);
  ASSERT_TRUE(panels.split(1));
  EXPECT_DOUBLE_EQ(panels.nodes()[panels.nodes().size() - 2], 0.875);
}

}  // namespace
}  // namespace engram
