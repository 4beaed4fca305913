
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>

#include "attribution/quadrature.h"
#include "cells.h"
#include "panel_rule.h"

namespace engram {
namespace {

// The default rule's choices, measured in docs/performance.md.
/// A gap that the nodes t = 0 and t = 1 leave falls about so far with the control variate: times
/// |dF-dG| / |dF|.
constexpr double kControlledShare = 1.1;
constexpr double kWorthTrying = 2;  ///< times the gap that is allowed
/// A rule's error beside its change from the rule of half the nodes.
constexpr double kErrorPerChange = 0.25;
constexpr int64_t kLargestNested =
    8;  ///< nodes beside t = 1 of the rules that reuse all of the last
/// Times the gap that is allowed: a rule of twice the nodes takes more than this off a larger gap
/// only where F is smooth, and there it is seldom that large.
constexpr double kRough = 30;
/// Radians by which the FFN's sum may turn along the path for a rule on all of it.
constexpr double kLargestTurn = 1;
constexpr int64_t kLargestExtension = 12;
constexpr int64_t kLargestInterpolated = 24;  ///< nodes; more are summed with their weights
constexpr int64_t kFixedSteps = 20;           ///< of the rules that do not adapt

bool is_gauss(Rule rule) {
  return rule == Rule::kGaussLegendre || rule == Rule::kGaussRadau || rule == Rule::kGaussLobatto;
}

class Integration {
 public:
  explicit Integration(const ChunkJob& job)
      : passes_(job.passes),
        config_(job.model.config()),
        options_(job.options.integration),
        cells_(job) {}

  std::vector<Attribution> run() {
    if (options_.interpolate) {
      sum_ = quadrature(options_.rule, options_.steps.value_or(kFixedSteps));
    }
    if (options_.interpolate || options_.rule == Rule::kControlVariate) {
      run_arc_rule();
    } else {
      cells_.run_without();
      run_plain_rule();
    }
    return cells_.take_results();
  }

 private:
  // ---- rules in t -------------------------------------------------------------------------------

  /// Integrates the given cells with a rule in t, or with `on_arc` in the arc's variable.
  void apply_rule(const std::vector<size_t>& which, const Quadrature& rule, bool on_arc) {
    const auto size = static_cast<size_t>(cells_.targets() * config_.d_model);
    for (const size_t index : which) {
      Cell& cell = cells_[index];
      cell.compared = std::move(cell.integrated);
      cell.compared_factor = 1;
      cell.integrated.assign(size, 0.0);
    }
    const auto add = [&](Cell& cell, double s, double weight, std::span<const float> gradient) {
      const double w = on_arc ? weight * cell.arc->slope(s) : weight;
      for (size_t j = 0; j < size; ++j) cell.integrated[j] += w * static_cast<double>(gradient[j]);
    };
    // Nodes in portions, so that memory does not grow with their number.
    constexpr size_t kPortion = 16;
    for (size_t begin = 0; begin < rule.nodes.size(); begin += kPortion) {
      std::vector<Want> wants;
      std::map<double, double> weight;
      for (size_t i = begin; i < std::min(begin + kPortion, rule.nodes.size()); ++i) {
        weight[rule.nodes[i]] = rule.weights[i];
      }
      for (const size_t index : which) {
        Cell& cell = cells_[index];
        for (const auto& [s, w] : weight) {
          if (s == 1) {
            add(cell, s, w, Cells::to_host(cells_.rows_of(cell, cells_.layer_of(cell).gradient)));
            ++cell.shared_nodes;
          } else {
            wants.push_back({index, s, on_arc ? cell.arc->t(s) : s});
            if (!on_arc || s != 0) ++cell.nodes;  // t = 0 is counted where the arcs begin
          }
        }
      }
      cells_.gradients(std::move(wants), Reach::kExact,
                       [&](const Want& want, std::span<const float> g, double /*f*/) {
                         add(cells_[want.cell], want.s, weight.at(want.s), g);
                       });
    }
  }

  void run_plain_rule() {
    std::vector<size_t> open(cells_.size());
    std::iota(open.begin(), open.end(), size_t{0});
    if (options_.steps || !is_gauss(options_.rule)) {
      apply_rule(open, quadrature(options_.rule, options_.steps.value_or(kFixedSteps)), false);
      cells_.judge(adapts());
      return;
    }
    // Rules of twice the nodes, as long as all of them together stay under the cap.
    int64_t left = options_.max_steps;
    const int64_t fewest = options_.rule == Rule::kGaussLobatto ? 2 : 1;
    for (int64_t n = std::max(fewest, std::min<int64_t>(3, left)); !open.empty(); n *= 2) {
      apply_rule(open, quadrature(options_.rule, n), false);
      cells_.judge(adapts());
      std::erase_if(open, [&](size_t i) { return cells_[i].done; });
      left -= n;
      if (2 * n > left) break;
    }
  }

