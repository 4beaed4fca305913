#include "integrate.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>
#include <map>
#include <numeric>
#include <optional>

#include "arc.h"
#include "engram/attribution/quadrature.h"
#include "engram/error.h"
#include "engram/model/product.h"

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
constexpr int64_t kLargestExtension = 12;
constexpr int64_t kLargestInterpolated = 24;  ///< nodes; more are summed with their weights
constexpr int64_t kFixedSteps = 20;           ///< of the rules that do not adapt

bool is_gauss(Rule rule) {
  return rule == Rule::kGaussLegendre || rule == Rule::kGaussRadau || rule == Rule::kGaussLobatto;
}

/// One (prompt, layer) on its way to convergence.
struct Cell {
  int64_t prompt = 0;
  int64_t layer = 0;
  std::vector<double> integrated;  ///< [k*d_model] of the last rule
  std::vector<double> compared;    ///< of the rule that it is compared with, empty: none
  double compared_factor = 1;      ///< error estimate = this times the movement
  int64_t nodes = 0;               ///< own ones
  int64_t shared_nodes = 0;
  int64_t cheap_nodes = 0;
  int64_t level = 0;        ///< exact nodes of the last rule, t = 1 not counted
  bool controlled = false;  ///< that rule has the control variate
  bool done = false;
  bool exhausted = false;
  // Arc rules only.
  double ratio = 0;           ///< largest seen |dF-dG| / |dF|
  std::vector<double> whole;  ///< the integral, where `integrated` is an interpolated sum
  bool stepwise = false;      ///< summed with a node at every step instead
  std::optional<Arc> arc;
  std::map<double, std::vector<float>> exact;  ///< s -> freed gradient of F
  std::map<double, std::vector<float>> cheap;  ///< s -> freed gradient of G
};

/// A gradient that is wanted.
struct Want {
  size_t cell = 0;
  double s = 0;  ///< node in the rule's own variable
  double t = 0;
};

class Integration {
 public:
  Integration(Passes& passes, const Model& model, const Chunk& chunk,
              const AttributionOptions& options, int64_t bytes)
      : passes_(passes),
        model_(model),
        config_(model.config()),
        options_(options),
        bytes_(bytes),
        base_(passes.run_base(chunk, Backward::kGradient)),
        k_(chunk.targets) {}

  std::vector<Attribution> run() {
    results_ = begin_attributions(model_, base_);
    for (int64_t layer = 0; layer < config_.layers; ++layer) {
      for (int64_t prompt = 0; prompt < base_.chunk.prompts; ++prompt) {
        Cell cell;
        cell.prompt = prompt;
        cell.layer = layer;
        cells_.push_back(std::move(cell));
      }
    }
    if (options_.interpolate) {
      sum_ = quadrature(options_.rule, options_.steps.value_or(kFixedSteps));
    }
    if (options_.interpolate || options_.rule == Rule::kControlVariate) {
      run_arc_rule();
    } else {
      without_ = without_neurons(passes_, model_, base_, bytes_);
      run_plain_rule();
    }
    return std::move(results_);
  }

 private:
  [[nodiscard]] double delta(const Cell& cell) const {
    return base_.f[static_cast<size_t>(cell.prompt)] -
           without_[static_cast<size_t>(cell.layer * base_.chunk.prompts + cell.prompt)];
  }
  [[nodiscard]] const Base::Layer& layer_of(const Cell& cell) const {
    return base_.layers[static_cast<size_t>(cell.layer)];
  }
  /// Target rows of a cell inside a [prompts*k, width] tensor.
  [[nodiscard]] at::Tensor rows_of(const Cell& cell, const at::Tensor& all) const {
    return all.narrow(0, cell.prompt * k_, k_);
  }
  [[nodiscard]] static std::vector<float> to_host(const at::Tensor& rows) {
    const at::Tensor host = rows.to(at::kCPU).contiguous();
    const auto* data = host.const_data_ptr<float>();
    return {data, data + host.numel()};
  }

