#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

// What the commands draw with: numbers, tables, bars, heat maps and progress in plain text.
namespace engram::cli {

/// Columns that `utf8` takes in a terminal (wide East Asian characters and emoji 2, combining 0).
std::size_t display_width(std::string_view utf8);
/// `utf8` cut to at most `width` columns, with "…" at the end where something was cut.
std::string shorten(std::string_view utf8, std::size_t width);

/// 1234567 -> "1,234,567".
std::string format_count(int64_t value);
/// "1 fact", "1,024 facts".
std::string format_count(int64_t value, const std::string& singular);
/// Four significant digits or so: "0.1234", "1.2e-05".
std::string format_number(double value, int significant = 4);
/// With a sign: "+0.1234".
std::string format_signed(double value, int significant = 4);
/// 0.1234 -> "12.3 %". `digits` after the point.
std::string format_percent(double share, int digits = 1);
/// "417.6 MiB".
std::string format_bytes(int64_t bytes);
/// "0.4 s", "12 s", "3 min 20 s", "2 h 05 min".
std::string format_duration(double seconds);

/// A table with aligned columns. Widths are those of the terminal, not of bytes.
class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kRight;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  /// REQUIRES: as many cells as columns.
  void add_row(std::vector<std::string> cells);
  [[nodiscard]] bool empty() const { return rows_.empty(); }
  /// The table with its header and a rule, each line indented and ended by '\n'.
  [[nodiscard]] std::string str(std::size_t indent = 2) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

/// A horizontal bar of `share` (0..1, clipped) of `width` columns, in eighths of a column.
std::string bar(double share, std::size_t width);

/// Rows of values (layers) over columns (bins of neurons) as a heat map: one line per row, the last
/// row on top as in pictures of networks, shaded by |value| / the largest |value|, labelled by
/// `labels` (one per row), ended by '\n'.
std::string heat_map(const std::vector<std::vector<double>>& rows,
                     const std::vector<std::string>& labels, std::size_t indent = 2);

/// For a heat map: the value with the largest magnitude of each of `bins` equal parts of `values`.
std::vector<double> largest_per_bin(const float* values, int64_t count, int64_t bins);

/// Where progress goes, and what time it is: for tests.
struct ProgressOutput {
  std::FILE* file = stderr;
  bool terminal = false;  ///< a line that is drawn over; else a line a minute
  std::function<std::chrono::steady_clock::time_point()> now = std::chrono::steady_clock::now;
  /// stderr, as it is.
  static ProgressOutput standard();
};

/// Progress on stderr with rate and time left, not with --quiet: on a terminal one line that is
/// drawn ten times a second and wiped when the object goes; in a pipe or file a line a minute. Safe
/// to advance from several threads.
class Progress {
 public:
  /// `what` is done `total` times (0: unknown); `unit` is a plural ("prompts").
  Progress(bool quiet, std::string what, int64_t total, std::string unit,
           ProgressOutput output = ProgressOutput::standard());
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void advance(int64_t by = 1);
  void finish();

 private:
  void draw(std::chrono::steady_clock::time_point now);
  std::mutex mutex_;
  ProgressOutput output_;
  bool shown_ = false;
  std::string what_;
  std::string unit_;
  int64_t total_ = 0;
  int64_t done_ = 0;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point drawn_;
};

}  // namespace engram::cli
