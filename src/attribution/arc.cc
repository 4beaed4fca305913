#include "arc.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "attribution/quadrature.h"
#include "engram/error.h"

namespace engram {
namespace {

const Quadrature& fine() {
  static const Quadrature rule = quadrature(Rule::kGaussLegendre, 32);
  return rule;
}

std::vector<double> centred(std::span<const float> rows, int64_t targets, int64_t width) {
  std::vector<double> result(rows.begin(), rows.end());
  for (int64_t row = 0; row < targets; ++row) {
    double mean = 0;
    for (int64_t i = 0; i < width; ++i) mean += result[static_cast<size_t>(row * width + i)];
    mean /= static_cast<double>(width);
    for (int64_t i = 0; i < width; ++i) result[static_cast<size_t>(row * width + i)] -= mean;
  }
  return result;
}

double shifted_legendre(int64_t n, double x) {
  double previous = 1;
  double value = 2 * x - 1;
  if (n == 0) return previous;
  for (int64_t j = 2; j <= n; ++j) {
    const auto k = static_cast<double>(j);
    const double next = ((2 * k - 1) * (2 * x - 1) * value - (k - 1) * previous) / k;
    previous = value;
    value = next;
  }
  return value;
}

/// Solves a x = b by elimination with pivoting; a is [n][n], small.
std::vector<double> solve(std::vector<std::vector<double>> a, std::vector<double> b) {
  const size_t n = b.size();
  for (size_t column = 0; column < n; ++column) {
    size_t pivot = column;
    for (size_t row = column + 1; row < n; ++row) {
      if (std::fabs(a[row][column]) > std::fabs(a[pivot][column])) pivot = row;
    }
    std::swap(a[column], a[pivot]);
    std::swap(b[column], b[pivot]);
    for (size_t row = column + 1; row < n; ++row) {
      const double factor = a[row][column] / a[column][column];
      for (size_t k = column; k < n; ++k) a[row][k] -= factor * a[column][k];
      b[row] -= factor * b[column];
    }
  }
  for (size_t row = n; row-- > 0;) {
    for (size_t k = row + 1; k < n; ++k) b[row] -= a[row][k] * b[k];
    b[row] /= a[row][row];
  }
  return b;
}

}  // namespace

Arc::Arc(std::span<const float> rest, std::span<const float> fed, int64_t targets,
         std::optional<double> epsilon)
    : targets_(targets),
      width_(static_cast<int64_t>(rest.size()) / targets),
      epsilon_(epsilon),
      rest_(centred(rest, targets, width_)),
      fed_(centred(fed, targets, width_)) {
  double rest2 = 0;
  double product = 0;
  double fed2 = 0;
  for (int64_t row = 0; row < targets_; ++row) {
    double r2 = 0;
    double rf = 0;
    double f2 = 0;
    for (auto i = static_cast<size_t>(row * width_); i < static_cast<size_t>((row + 1) * width_);
         ++i) {
      r2 += rest_[i] * rest_[i];
      rf += rest_[i] * fed_[i];
      f2 += fed_[i] * fed_[i];
    }
    rest2_.push_back(r2);
    product_.push_back(rf);
    fed2_.push_back(f2);
    if (f2 == 0) continue;  // a row whose neurons do not count stands still
    rest2 += r2;
    product += rf;
    fed2 += f2;
  }
  straight_ = !epsilon_ || fed2 <= 1e-6 * rest2 || fed2 == 0;
  if (straight_) return;
  foot_ = -product / fed2;
  // A line that nearly meets the origin turns almost at once; the floor keeps the map gentle.
  height_ = std::sqrt(std::max(rest2 / fed2 - foot_ * foot_, 4e-4));
  first_ = std::atan((0 - foot_) / height_);
  last_ = std::atan((1 - foot_) / height_);
}

double Arc::t(double s) const {
  if (straight_ || s == 0 || s == 1) return s;
  return foot_ + height_ * std::tan(first_ + s * (last_ - first_));
}

double Arc::slope(double s) const {
  if (straight_) return 1;
  const double cosine = std::cos(first_ + s * (last_ - first_));
  return height_ * (last_ - first_) / (cosine * cosine);
}

double Arc::turn() const {
  double largest = 0;
  for (size_t i = 0; i < rest2_.size(); ++i) {
    const double sizes = std::sqrt(rest2_[i] * (rest2_[i] + 2 * product_[i] + fed2_[i]));
    if (!(sizes > 0)) continue;
    const double cosine = (rest2_[i] + product_[i]) / sizes;
    largest = std::max(largest, std::acos(std::clamp(cosine, -1.0, 1.0)));
  }
  return largest;
}

double Arc::deviation(int64_t row, double t) const {
  const auto i = static_cast<size_t>(row);
  const double square = rest2_[i] + 2 * t * product_[i] + t * t * fed2_[i];
  return std::sqrt(square / static_cast<double>(width_) + epsilon_.value());
}

void Arc::free_of_scale(double t, std::span<float> gradient) const {
  if (!epsilon_) return;
  for (int64_t row = 0; row < targets_; ++row) {
    const auto scale = static_cast<float>(deviation(row, t));
    for (auto i = static_cast<size_t>(row * width_); i < static_cast<size_t>((row + 1) * width_);
         ++i) {
      gradient[i] *= scale;
    }
  }
}

double Arc::s(double t) const {
  if (straight_ || t == 0 || t == 1) return t;
  return (std::atan((t - foot_) / height_) - first_) / (last_ - first_);
}

std::vector<double> Arc::integrate(std::span<const double> s,
                                   std::span<const std::vector<float>> freed) const {
  Points points;
  for (size_t q = 0; q < fine().nodes.size(); ++q) {
    const double x = fine().nodes[q];
    points.s.push_back(x);
    points.t.push_back(t(x));
    points.weight.push_back(fine().weights[q] * slope(x));
  }
  return sum_points(points, s, freed);
}

std::vector<double> Arc::sum(const Quadrature& rule, std::span<const double> s,
                             std::span<const std::vector<float>> freed) const {
  Points points{{}, rule.nodes, rule.weights};
  for (const double t : rule.nodes) points.s.push_back(this->s(t));
  return sum_points(points, s, freed);
}

std::vector<double> Arc::sum_points(const Points& points, std::span<const double> s,
                                    std::span<const std::vector<float>> freed) const {
  const size_t nodes = s.size();
  const size_t count = points.s.size();
  // Lagrange's basis at the points.
  std::vector<double> basis(count * nodes);
  for (size_t q = 0; q < count; ++q) {
    for (size_t i = 0; i < nodes; ++i) {
      double value = 1;
      for (size_t j = 0; j < nodes; ++j) {
        if (j != i) value *= (points.s[q] - s[j]) / (s[i] - s[j]);
      }
      basis[q * nodes + i] = value;
    }
  }
  std::vector<double> result(rest_.size(), 0.0);
  if (!epsilon_) {
    for (size_t n = 0; n < nodes; ++n) {
      double weight = 0;
      for (size_t q = 0; q < count; ++q) weight += points.weight[q] * basis[q * nodes + n];
      for (size_t i = 0; i < result.size(); ++i) {
        result[i] += weight * static_cast<double>(freed[n][i]);
      }
    }
    return result;
  }
  for (int64_t row = 0; row < targets_; ++row) {
    const auto begin = static_cast<size_t>(row * width_);
    const auto end = static_cast<size_t>((row + 1) * width_);
    std::vector<double> along_rest(nodes, 0.0);
    std::vector<double> along_fed(nodes, 0.0);
    for (size_t n = 0; n < nodes; ++n) {
      for (size_t i = begin; i < end; ++i) {
        along_rest[n] += static_cast<double>(freed[n][i]) * rest_[i];
        along_fed[n] += static_cast<double>(freed[n][i]) * fed_[i];
      }
    }
    // J(t)^T g = (g - y (g.y) / (width deviation^2)) / deviation, with y = rest + t fed.
    std::vector<double> of_node(nodes, 0.0);
    double of_rest = 0;
    double of_fed = 0;
    for (size_t q = 0; q < count; ++q) {
      const double at = points.t[q];
      const double weight = points.weight[q];
      const double sd = deviation(row, at);
      double along = 0;
      for (size_t n = 0; n < nodes; ++n) {
        const double value = basis[q * nodes + n];
        of_node[n] += weight / sd * value;
        along += value * (along_rest[n] + at * along_fed[n]);
      }
      const double back = weight * along / (sd * sd * sd * static_cast<double>(width_));
      of_rest -= back;
      of_fed -= back * at;
    }
    for (size_t i = begin; i < end; ++i) {
      double sum = of_rest * rest_[i] + of_fed * fed_[i];
      for (size_t n = 0; n < nodes; ++n) sum += of_node[n] * static_cast<double>(freed[n][i]);
      result[i] = sum;
    }
  }
  return result;
}

std::vector<double> arc_nodes(int64_t n) {
  Quadrature rule = quadrature(Rule::kControlVariate, n);
  rule.nodes.pop_back();  // t = 1
  return rule.nodes;
}

std::vector<double> extended_nodes(const std::vector<double>& given) {
  // The n added nodes are the roots of E of degree n with  integral x (1-x) w(x) E(x) x^j dx = 0
  // for j < n, where w has the given nodes between 0 and 1 as roots (Kronrod 1965, for the weight
  // x (1-x)).
  const size_t degree = given.size();
  const auto n = static_cast<int64_t>(degree);
  const Quadrature exact = quadrature(Rule::kGaussLegendre, 2 * n + 4);
  std::vector<std::vector<double>> a(degree, std::vector<double>(degree, 0.0));
  std::vector<double> b(degree, 0.0);
  for (size_t q = 0; q < exact.nodes.size(); ++q) {
    const double x = exact.nodes[q];
    double weight = exact.weights[q] * (1 - x);
    for (const double node : given) weight *= x - node;  // 0 is one of them
    for (size_t j = 0; j < degree; ++j) {
      const double left = weight * shifted_legendre(static_cast<int64_t>(j), x);
      for (size_t k = 0; k < degree; ++k) {
        a[j][k] += left * shifted_legendre(static_cast<int64_t>(k), x);
      }
      b[j] -= left * shifted_legendre(n, x);
    }
  }
  const std::vector<double> coefficients = solve(a, b);
  const auto extension = [&](double x) {
    double value = shifted_legendre(n, x);
    for (size_t k = 0; k < degree; ++k) {
      value += coefficients[k] * shifted_legendre(static_cast<int64_t>(k), x);
    }
    return value;
  };
  // The roots interlace with the given nodes, the ends included.
  std::vector<double> ends = given;
  ends.push_back(1.0);
  std::vector<double> nodes = given;
  for (size_t i = 0; i + 1 < ends.size(); ++i) {
    double low = ends[i];
    double high = ends[i + 1];
    if (extension(low) * extension(high) > 0) {
      throw InternalError("no Kronrod extension of the rule with " + std::to_string(n + 1) +
                          " nodes");
    }
    const bool rising = extension(low) < 0;
    for (int step = 0; step < 100; ++step) {
      const double middle = 0.5 * (low + high);
      ((extension(middle) < 0) == rising ? low : high) = middle;
    }
    nodes.push_back(0.5 * (low + high));
  }
  std::sort(nodes.begin(), nodes.end());
  return nodes;
}

}  // namespace engram