  /// Computes gradients in batches; `take(want, rows, f)` receives each, [k*d_model] on the CPU,
  /// and F or G there.
  template <typename Take>
  void gradients(std::vector<Want> wants, Reach reach, const Take& take) {
    std::stable_sort(wants.begin(), wants.end(), [&](const Want& a, const Want& b) {
      return cells_[a.cell].layer < cells_[b.cell].layer;
    });
    std::vector<int64_t> bytes;
    const Reach moving = Passes::moving(config_, base_.chunk, reach);
    for (const Want& want : wants) {
      const Cell& cell = cells_[want.cell];
      bytes.push_back(Passes::item_bytes(config_, base_.chunk.tokens(cell.prompt), k_, cell.layer,
                                         moving, /*gradient=*/true));
    }
    in_parts(bytes, bytes_, [&](int64_t first, int64_t count) {
      Items items;
      items.sum = at::empty({count * k_, config_.d_model}, base_.layers.front().fed.options());
      for (int64_t i = 0; i < count; ++i) {
        const Want& want = wants[static_cast<size_t>(first + i)];
        const Cell& cell = cells_[want.cell];
        items.prompt.push_back(cell.prompt);
        items.layer.push_back(cell.layer);
        at::Tensor row = items.sum.narrow(0, i * k_, k_);
        at::add_out(row, rows_of(cell, layer_of(cell).resting), rows_of(cell, layer_of(cell).fed),
                    want.t);
      }
      const Outcome outcome = passes_.run(base_, items, reach, /*gradient=*/true);
      const at::Tensor host = outcome.gradient.to(at::kCPU).contiguous();
      const auto* data = host.const_data_ptr<float>();
      const int64_t size = k_ * config_.d_model;
      for (int64_t i = 0; i < count; ++i) {
        take(wants[static_cast<size_t>(first + i)],
             std::span<const float>(data + i * size, static_cast<size_t>(size)),
             outcome.f[static_cast<size_t>(i)]);
      }
    });
  }

  // ---- rules in t -------------------------------------------------------------------------------