  // ---- the default: rules on the arc ------------------------------------------------------------

  /// From the nodes s and s = 1: the integral over [0, 1], or `summed` over the steps that are
  /// interpolated, if any are.
  std::vector<double> arc_integral(const Cell& cell, std::vector<double> nodes, bool exact,
                                   bool summed = true) const {
    const auto& store = exact ? cell.exact : cell.cheap;
    nodes.push_back(1.0);
    std::vector<std::vector<float>> freed;
    for (const double node : nodes) freed.push_back(store.at(node).gradient);
    return sum_ && summed ? cell.arc->sum(*sum_, nodes, freed) : cell.arc->integrate(nodes, freed);
  }

  /// G integrated with many cheap nodes plus F - G with the few exact ones.
  std::vector<double> controlled_integral(const Cell& cell, const std::vector<double>& few,
                                          const std::vector<double>& many,
                                          bool summed = true) const {
    std::vector<double> result = arc_integral(cell, many, false, summed);
    const std::vector<double> exact = arc_integral(cell, few, true, summed);
    const std::vector<double> cheap = arc_integral(cell, few, false, summed);
    for (size_t i = 0; i < result.size(); ++i) result[i] += exact[i] - cheap[i];
    return result;
  }

  void fetch(const std::vector<size_t>& which, const std::vector<double>& nodes, Reach reach) {
    std::vector<Want> wants;
    for (const size_t index : which) {
      Cell& cell = cells_[index];
      auto& store = reach == Reach::kExact ? cell.exact : cell.cheap;
      for (const double s : nodes) {
        if (store.contains(s)) continue;
        wants.push_back({index, s, cell.arc->t(s)});
        ++(reach == Reach::kExact ? cell.nodes : cell.cheap_nodes);
      }
    }
    cells_.gradients(
        std::move(wants), reach,
        [&](const Want& want, std::span<const float> g, double f) { keep(want, reach, g, f); });
  }

  void keep(const Want& want, Reach reach, std::span<const float> gradient, double f) {
    Cell& cell = cells_[want.cell];
    std::vector<float> rows(gradient.begin(), gradient.end());
    cell.arc->free_of_scale(want.t, rows);
    (reach == Reach::kExact ? cell.exact : cell.cheap)[want.s] = {std::move(rows), f};
  }

  /// F alone at `nodes` and t = 1, compared with the rule before or, if there is none, with that
  /// of half the nodes.
  void plain_level(const std::vector<size_t>& which, const std::vector<double>& nodes) {
    const auto n = static_cast<int64_t>(nodes.size());
    if (n > kLargestInterpolated) {
      apply_rule(which, quadrature(Rule::kControlVariate, n), true);
    } else {
      fetch(which, nodes, Reach::kExact);
      for (const size_t index : which) {
        Cell& cell = cells_[index];
        if (cell.integrated.empty()) {
          const bool halves = n == 4;
          cell.integrated = arc_integral(
              cell, n == 1 ? std::vector<double>() : adaptive_nodes(halves ? 2 : 1), true);
        }
        replace_integral(cell, arc_integral(cell, nodes, true));
        cell.compared_factor = n > 1 ? kErrorPerChange : 1;
        if (sum_) cell.whole = arc_integral(cell, nodes, true, false);
      }
    }
    for (const size_t index : which) {
      cells_[index].level = n;
      cells_[index].controlled = false;
    }
  }

  static void replace_integral(Cell& cell, std::vector<double> integral) {
    cell.compared = std::move(cell.integrated);
    cell.compared_factor = 1;
    cell.integrated = std::move(integral);
  }

  /// The control variate with the exact nodes `few` and the cheap ones `many`, which hold them;
  /// compared with how the same nodes alone do on G, where the better answer is known, scaled by
  /// how large F - G is beside G.
  void controlled_level(const std::vector<size_t>& which, const std::vector<double>& few,
                        const std::vector<double>& many) {
    fetch(which, many, Reach::kTargetsOnly);
    fetch(which, few, Reach::kExact);
    for (const size_t index : which) {
      Cell& cell = cells_[index];
      cell.integrated = controlled_integral(cell, few, many);
      if (sum_) cell.whole = controlled_integral(cell, few, many, false);
      const std::vector<double> better = arc_integral(cell, many, false);
      const std::vector<double> worse = arc_integral(cell, few, false);
      cell.compared.resize(better.size());
      double ratio = 0;
      for (const auto& [s, f] : cell.exact) {
        if (!cell.cheap.contains(s)) continue;
        ratio = std::max(ratio, relative(f.gradient, cell.cheap.at(s).gradient, false));
      }
      for (size_t i = 0; i < better.size(); ++i) {
        cell.compared[i] = cell.integrated[i] + 3 * ratio * (worse[i] - better[i]);
      }
      cell.compared_factor = 1;
      cell.level = static_cast<int64_t>(few.size());
      cell.controlled = true;
    }
  }

