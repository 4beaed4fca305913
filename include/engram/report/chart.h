#pragma once

#include <string>
#include <vector>

#include "engram/statistics/bootstrap.h"

namespace engram {

struct ChartAxis {
  std::string title;  ///< with the unit; never empty
  bool log = false;
  bool percent = false;  ///< 0.1 is written 10
};

/// A value at a place: an axis value for lines, the number of the category for bars and rows, the
/// bin [x, x2] for histograms. NaN values are left out.
struct ChartPoint {
  double x = 0;
  double x2 = 0;
  Interval value;
};

struct ChartSeries {
  std::string name;
  std::vector<ChartPoint> points;
};

/// A published figure, drawn as a dashed line.
struct ChartMark {
  std::string name;
  double value = 0;
};

enum class ChartKind {
  kLines,      ///< points joined by lines, with intervals
  kBars,       ///< groups of bars, one group per category
  kRows,       ///< one line per category, downwards, with points and intervals; values along x
  kHistogram,  ///< bars over bins
};

struct Chart {
  std::string id;  ///< as of a table
  std::string title;
  std::string meaning;
  ChartKind kind = ChartKind::kLines;
  ChartAxis x;
  ChartAxis y;
  std::vector<std::string> categories;
  bool relations = false;  ///< the categories are relations, drawn with their labels
  std::vector<ChartSeries> series;
  std::vector<ChartMark> marks;
  int height = 0;  ///< pixels; 0: as the kind needs
};

constexpr int kChartWidth = 820;
constexpr int kPhoneChartWidth = 340;

/// The chart as an SVG element with <text> and fixed colours (rust/engram_crates.h), laid out for
/// this width in pixels. Throws InternalError for a chart without a title on an axis.
std::string chart_svg(const Chart& chart, int width = kChartWidth);
/// Its data as CSV: series, category or x, value, low, high, and the published figures.
std::string chart_csv(const Chart& chart);

}  // namespace engram