  /// Integrates the given cells with a rule in t, or with `on_arc` in the arc's variable.
  void apply_rule(const std::vector<size_t>& which, const Quadrature& rule, bool on_arc) {
    const auto size = static_cast<size_t>(k_ * config_.d_model);
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
            add(cell, s, w, to_host(rows_of(cell, layer_of(cell).gradient)));
            ++cell.shared_nodes;
          } else {
            wants.push_back({index, s, on_arc ? cell.arc->t(s) : s});
            if (!on_arc || s != 0) ++cell.nodes;  // t = 0 is counted where the arcs begin
          }
        }
      }
      gradients(std::move(wants), Reach::kExact,
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
      judge();
      return;
    }
    // Rules of twice the nodes, as long as all of them together stay under the cap.
    int64_t left = options_.max_steps;
    const int64_t fewest = options_.rule == Rule::kGaussLobatto ? 2 : 1;
    for (int64_t n = std::max(fewest, std::min<int64_t>(3, left)); !open.empty(); n *= 2) {
      apply_rule(open, quadrature(options_.rule, n), false);
      judge();
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
    for (const double node : nodes) freed.push_back(store.at(node));
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
    gradients(
        std::move(wants), reach,
        [&](const Want& want, std::span<const float> g, double /*f*/) { keep(want, reach, g); });
  }

  void keep(const Want& want, Reach reach, std::span<const float> gradient) {
    Cell& cell = cells_[want.cell];
    std::vector<float> rows(gradient.begin(), gradient.end());
    cell.arc->free_of_scale(want.t, rows);
    (reach == Reach::kExact ? cell.exact : cell.cheap)[want.s] = std::move(rows);
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
        if (cell.cheap.contains(s)) ratio = std::max(ratio, relative(f, cell.cheap.at(s), false));
      }
      for (size_t i = 0; i < better.size(); ++i) {
        cell.compared[i] = cell.integrated[i] + 3 * ratio * (worse[i] - better[i]);
      }
      cell.compared_factor = 1;
      cell.level = static_cast<int64_t>(few.size());
      cell.controlled = true;
    }
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
    return cell.layer >= config_.layers - 2 ||
           Passes::moving(config_, base_.chunk, Reach::kExact) == Reach::kTargetsOnly;
  }

  /// The arc rule has options.steps nodes; interpolation adapts, the steps are those of its sum.
  [[nodiscard]] bool fixed_nodes() const { return options_.steps && !options_.interpolate; }

  /// The nodes t = 0 and t = 1, which every cell has: F(0) is computed with its gradient.
  void begin_arcs() {
    const std::vector<at::Tensor> cheap_at_one = passes_.cheap_gradient_at_one(base_);
    std::vector<Want> wants;
    for (size_t index = 0; index < cells_.size(); ++index) {
      Cell& cell = cells_[index];
      cell.arc.emplace(to_host(rows_of(cell, layer_of(cell).resting)),
                       to_host(rows_of(cell, layer_of(cell).fed)), k_,
                       config_.norm == NormPlacement::kPost ? std::optional(config_.norm_epsilon)
                                                            : std::nullopt);
      const std::vector<float> exact = to_host(rows_of(cell, layer_of(cell).gradient));
      const std::vector<float> cheap =
          to_host(rows_of(cell, cheap_at_one[static_cast<size_t>(cell.layer)]));
      cell.ratio = relative(exact, cheap, true);
      keep({index, 1, 1}, Reach::kExact, exact);
      keep({index, 1, 1}, Reach::kTargetsOnly, cheap);
      wants.push_back({index, 0, 0});
      ++cell.nodes;
    }
    without_.resize(cells_.size());
    gradients(std::move(wants), Reach::kExact,
              [&](const Want& want, std::span<const float> g, double f) {
                keep(want, Reach::kExact, g);
                without_[want.cell] = f;
              });
  }

  /// Whether the control variate should close the gap of a cell that its exact nodes alone leave.
  [[nodiscard]] bool control_pays(const Cell& cell, double gap) const {
    return !control_is_empty(cell) && kControlledShare * cell.ratio * gap <
                                          kWorthTrying * options_.tolerance * gap_scale(cell);
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
      if (*options_.steps <= kLargestExtension) {
        controlled_level(all, nodes, extended_nodes(nodes));
      } else {
        plain_level(all, nodes);
      }
      judge();
      return;
    }
    constexpr int64_t kControlNodes = 4;
    // What each open cell does next: its exact nodes, with or without the control variate.
    std::map<std::pair<int64_t, bool>, std::vector<size_t>> next;
    for (const size_t index : all) {
      const Cell& cell = cells_[index];
      const double gap = gap_of(cell, arc_integral(cell, ends(), true, false));
      const bool control = control_pays(cell, gap);
      // F = G costs a row a node: four of them nearly always do.
      const int64_t wanted = control ? 1 : (control_is_empty(cell) ? 4 : 2);
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
      judge();
      next.clear();
      std::vector<size_t> stepwise;
      for (const size_t index : all) {
        Cell& cell = cells_[index];
        if (cell.done || cell.exhausted) continue;
        if (!cell.controlled && cell.level == 2 && control_pays(cell, last_gap(cell))) {
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
        if (next.empty()) judge();
      }
      if (next.empty()) break;
    }
  }

  // ---- scores and stopping ----------------------------------------------------------------------

  /// The gap of an integral at a cell's FFN sum: its scores add up to its product with what the
  /// neurons add there.
  [[nodiscard]] double gap_of(const Cell& cell, const std::vector<double>& integral) const {
    const std::vector<float> fed = to_host(rows_of(cell, layer_of(cell).fed));
    double sum = 0;
    for (size_t i = 0; i < fed.size(); ++i) sum += integral[i] * static_cast<double>(fed[i]);
    return std::fabs(sum - delta(cell));
  }

  [[nodiscard]] double last_gap(const Cell& cell) const {
    return gap_of(cell, cell.whole.empty() ? cell.integrated : cell.whole);
  }

  /// What a cell's gap is compared with: |delta|, or where that nearly vanishes a thousandth of F's
  /// scale, which is P itself for the probability; logits and log P have their own unit.
  [[nodiscard]] double gap_scale(const Cell& cell) const {
    const bool probability = options_.target == Target::kProbability && k_ == 1;
    const double unit = probability ? base_.p[static_cast<size_t>(cell.prompt)] : 1.0;
    return std::max(std::fabs(delta(cell)), 1e-3 * unit);
  }

  /// Scores of all cells, and which are done (METHOD section 2, "when to stop").
  void judge() {
    const int64_t prompts = base_.chunk.prompts;
    std::vector<double> movement(cells_.size(), 0.0);
    for (int64_t layer = 0; layer < config_.layers; ++layer) {
      // Rows: each open cell's integral, then its comparison.
      std::vector<size_t> open;
      for (int64_t prompt = 0; prompt < prompts; ++prompt) {
        const auto index = static_cast<size_t>(layer * prompts + prompt);
        if (!cells_[index].done && !cells_[index].exhausted) open.push_back(index);
      }
      if (open.empty()) continue;
      // Rows: each open cell's integral, then where it is compared how far it moved.
      std::vector<size_t> compared;
      std::ranges::copy_if(open, std::back_inserter(compared),
                           [&](size_t index) { return !cells_[index].compared.empty(); });
      const auto count = static_cast<int64_t>(open.size());
      const auto all = static_cast<int64_t>(open.size() + compared.size());
      at::Tensor rows = at::empty({all * k_, config_.d_model}, at::kFloat);
      std::vector<int64_t> activation_rows;
      auto* data = rows.mutable_data_ptr<float>();
      const auto add = [&](const Cell& cell, bool moved) {
        for (size_t at = 0; at < static_cast<size_t>(k_ * config_.d_model); ++at) {
          *data++ = static_cast<float>(moved ? cell.compared[at] - cell.integrated[at]
                                             : cell.integrated[at]);
        }
        for (int64_t j = 0; j < k_; ++j) activation_rows.push_back(cell.prompt * k_ + j);
      };
      for (const size_t index : open) add(cells_[index], false);
      for (const size_t index : compared) add(cells_[index], true);
      const at::Tensor activations = base_.layers[static_cast<size_t>(layer)].a.index_select(
          0, at::tensor(activation_rows, at::kLong).to(model_.device()));
      const at::Tensor scores =
          scores_of(model_, layer, rows.to(model_.device()), activations, k_).to(at::kCPU);
      for (int64_t i = 0; i < all; ++i) {
        const at::Tensor row = scores.select(0, i);
        if (i >= count) {
          movement[compared[static_cast<size_t>(i - count)]] =
              static_cast<double>(row.abs().max().item<float>());
          continue;
        }
        const int64_t prompt = cells_[open[static_cast<size_t>(i)]].prompt;
        results_[static_cast<size_t>(prompt)].scores.select(0, layer).copy_(row);
      }
    }
    for (int64_t prompt = 0; prompt < prompts; ++prompt) {
      Attribution& result = results_[static_cast<size_t>(prompt)];
      const auto largest = static_cast<double>(result.scores.abs().max().item<float>());
      for (int64_t layer = 0; layer < config_.layers; ++layer) {
        const auto index = static_cast<size_t>(layer * prompts + prompt);
        Cell& cell = cells_[index];
        if (cell.done || cell.exhausted) continue;
        LayerReport& report = result.layers[static_cast<size_t>(layer)];
        report.delta = delta(cell);
        report.sum = result.scores.select(0, layer).sum(at::kDouble).item<double>();
        report.gap = std::fabs(report.sum - report.delta);
        report.nodes = cell.nodes + cell.shared_nodes;
        report.shared_nodes = cell.shared_nodes;
        report.cheap_nodes = cell.cheap_nodes;
        const bool compares = !cell.compared.empty() && !cell.stepwise;
        report.estimated_error = compares ? cell.compared_factor * movement[index]
                                          : std::numeric_limits<double>::quiet_NaN();
        const double gap = cell.whole.empty() ? report.gap : gap_of(cell, cell.whole);
        const bool gap_closed = cell.stepwise || gap < options_.tolerance * gap_scale(cell);
        const bool settled =
            compares ? report.estimated_error < options_.tolerance * largest || largest == 0 : true;
        const bool adaptive = options_.interpolate ||
                              (!options_.steps &&
                               (options_.rule == Rule::kControlVariate || is_gauss(options_.rule)));
        report.converged = cell.stepwise || (gap_closed && settled && (compares || !adaptive));
        cell.done = report.converged;
      }
    }
  }

  Passes& passes_;
  const Model& model_;
  const ModelConfig& config_;
  const AttributionOptions& options_;
  int64_t bytes_;
  Base base_;
  int64_t k_;
  std::vector<Cell> cells_;  ///< [layers * prompts]
  std::vector<double> without_;
  std::vector<Attribution> results_;
  std::optional<Quadrature> sum_;  ///< of a fixed rule, whose steps are interpolated
};

}  // namespace