  /// F at `few` nodes and their extension, compared with the few alone: what controlled_level()
  /// comes to where F is G.
  void extended_level(const std::vector<size_t>& which, const std::vector<double>& few) {
    const std::vector<double> many = extended_nodes(few);
    fetch(which, many, Reach::kExact);
    for (const size_t index : which) {
      Cell& cell = cells_[index];
      cell.integrated = arc_integral(cell, few, true);
      replace_integral(cell, arc_integral(cell, many, true));
      cell.compared_factor = kErrorPerChange;
      cell.level = static_cast<int64_t>(many.size());
    }
  }

  /// Panels are for causal models with pre-norm layers, where the path is a line and a node a row.
  [[nodiscard]] bool may_panel() const {
    return !sum_ && cells_.only_targets_move() && config_.norm == NormPlacement::kPre;
  }
  /// Whether the sum turns so far that no rule on the whole path can be believed.
  [[nodiscard]] bool turns_far(const Cell& cell) const {
    return may_panel() && cell.arc->turn() > kLargestTurn;
  }
  /// Whether the next rule on the whole path has no chance, so that panels take its place.
  [[nodiscard]] bool wants_panels(const Cell& cell) const {
    if (!may_panel()) return false;
    return cell.panels || turns_far(cell) || cell.level >= kLargestNested ||
           cells_.last_gap(cell) > kRough * options_.tolerance * cells_.gap_scale(cell);
  }

  /// |f - g| / |f|, or / |g|.
  static double relative(const std::vector<float>& f, const std::vector<float>& g, bool of_f) {
    double difference = 0;
    double size = 0;
    for (size_t i = 0; i < f.size(); ++i) {
      const double d = static_cast<double>(f[i]) - static_cast<double>(g[i]);
      const double x = static_cast<double>(of_f ? f[i] : g[i]);
      difference += d * d;
      size += x * x;
    }
    return size > 0 ? std::sqrt(difference / size) : 0.0;
  }

  /// In the two top layers F = G: other rows that moved there are never looked at again. And so it
  /// is everywhere where no other row moves.
  [[nodiscard]] bool control_is_empty(const Cell& cell) const {
    return cell.layer >= config_.layers - 2 || cells_.only_targets_move();
  }

  /// The arc rule has options.steps nodes; interpolation adapts, the steps are those of its sum.
  [[nodiscard]] bool fixed_nodes() const { return options_.steps && !options_.interpolate; }

  /// The nodes t = 0 and t = 1, which every cell has: F(0) is computed with its gradient.
  void begin_arcs() {
    std::vector<at::Tensor> cheap_at_one;  // of G, where that is not F
    if (!cells_.only_targets_move()) cheap_at_one = passes_.cheap_gradient_at_one(cells_.base());
    std::vector<Want> wants;
    for (size_t index = 0; index < cells_.size(); ++index) {
      Cell& cell = cells_[index];
      cell.arc.emplace(Cells::to_host(cells_.rows_of(cell, cells_.layer_of(cell).resting)),
                       Cells::to_host(cells_.rows_of(cell, cells_.layer_of(cell).fed)),
                       cells_.targets(),
                       config_.norm == NormPlacement::kPost ? std::optional(config_.norm_epsilon)
                                                            : std::nullopt);
      const std::vector<float> exact =
          Cells::to_host(cells_.rows_of(cell, cells_.layer_of(cell).gradient));
      keep({index, 1, 1}, Reach::kExact, exact, cells_.value(cell));
      if (!cheap_at_one.empty()) {
        const std::vector<float> cheap =
            Cells::to_host(cells_.rows_of(cell, cheap_at_one[static_cast<size_t>(cell.layer)]));
        cell.ratio = relative(exact, cheap, true);
        keep({index, 1, 1}, Reach::kTargetsOnly, cheap, cells_.value(cell));
      }
      wants.push_back({index, 0, 0});
      ++cell.nodes;
    }
    cells_.gradients(std::move(wants), Reach::kExact,
                     [&](const Want& want, std::span<const float> g, double f) {
                       keep(want, Reach::kExact, g, f);
                       cells_.set_without(want.cell, f);
                     });
  }

