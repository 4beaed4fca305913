#include "panel_rule.h"

#include <algorithm>
#include <span>
#include <utility>

namespace engram {
namespace {

/// The error of a panel's polynomial beside how far one of lower degree is from it. Where F is
/// smooth it is far smaller; where it is not, no rule knows its own order (docs/performance.md).
constexpr double kPanelErrorPerChange = 4;

}  // namespace

bool take_panels(const Cells& cells, Cell& cell, const IntegrationOptions& options) {
  const int64_t left = options.max_steps - cell.nodes;
  if (cell.panels) return cell.panels->split(left);
  std::vector<double> known;
  for (const auto& [t, node] : cell.exact) known.push_back(t);
  const std::vector<float> fed = Cells::to_host(cells.rows_of(cell, cells.layer_of(cell).fed));
  const Arc path(Cells::to_host(cells.rows_of(cell, cells.layer_of(cell).resting)), fed,
                 cells.targets(), /*epsilon=*/0.0);
  Panels first(path, fed, known);
  if (std::ssize(first.nodes()) - std::ssize(known) > left) return false;
  cell.panels = std::move(first);
  return true;
}

void integrate_panels(Cells& cells, const std::vector<size_t>& which) {
  std::vector<Want> wants;
  for (const size_t index : which) {
    Cell& cell = cells[index];
    for (const double t : cell.panels->nodes()) {
      if (cell.exact.contains(t)) continue;
      wants.push_back({index, t, t});
      ++cell.nodes;
    }
  }
  cells.gradients(std::move(wants), Reach::kExact,
                  [&](const Want& want, std::span<const float> gradient, double f) {
                    cells[want.cell].exact[want.s] = {{gradient.begin(), gradient.end()}, f};
                  });
  for (const size_t index : which) {
    Cell& cell = cells[index];
    cell.panels->sum(cell.exact);
    cell.integrated = cell.panels->integral();
    cell.compared = cell.panels->coarse();
    cell.compared_factor = kPanelErrorPerChange;
  }
}

}  // namespace engram