std::vector<Attribution> begin_attributions(const Model& model, const Base& base) {
  const ModelConfig& config = model.config();
  std::vector<Attribution> results;
  for (int64_t prompt = 0; prompt < base.chunk.prompts; ++prompt) {
    Attribution result;
    result.scores = at::zeros({config.layers, config.d_ff}, at::kFloat);
    result.activations = at::empty({config.layers, config.d_ff}, at::kFloat);
    for (int64_t layer = 0; layer < config.layers; ++layer) {
      const at::Tensor rows = base.layers[static_cast<size_t>(layer)].a.narrow(
          0, prompt * base.chunk.targets, base.chunk.targets);
      result.activations.select(0, layer).copy_(rows.mean(0));
    }
    result.p = base.p[static_cast<size_t>(prompt)];
    result.f = base.f[static_cast<size_t>(prompt)];
    for (int64_t j = 0; j < base.chunk.targets; ++j) {
      const kernels::TokenAnswer& token =
          base.answers[static_cast<size_t>(prompt * base.chunk.targets + j)];
      const bool finite = std::isfinite(token.log_p);
      result.rank = std::max(result.rank, finite ? 1 + token.larger : config.vocabulary);
    }
    result.layers.resize(static_cast<size_t>(config.layers));
    results.push_back(std::move(result));
  }
  return results;
}

