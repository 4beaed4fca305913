#include "panels.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>

namespace engram {
namespace {

constexpr int64_t kNodesOfPanel = 5;
constexpr int64_t kNodesOfSplit = 4;  ///< between those that a panel has
constexpr std::array<double, kNodesOfPanel> kBoole{7. / 90, 32. / 90, 12. / 90, 32. / 90, 7. / 90};
constexpr std::array<double, kNodesOfPanel> kSimpsonTwice{1. / 12, 4. / 12, 2. / 12, 4. / 12,
                                                          1. / 12};
constexpr double kShortestFirst = 1.0 / 1024;  ///< length from which on none is cut for its turn

}  // namespace

double Panels::Panel::node(int64_t i) const {
  return begin + (end - begin) * (static_cast<double>(i) / (kNodesOfPanel - 1));
}

Panels::Panels(std::vector<float> fed, const Turn& turn) : fed_(std::move(fed)) { cut({}, turn); }

void Panels::cut(const Panel& panel, const Turn& turn) {
  if (turn(panel.begin, panel.end) <= kLargestTurn || panel.end - panel.begin <= kShortestFirst) {
    panels_.push_back(panel);
    return;
  }
  const double middle = panel.node(kNodesOfPanel / 2);
  cut({panel.begin, middle}, turn);
  cut({middle, panel.end}, turn);
}

std::vector<double> Panels::nodes() const {
  std::vector<double> nodes{0.0};
  for (const Panel& panel : panels_) {
    for (int64_t i = 1; i < kNodesOfPanel; ++i) nodes.push_back(panel.node(i));
  }
  return nodes;
}

void Panels::sum(const std::map<double, PathNode>& known) {
  integral_.assign(fed_.size(), 0.0);
  coarse_.assign(fed_.size(), 0.0);
  for (Panel& panel : panels_) {
    double along = 0;
    for (int64_t i = 0; i < kNodesOfPanel; ++i) {
      const std::vector<float>& gradient = known.at(panel.node(i)).gradient;
      const double width = panel.end - panel.begin;
      const double fine = width * kBoole[static_cast<size_t>(i)];
      const double coarse = width * kSimpsonTwice[static_cast<size_t>(i)];
      for (size_t j = 0; j < fed_.size(); ++j) {
        const auto g = static_cast<double>(gradient[j]);
        integral_[j] += fine * g;
        coarse_[j] += coarse * g;
        along += fine * g * static_cast<double>(fed_[j]);
      }
    }
    panel.gap = std::fabs(along - (known.at(panel.end).f - known.at(panel.begin).f));
  }
}

double Panels::gap() const {
  double sum = 0;
  for (const Panel& panel : panels_) sum += panel.gap;
  return sum;
}

bool Panels::split(double allowed, int64_t most) {
  const auto affordable = static_cast<size_t>(most / kNodesOfSplit);
  if (affordable == 0) return false;
  std::vector<size_t> order(panels_.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order,
                           [&](size_t a, size_t b) { return panels_[a].gap > panels_[b].gap; });
  std::vector<bool> halved(panels_.size());
  double rest = gap();
  for (size_t i = 0; i < std::min(affordable, order.size()) && (i == 0 || rest > allowed); ++i) {
    halved[order[i]] = true;
    rest -= panels_[order[i]].gap;
  }
  std::vector<Panel> panels;
  for (size_t i = 0; i < panels_.size(); ++i) {
    const Panel& panel = panels_[i];
    if (!halved[i]) {
      panels.push_back(panel);
      continue;
    }
    const double middle = panel.node(kNodesOfPanel / 2);
    panels.push_back({panel.begin, middle});
    panels.push_back({middle, panel.end});
  }
  panels_ = std::move(panels);
  return true;
}

}  // namespace engram
