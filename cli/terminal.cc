#include "cli/terminal.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "engram/base/utf8.h"
#include "engram/error.h"

namespace engram::cli {
namespace {

struct PointRange {
  char32_t first, last;
};

bool in_ranges(char32_t point, const PointRange* ranges, std::size_t count) {
  return std::any_of(ranges, ranges + count,
                     [point](const PointRange& r) { return point >= r.first && point <= r.last; });
}

/// Unicode 15, EastAsianWidth W and F, and what has no width of its own, by blocks.
std::size_t code_point_width(char32_t point) {
  static constexpr std::array<PointRange, 15> kZero{{{0x0300, 0x036F},
                                                     {0x0483, 0x0489},
                                                     {0x0591, 0x05BD},
                                                     {0x0610, 0x061A},
                                                     {0x064B, 0x065F},
                                                     {0x0900, 0x0902},
                                                     {0x093C, 0x093C},
                                                     {0x0941, 0x0948},
                                                     {0x0E31, 0x0E31},
                                                     {0x0E34, 0x0E3A},
                                                     {0x200B, 0x200F},
                                                     {0x20D0, 0x20F0},
                                                     {0x3099, 0x309A},
                                                     {0xFE00, 0xFE0F},
                                                     {0xE0100, 0xE01EF}}};
  static constexpr std::array<PointRange, 13> kWide{{{0x1100, 0x115F},
                                                     {0x2E80, 0x303E},
                                                     {0x3041, 0x33FF},
                                                     {0x3400, 0x4DBF},
                                                     {0x4E00, 0x9FFF},
                                                     {0xA000, 0xA4CF},
                                                     {0xAC00, 0xD7A3},
                                                     {0xF900, 0xFAFF},
                                                     {0xFE30, 0xFE6F},
                                                     {0xFF00, 0xFF60},
                                                     {0xFFE0, 0xFFE6},
                                                     {0x1F300, 0x1FAFF},
                                                     {0x20000, 0x3FFFD}}};
  if (point < 0x300) return 1;
  if (in_ranges(point, kZero.data(), kZero.size())) return 0;
  return in_ranges(point, kWide.data(), kWide.size()) ? 2 : 1;
}

std::string print_number(const char* format, int precision, double value) {
  std::array<char, 64> buffer{};
  const int length = std::snprintf(buffer.data(), buffer.size(), format, precision, value);
  return {buffer.data(), static_cast<std::size_t>(std::max(length, 0))};
}

}  // namespace

std::size_t display_width(std::string_view utf8) {
  std::size_t width = 0;
  for (std::size_t at = 0; at < utf8.size();) {
    const CodePoint point = code_point(utf8, at);
    width += code_point_width(point.value);
    at += point.length;
  }
  return width;
}

std::string shorten(std::string_view utf8, std::size_t width) {
  if (display_width(utf8) <= width) return std::string(utf8);
  if (width == 0) return "";
  std::size_t used = 0;
  std::size_t at = 0;
  while (at < utf8.size()) {
    const CodePoint point = code_point(utf8, at);
    used += code_point_width(point.value);
    if (used > width - 1) break;
    at += point.length;
  }
  return std::string(utf8.substr(0, at)) + "…";
}

std::string format_count(int64_t value) {
  std::string digits = std::to_string(value);
  const std::size_t start = value < 0 ? 1 : 0;
  for (std::size_t at = digits.size(); at > start + 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

std::string format_count(int64_t value, const std::string& singular) {
  return format_count(value) + " " + singular + (value == 1 ? "" : "s");
}

std::string format_number(double value, int significant) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  if (value == 0) return "0";
  const double magnitude = std::fabs(value);
  if (magnitude < 1e-3 || magnitude >= 1e6) return print_number("%.*e", significant - 2, value);
  // As many digits after the point as leave `significant` of them in all.
  const int whole = static_cast<int>(std::floor(std::log10(magnitude))) + 1;
  return print_number("%.*f", std::max(0, significant - whole), value);
}

std::string format_signed(double value, int significant) {
  const std::string text = format_number(value, significant);
  return value > 0 ? "+" + text : text;
}

std::string format_percent(double share, int digits) {
  if (!std::isfinite(share)) return "-";
  return print_number("%.*f", digits, 100 * share) + " %";
}

std::string format_bytes(int64_t bytes) {
  static constexpr std::array<const char*, 5> kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return print_number("%.*f", unit == 0 ? 0 : 1, value) + " " + kUnits.at(unit);
}

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "-";
  if (seconds < 9.95) return print_number("%.*f", 1, seconds) + " s";
  const auto whole = static_cast<int64_t>(std::llround(std::min(seconds, 1e12)));
  if (whole < 120) return std::to_string(whole) + " s";
  const auto two = [](int64_t n) { return (n < 10 ? "0" : "") + std::to_string(n); };
  if (whole < 7200) return std::to_string(whole / 60) + " min " + two(whole % 60) + " s";
  return std::to_string(whole / 3600) + " h " + two(whole / 60 % 60) + " min";
}

void Table::add_row(std::vector<std::string> cells) {
  if (cells.size() != columns_.size()) {
    throw InternalError("a table of " + std::to_string(columns_.size()) + " columns got a row of " +
                        std::to_string(cells.size()));
  }
  rows_.push_back(std::move(cells));
}

std::string Table::str(std::size_t indent) const {
  std::vector<std::size_t> widths;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    std::size_t width = display_width(columns_[c].title);
    for (const auto& row : rows_) width = std::max(width, display_width(row[c]));
    widths.push_back(width);
  }
  std::string out;
  const auto line = [&](const auto& cell_of) {
    std::string text(indent, ' ');
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      const std::string& cell = cell_of(c);
      const std::string padding(widths[c] - display_width(cell), ' ');
      if (c > 0) text += "  ";
      text += columns_[c].align == Align::kLeft ? cell + padding : padding + cell;
    }
    text.erase(text.find_last_not_of(' ') + 1);
    out += text + "\n";
  };
  line([&](std::size_t c) -> const std::string& { return columns_[c].title; });
  std::vector<std::string> rules;
  for (const std::size_t width : widths) {
    std::string& rule = rules.emplace_back();
    for (std::size_t i = 0; i < width; ++i) rule += "─";
  }
  line([&](std::size_t c) -> const std::string& { return rules[c]; });
  for (const auto& row : rows_) {
    line([&](std::size_t c) -> const std::string& { return row[c]; });
  }
  return out;
}

