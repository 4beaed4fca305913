#include "panels.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <utility>

#include "attribution/quadrature.h"

namespace engram {
namespace {

constexpr int64_t kFine = 6;    ///< nodes that the polynomial of a panel goes through
constexpr int64_t kCoarse = 4;  ///< and that of the rule it is compared with

/// Exact for the polynomials through kFine nodes.
const Quadrature& of_panel() {
  static const Quadrature rule = quadrature(Rule::kGaussLegendre, kFine / 2);
  return rule;
}

}  // namespace

Panels::Panels(Arc path, std::vector<float> fed, const std::vector<double>& known)
    : path_(std::move(path)), fed_(std::move(fed)) {
  const double turn = path_.turn();
  const double longest = turn > 0 ? std::min(kLongestPanel, kLargestTurn / turn) : kLongestPanel;
  for (const double t : known) {
    const double end = path_.s(t);
    if (!s_.empty()) {
      const double begin = s_.back();
      int64_t parts = 1;
      while (end - begin > static_cast<double>(parts) * longest) parts *= 2;
      for (int64_t part = 1; part < parts; ++part) {
        const double share = static_cast<double>(part) / static_cast<double>(parts);
        s_.push_back(begin + share * (end - begin));
        t_.push_back(path_.t(s_.back()));
      }
    }
    s_.push_back(end);
    t_.push_back(t);
  }
}

void Panels::add_weights(int64_t i, int64_t order, std::vector<double>& weights) const {
  const auto count = static_cast<int64_t>(s_.size());
  const int64_t size = std::min(order, count);
  const int64_t first = std::clamp<int64_t>(i - (order / 2 - 1), 0, count - size);
  const auto at = [&](int64_t j) { return s_[static_cast<size_t>(j)]; };
  const double begin = at(i);
  const double width = at(i + 1) - begin;
  for (size_t q = 0; q < of_panel().nodes.size(); ++q) {
    const double s = begin + width * of_panel().nodes[q];
    for (int64_t j = first; j < first + size; ++j) {
      double value = width * of_panel().weights[q];
      for (int64_t other = first; other < first + size; ++other) {
        if (other != j) value *= (s - at(other)) / (at(j) - at(other));
      }
      weights[static_cast<size_t>(j)] += value;
    }
  }
}

void Panels::sum(const std::map<double, PathNode>& known) {
  const size_t count = t_.size();
  std::vector<const PathNode*> nodes;
  std::vector<double> slope;
  std::vector<double> along;  // dF/ds
  for (size_t i = 0; i < count; ++i) {
    nodes.push_back(&known.at(t_[i]));
    slope.push_back(path_.slope(s_[i]));
    double product = 0;
    for (size_t j = 0; j < fed_.size(); ++j) {
      product += static_cast<double>(nodes[i]->gradient[j]) * static_cast<double>(fed_[j]);
    }
    along.push_back(slope[i] * product);
  }
  std::vector<double> fine(count, 0.0);
  std::vector<double> coarse(count, 0.0);
  gap_.assign(count - 1, 0.0);
  way_ = 0;
  for (size_t i = 0; i + 1 < count; ++i) {
    std::vector<double> weights(count, 0.0);
    add_weights(static_cast<int64_t>(i), kFine, weights);
    add_weights(static_cast<int64_t>(i), kCoarse, coarse);
    double integral = 0;
    for (size_t n = 0; n < count; ++n) {
      integral += weights[n] * along[n];
      fine[n] += weights[n];
    }
    const double step = nodes[i + 1]->f - nodes[i]->f;
    gap_[i] = std::fabs(integral - step);
    way_ += std::fabs(step);
  }
  integral_.assign(fed_.size(), 0.0);
  coarse_.assign(fed_.size(), 0.0);
  for (size_t n = 0; n < count; ++n) {
    for (size_t j = 0; j < fed_.size(); ++j) {
      const double g = slope[n] * static_cast<double>(nodes[n]->gradient[j]);
      integral_[j] += fine[n] * g;
      coarse_[j] += coarse[n] * g;
    }
  }
}

double Panels::misfit() const {
  const double gaps = std::accumulate(gap_.begin(), gap_.end(), 0.0);
  return way_ > 0 ? gaps / way_ : 0.0;
}

bool Panels::split(int64_t most) {
  const size_t halved = static_cast<size_t>(
      std::clamp<int64_t>(most, 0, std::min<int64_t>(kHalvedAtOnce, std::ssize(gap_))));
  std::vector<size_t> order(gap_.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return gap_[a] > gap_[b]; });
  for (size_t i = 0; i < halved; ++i) s_.push_back(0.5 * (s_[order[i]] + s_[order[i] + 1]));
  for (size_t i = s_.size() - halved; i < s_.size(); ++i) t_.push_back(path_.t(s_[i]));
  std::ranges::sort(s_);
  std::ranges::sort(t_);
  return halved > 0;
}

}  // namespace engram
