#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "arc.h"
#include "methods.h"
#include "panels.h"

namespace engram {

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
  std::optional<Panels> panels;      ///< in their place, where one rule does not do
  std::map<double, PathNode> exact;  ///< s -> freed gradient of F
  std::map<double, PathNode> cheap;  ///< s -> freed gradient of G
};

/// A gradient that is wanted.
struct Want {
  size_t cell = 0;
  double s = 0;  ///< node in the rule's own variable
  double t = 0;
};

/// Every (prompt, layer) of a chunk: the gradients that its integral is made of, its scores, and
/// whether they are close enough.
class Cells {
 public:
  /// Runs the unperturbed prompts. `job` must outlive the cells.
  explicit Cells(const ChunkJob& job);

  [[nodiscard]] size_t size() const { return cells_.size(); }
  Cell& operator[](size_t index) { return cells_[index]; }
  const Cell& operator[](size_t index) const { return cells_[index]; }
  [[nodiscard]] const Base& base() const { return base_; }
  [[nodiscard]] int64_t targets() const { return k_; }
  /// Whether F is G everywhere (Passes::moving).
  [[nodiscard]] bool only_targets_move() const { return only_targets_move_; }
  /// The results, with the scores of the last judge().
  [[nodiscard]] std::vector<Attribution> take_results() { return std::move(results_); }

  [[nodiscard]] const Base::Layer& layer_of(const Cell& cell) const {
    return base_.layers[static_cast<size_t>(cell.layer)];
  }
  /// Target rows of a cell inside a [prompts*k, width] tensor.
  [[nodiscard]] at::Tensor rows_of(const Cell& cell, const at::Tensor& all) const {
    return all.narrow(0, cell.prompt * k_, k_);
  }
  [[nodiscard]] static std::vector<float> to_host(const at::Tensor& rows);

  /// Receives a gradient, [k*d_model] on the CPU, and F or G there.
  using Take = std::function<void(const Want& want, std::span<const float> gradient, double f)>;
  /// Computes gradients in batches.
  void gradients(std::vector<Want> wants, Reach reach, const Take& take);

  /// F(a) of a cell's prompt.
  [[nodiscard]] double value(const Cell& cell) const {
    return base_.f[static_cast<size_t>(cell.prompt)];
  }
  /// F(0) of every cell, by forward passes; or one by one. REQUIRES: set before what follows.
  void run_without();
  void set_without(size_t index, double f) { without_.at(index) = f; }

  /// The gap of an integral at a cell's FFN sum: its scores add up to its product with what the
  /// neurons add there.
  [[nodiscard]] double gap_of(const Cell& cell, const std::vector<double>& integral) const;
  /// That of its last integral.
  [[nodiscard]] double last_gap(const Cell& cell) const {
    return gap_of(cell, cell.whole.empty() ? cell.integrated : cell.whole);
  }
  /// What a cell's gap is compared with: |delta|, or where that nearly vanishes a thousandth of F's
  /// scale, which is P itself for the probability; logits and log P have their own unit.
  [[nodiscard]] double gap_scale(const Cell& cell) const;
  /// Scores of all open cells, and which are done (METHOD section 2, "when to stop"). A rule that
  /// `adapts` is not done before there is something to compare it with.
  void judge(bool adapts);

 private:
  /// F(a) - F(0).
  [[nodiscard]] double delta(const Cell& cell) const;
  /// Scores of the layer's open cells, and how far each moved from what it is compared with.
  void score_layer(int64_t layer, std::vector<double>& movement);

  const ChunkJob& job_;
  const ModelConfig& config_;
  bool only_targets_move_;
  Base base_;
  int64_t k_;
  std::vector<Cell> cells_;  ///< [layers * prompts]
  std::vector<double> without_;
  std::vector<Attribution> results_;
};

}  // namespace engram
