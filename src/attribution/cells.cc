#include "cells.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "scoring.h"

namespace engram {

namespace {

/// Times the tolerance: panels that fit worse may sum to the right gap by chance (measured in
/// docs/performance.md).
constexpr double kLargestMisfit = 4;

/// The unperturbed prompts with dF/dsum at t = 1. Where no rows but the targets move, those alone
/// go backward, in a pass of their own.
Base begin_base(const ChunkJob& job, bool only_targets) {
  Passes& passes = job.passes;
  if (!only_targets) return passes.run_base(job.chunk, Backward::kGradient);
  Base base = passes.run_base(job.chunk, Backward::kNone);
  std::vector<at::Tensor> gradients = passes.cheap_gradient_at_one(base);
  for (size_t layer = 0; layer < gradients.size(); ++layer) {
    base.layers[layer].gradient = std::move(gradients[layer]);
  }
  return base;
}

}  // namespace

Cells::Cells(const ChunkJob& job)
    : job_(job),
      config_(job.model.config()),
      only_targets_move_(Passes::moving(config_, job.chunk, Reach::kExact) == Reach::kTargetsOnly),
      base_(begin_base(job, only_targets_move_)),
      k_(job.chunk.targets),
      results_(begin_attributions(job.model, base_)) {
  for (int64_t layer = 0; layer < config_.layers; ++layer) {
    for (int64_t prompt = 0; prompt < base_.chunk.prompts; ++prompt) {
      Cell cell;
      cell.prompt = prompt;
      cell.layer = layer;
      cells_.push_back(std::move(cell));
    }
  }
  without_.resize(cells_.size());
}

std::vector<float> Cells::to_host(const at::Tensor& rows) {
  const at::Tensor host = rows.to(at::kCPU).contiguous();
  const auto* data = host.const_data_ptr<float>();
  return {data, data + host.numel()};
}

void Cells::run_without() {
  without_ = without_neurons(job_.passes, job_.model, base_, job_.bytes);
}

double Cells::delta(const Cell& cell) const {
  return value(cell) -
         without_[static_cast<size_t>(cell.layer * base_.chunk.prompts + cell.prompt)];
}

void Cells::gradients(std::vector<Want> wants, Reach reach, const Take& take) {
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
  in_parts(bytes, job_.bytes, [&](int64_t first, int64_t count) {
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
    const Outcome outcome = job_.passes.run(base_, items, reach, /*gradient=*/true);
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

double Cells::gap_of(const Cell& cell, const std::vector<double>& integral) const {
  const std::vector<float> fed = to_host(rows_of(cell, layer_of(cell).fed));
  double sum = 0;
  for (size_t i = 0; i < fed.size(); ++i) sum += integral[i] * static_cast<double>(fed[i]);
  return std::fabs(sum - delta(cell));
}

double Cells::gap_scale(const Cell& cell) const {
  const bool probability = job_.options.target == Target::kProbability && base_.chunk.asked == 1;
  const double unit = probability ? base_.p[static_cast<size_t>(cell.prompt)] : 1.0;
  return std::max(std::fabs(delta(cell)), 1e-3 * unit);
}

void Cells::score_layer(int64_t layer, std::vector<double>& movement) {
  std::vector<size_t> open;
  for (int64_t prompt = 0; prompt < base_.chunk.prompts; ++prompt) {
    const auto index = static_cast<size_t>(layer * base_.chunk.prompts + prompt);
    if (!cells_[index].done && !cells_[index].exhausted) open.push_back(index);
  }
  if (open.empty()) return;
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
      *data++ =
          static_cast<float>(moved ? cell.compared[at] - cell.integrated[at] : cell.integrated[at]);
    }
    for (int64_t j = 0; j < k_; ++j) activation_rows.push_back(cell.prompt * k_ + j);
  };
  for (const size_t index : open) add(cells_[index], false);
  for (const size_t index : compared) add(cells_[index], true);
  const at::Tensor activations = base_.layers[static_cast<size_t>(layer)].a.index_select(
      0, at::tensor(activation_rows, at::kLong).to(job_.model.device()));
  const at::Tensor scores =
      scores_of(job_.model, layer, rows.to(job_.model.device()), activations, k_).to(at::kCPU);
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

void Cells::judge(bool adapts) {
  const int64_t prompts = base_.chunk.prompts;
  const double tolerance = job_.options.integration.tolerance;
  std::vector<double> movement(cells_.size(), 0.0);
  for (int64_t layer = 0; layer < config_.layers; ++layer) score_layer(layer, movement);
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
      const bool gap_closed = cell.stepwise || gap < tolerance * gap_scale(cell);
      const bool settled =
          compares ? report.estimated_error < tolerance * largest || largest == 0 : true;
      const bool fits = !cell.panels || cell.panels->misfit() < kLargestMisfit * tolerance;
      report.converged = cell.stepwise || (gap_closed && settled && fits && (compares || !adapts));
      cell.done = report.converged;
    }
  }
}

}  // namespace engram