std::string bar(double share, std::size_t width) {
  static constexpr std::array<const char*, 8> kEighths{"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  if (!std::isfinite(share)) return "";
  const double filled = std::clamp(share, 0.0, 1.0) * static_cast<double>(width) * 8;
  const auto eighths = static_cast<std::size_t>(std::llround(filled));
  std::string out;
  for (std::size_t i = 0; i < eighths / 8; ++i) out += "█";
  return out + kEighths.at(eighths % 8);
}

std::string heat_map(const std::vector<std::vector<double>>& rows,
                     const std::vector<std::string>& labels, std::size_t indent) {
  double largest = 0;
  for (const auto& row : rows) {
    for (const double value : row) largest = std::max(largest, std::fabs(value));
  }
  std::size_t label_width = 0;
  for (const std::string& label : labels) label_width = std::max(label_width, display_width(label));
  std::string out;
  for (std::size_t r = rows.size(); r-- > 0;) {
    const std::string& label = labels[r];
    out += std::string(indent + label_width - display_width(label), ' ') + label + " ";
    for (const double value : rows[r]) {
      const double share = largest > 0 ? std::fabs(value) / largest : 0;
      out += share >= 0.8    ? "█"
             : share >= 0.5  ? "▓"
             : share >= 0.2  ? "▒"
             : share >= 0.05 ? "░"
                             : "·";
    }
    out += "\n";
  }
  return out;
}

std::vector<double> largest_per_bin(const float* values, int64_t count, int64_t bins) {
  bins = std::clamp<int64_t>(bins, 1, std::max<int64_t>(count, 1));
  std::vector<double> out(static_cast<std::size_t>(bins), 0.0);
  for (int64_t i = 0; i < count; ++i) {
    double& bin = out[static_cast<std::size_t>(i * bins / count)];
    if (std::fabs(values[i]) > std::fabs(bin)) bin = values[i];
  }
  return out;
}

ProgressOutput ProgressOutput::standard() {
  ProgressOutput output;
  output.terminal = ::isatty(STDERR_FILENO) == 1;
  return output;
}

Progress::Progress(bool quiet, std::string what, int64_t total, std::string unit,
                   ProgressOutput output)
    : output_(std::move(output)),
      shown_(!quiet),
      what_(std::move(what)),
      unit_(std::move(unit)),
      total_(total),
      start_(output_.now()),
      drawn_(start_) {
  if (shown_ && output_.terminal) draw(start_);
}

Progress::~Progress() { finish(); }

void Progress::advance(int64_t by) {
  const std::lock_guard lock(mutex_);
  done_ += by;
  if (!shown_) return;
  const auto now = output_.now();
  const std::chrono::milliseconds wait =
      output_.terminal ? std::chrono::milliseconds(100) : std::chrono::minutes(1);
  if (now - drawn_ < wait) return;
  drawn_ = now;
  draw(now);
}

void Progress::finish() {
  const std::lock_guard lock(mutex_);
  if (!shown_) return;
  shown_ = false;
  if (!output_.terminal) return;
  std::fputs("\r\033[K", output_.file);
  std::fflush(output_.file);
}

void Progress::draw(std::chrono::steady_clock::time_point now) {
  const double seconds = std::chrono::duration<double>(now - start_).count();
  std::string line = what_ + " " + format_count(done_);
  if (total_ > 0) line += " of " + format_count(total_);
  line += " " + unit_;
  if (done_ > 0 && seconds > 0) {
    const double rate = static_cast<double>(done_) / seconds;
    line += ", " + format_number(rate, 3) + " a second";
    if (total_ > done_) {
      line += ", " + format_duration(static_cast<double>(total_ - done_) / rate) + " left";
    }
  }
  line = output_.terminal ? "\r\033[K" + shorten(line, 79) : "engram: " + line + "\n";
  std::fputs(line.c_str(), output_.file);
  std::fflush(output_.file);
}

}  // namespace engram::cli
