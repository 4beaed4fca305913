#include "engram/report/chart.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "engram/error.h"
#include "engram_hf.h"
#include "report/json.h"

namespace engram {
namespace {

constexpr int kChartWidth = 820;

int height_of(const Chart& chart) {
  if (chart.height > 0) return chart.height;
  if (chart.kind != ChartKind::kRows) return 340;
  const auto rows = static_cast<int>(std::max<size_t>(chart.categories.size(), 1));
  const auto series = static_cast<int>(std::max<size_t>(chart.series.size(), 1));
  return 110 + rows * std::max(18, 9 * series + 4);
}

using Text = std::unique_ptr<char, decltype(&engram_hf_free_text)>;

}  // namespace

std::string chart_svg(const Chart& chart) {
  nlohmann::ordered_json json = chart_json(chart);
  json["width"] = kChartWidth;
  json["height"] = std::min(height_of(chart), 8000);
  const std::string text = dump_json(json);
  char* error = nullptr;
  const Text svg(
      engram_hf_chart_svg(reinterpret_cast<const uint8_t*>(text.data()), text.size(), &error),
      engram_hf_free_text);
  const Text message(error, engram_hf_free_text);
  if (!svg) {
    throw InternalError("chart " + chart.id + ": " + (message ? message.get() : "no reason given"));
  }
  return svg.get();
}

}  // namespace engram