std::vector<double> without_neurons(Passes& passes, const Model& model, const Base& base,
                                    int64_t bytes) {
  const ModelConfig& config = model.config();
  const int64_t k = base.chunk.targets;
  const Reach moving = Passes::moving(config, base.chunk, Reach::kExact);
  std::vector<int64_t> of_item;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    for (int64_t prompt = 0; prompt < base.chunk.prompts; ++prompt) {
      of_item.push_back(Passes::item_bytes(config, base.chunk.tokens(prompt), k, layer, moving,
                                           /*gradient=*/false));
    }
  }
  std::vector<double> result(of_item.size());
  in_parts(of_item, bytes, [&](int64_t first, int64_t count) {
    Items items;
    std::vector<at::Tensor> sums;
    for (int64_t i = first; i < first + count; ++i) {
      const int64_t prompt = i % base.chunk.prompts;
      const int64_t layer = i / base.chunk.prompts;
      items.prompt.push_back(prompt);
      items.layer.push_back(layer);
      sums.push_back(base.layers[static_cast<size_t>(layer)].resting.narrow(0, prompt * k, k));
    }
    items.sum = at::cat(sums);
    const Outcome outcome = passes.run(base, items, Reach::kExact, /*gradient=*/false);
    std::copy(outcome.f.begin(), outcome.f.end(), result.begin() + first);
  });
  return result;
}

void in_parts(std::span<const int64_t> of_item, int64_t bytes,
              const std::function<void(int64_t, int64_t)>& work) {
  const auto total = static_cast<int64_t>(of_item.size());
  const auto bytes_of = [&](int64_t i) { return of_item[static_cast<size_t>(i)]; };
  int64_t all = 0;
  for (int64_t i = 0; i < total; ++i) all += bytes_of(i);
  // Parts of about equal size: the last one should not be a thin one.
  const int64_t parts = std::max<int64_t>(1, (all + bytes - 1) / std::max<int64_t>(bytes, 1));
  const int64_t share = (all + parts - 1) / parts;
  int64_t first = 0;
  while (first < total) {
    int64_t last = first + 1;
    int64_t used = bytes_of(first);
    while (last < total && used + bytes_of(last) <= share) used += bytes_of(last++);
    work(first, last - first);
    first = last;
  }
}

at::Tensor scores_of(const Model& model, int64_t layer, const at::Tensor& integrated,
                     const at::Tensor& activations, int64_t targets) {
  const LayerWeights& w = model.weights().layers[static_cast<size_t>(layer)];
  at::Tensor scores =
      at::empty({integrated.size(0), w.ffn_out_weight.size(1)}, integrated.options());
  matrix_product(integrated, w.ffn_out_weight, scores, false);
  scores.mul_(activations);
  return targets == 1 ? scores : scores.view({-1, targets, scores.size(1)}).sum(1);
}

std::vector<Attribution> integrate(Passes& passes, const Model& model, const Chunk& chunk,
                                   const AttributionOptions& options, int64_t bytes) {
  return Integration(passes, model, chunk, options, bytes).run();
}

}  // namespace engram