  /// Whether the control variate should close the gap of a cell that its exact nodes alone leave.
  [[nodiscard]] bool control_pays(const Cell& cell, double gap) const {
    return !control_is_empty(cell) &&
           kControlledShare * cell.ratio * gap <
               kWorthTrying * options_.tolerance * cells_.gap_scale(cell);
  }

  /// The nodes of an adaptive rule beside t = 1: of 1, 2, 4 and 8 each hold those before them.
  static std::vector<double> adaptive_nodes(int64_t n) {
    static const std::map<int64_t, std::vector<double>> nested = [] {
      std::map<int64_t, std::vector<double>> rules{{1, ends()}};
      for (int64_t last = 1; last < kLargestNested; last *= 2) {
        rules[2 * last] = extended_nodes(rules[last]);
      }
      return rules;
    }();
    const auto found = nested.find(n);
    return found == nested.end() ? arc_nodes(n) : found->second;
  }
  static std::vector<double> ends() { return {0.0}; }

  void run_arc_rule() {
    begin_arcs();
    std::vector<size_t> all(cells_.size());
    std::iota(all.begin(), all.end(), size_t{0});
    if (fixed_nodes()) {
      const std::vector<double> nodes = arc_nodes(*options_.steps);
      if (*options_.steps > kLargestExtension) {
        plain_level(all, nodes);
      } else if (cells_.only_targets_move()) {
        extended_level(all, nodes);
      } else {
        controlled_level(all, nodes, extended_nodes(nodes));
      }
      cells_.judge(adapts());
      return;
    }
    constexpr int64_t kControlNodes = 4;
    // What each open cell does next: its exact nodes, with or without the control variate.
    std::map<std::pair<int64_t, bool>, std::vector<size_t>> next;
    std::vector<size_t> panelled;
    for (const size_t index : all) {
      Cell& cell = cells_[index];
      if (turns_far(cell) && take_panels(cells_, cell, options_)) {
        panelled.push_back(index);
        continue;
      }
      const double gap = cells_.gap_of(cell, arc_integral(cell, ends(), true, false));
      const bool control = control_pays(cell, gap);
      // F = G costs a row a node: four of them nearly always do. Where it is so in every layer,
      // they are all that the prompt costs, and two of them often do.
      const bool cheap = control_is_empty(cell) && !cells_.only_targets_move();
      const int64_t wanted = control ? 1 : (cheap ? 4 : 2);
      next[{std::min(wanted, std::max<int64_t>(options_.max_steps, 1)), control}].push_back(index);
    }
    for (;;) {
      for (const auto& [rule, which] : next) {
        const auto& [n, control] = rule;
        if (control) {
          controlled_level(which, adaptive_nodes(n), adaptive_nodes(kControlNodes));
        } else {
          plain_level(which, adaptive_nodes(n));
        }
      }
      if (!panelled.empty()) integrate_panels(cells_, panelled);
      cells_.judge(adapts());
      next.clear();
      panelled.clear();
      std::vector<size_t> stepwise;
      for (const size_t index : all) {
        Cell& cell = cells_[index];
        if (cell.done || cell.exhausted) continue;
        if (wants_panels(cell) && take_panels(cells_, cell, options_)) {
          panelled.push_back(index);
          continue;
        }
        if (cell.panels) {
          cell.exhausted = true;
          continue;
        }
        if (!cell.controlled && cell.level == 2 && control_pays(cell, cells_.last_gap(cell))) {
          next[{2, true}].push_back(index);
          continue;
        }
        const int64_t more = 2 * cell.level;
        const int64_t fresh = std::ranges::count_if(
            adaptive_nodes(more), [&](double s) { return !cell.exact.contains(s); });
        if (sum_ && more >= static_cast<int64_t>(sum_->nodes.size())) {
          cell.stepwise = true;  // no dearer, and sure
          stepwise.push_back(index);
        } else if (cell.nodes + fresh > options_.max_steps) {
          cell.exhausted = true;
        } else {
          next[{more, false}].push_back(index);
        }
      }
      if (!stepwise.empty()) {
        apply_rule(stepwise, *sum_, false);
        if (next.empty()) cells_.judge(adapts());
      }
      if (next.empty() && panelled.empty()) break;
    }
  }

  /// Whether the rule takes more nodes until its scores settle.
  [[nodiscard]] bool adapts() const {
    return options_.interpolate ||
           (!options_.steps && (options_.rule == Rule::kControlVariate || is_gauss(options_.rule)));
  }

  Passes& passes_;
  const ModelConfig& config_;
  const IntegrationOptions& options_;
  Cells cells_;
  std::optional<Quadrature> sum_;  ///< of a fixed rule, whose steps are interpolated
};

}  // namespace

std::vector<Attribution> integrate(const ChunkJob& job) { return Integration(job).run(); }

}  // namespace engram
