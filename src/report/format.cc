// How numbers are written, and tables as CSV and JSON.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>

#include "engram/error.h"
#include "report/json.h"
#include "report/relations.h"
#include "report/text.h"

namespace engram {
namespace {

using Json = nlohmann::ordered_json;

std::string printed(const char* format, int digits, double value) {
  std::array<char, 64> buffer{};
  std::snprintf(buffer.data(), buffer.size(), format, digits, value);
  return buffer.data();
}

/// "-0.0" is nothing: no sign.
std::string settled(std::string text) {
  if (text.find_first_of("123456789") == std::string::npos && text.find_first_of("+-") == 0) {
    text.erase(0, 1);
  }
  return text;
}

/// Digits after the point that show three or four of the largest of a cell's numbers; -1: too small
/// or too large for that.
int digits_of(double largest) {
  if (largest == 0) return 3;
  if (largest < 1e-4 || largest >= 1e7) return -1;
  if (largest >= 1000) return 0;
  if (largest >= 100) return 1;
  if (largest >= 10) return 2;
  if (largest >= 0.1) return 3;
  return largest >= 0.01 ? 4 : 5;
}

std::string number_text(double value, double largest) {
  const int digits = digits_of(largest);
  if (digits < 0) return settled(printed("%.*e", 2, value));
  return settled(printed("%.*f", digits, value));
}

std::string percent_text(double value, double largest) {
  return settled(printed("%.*f", largest >= 10 ? 0 : (largest < 0.01 ? 2 : 1), 100 * value));
}

std::string with_sign(double value, const std::string& text) {
  const bool nothing = text.find_first_of("123456789") == std::string::npos;
  return value > 0 && !nothing ? "+" + text : text;
}

std::string seconds_text(double seconds) {
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (seconds < 10) return printed("%.*f", 1, seconds) + " s";
  if (whole < 60) return std::to_string(whole) + " s";
  if (whole < 3600) {
    return std::to_string(whole / 60) + " min " + std::to_string(whole % 60) + " s";
  }
  return std::to_string(whole / 3600) + " h " + std::to_string(whole % 3600 / 60) + " min";
}

std::string count_text(double value) {
  std::string digits = std::to_string(static_cast<int64_t>(std::llround(std::abs(value))));
  for (size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, ",");
  return (value < 0 ? "-" : "") + digits;
}

/// Without the unit; as many digits as `largest` needs, so that a cell's numbers have the same.
std::string bare_text(double value, CellFormat format, double largest) {
  switch (format) {
    case CellFormat::kCount:
      return count_text(value);
    case CellFormat::kSigned:
      return with_sign(value, number_text(value, largest));
    case CellFormat::kPercent:
      return percent_text(value, largest);
    case CellFormat::kSignedPercent:
      return with_sign(value, percent_text(value, largest));
    case CellFormat::kSeconds:
      return seconds_text(value);
    case CellFormat::kText:
    case CellFormat::kRelation:
    case CellFormat::kNumber:
      return number_text(value, largest);
  }
  throw InternalError("a cell of an unknown format");
}

bool is_percent(CellFormat format) {
  return format == CellFormat::kPercent || format == CellFormat::kSignedPercent;
}

bool has_interval(const Interval& value) {
  return !std::isnan(value.value) && !std::isnan(value.low) && !std::isnan(value.high);
}

Json json_number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json json_interval(const Interval& value) {
  Json out = {{"value", json_number(value.value)}};
  if (has_interval(value)) {
    out["low"] = json_number(value.low);
    out["high"] = json_number(value.high);
  }
  return out;
}

const char* format_name(CellFormat format) {
  switch (format) {
    case CellFormat::kText:
    case CellFormat::kRelation:
      return "text";
    case CellFormat::kCount:
      return "count";
    case CellFormat::kNumber:
      return "number";
    case CellFormat::kSigned:
      return "change";
    case CellFormat::kPercent:
      return "share";
    case CellFormat::kSignedPercent:
      return "relative change";
    case CellFormat::kSeconds:
      return "seconds";
  }
  throw InternalError("a column of an unknown format");
}

Json table_json(const ReportTable& table) {
  Json out = {{"kind", "table"},
              {"id", table.id},
              {"title", table.title},
              {"meaning", table.meaning},
              {"definition", table.definition}};
  Json columns = Json::array();
  for (const ReportColumn& column : table.columns) {
    columns.push_back({{"title", column.title},
                       {"format", format_name(column.format)},
                       {"published", column.published}});
  }
  out["columns"] = std::move(columns);
  Json rows = Json::array();
  for (const auto& row : table.rows) {
    Json cells = Json::array();
    for (const ReportCell& cell : row) {
      cells.push_back(cell.text.empty() ? json_interval(cell.number) : Json(cell.text));
    }
    rows.push_back(std::move(cells));
  }
  out["rows"] = std::move(rows);
  out["notes"] = table.notes;
  out["skipped"] = table.skipped.empty() ? Json(nullptr) : Json(table.skipped);
  return out;
}

Json examples_json(const ReportExamples& examples) {
  Json list = Json::array();
  for (const MarkedText& example : examples.examples) {
    Json tokens = Json::array();
    for (const auto& [token, activation] : example.tokens) {
      tokens.push_back({token, json_number(activation)});
    }
    list.push_back({{"neuron", example.neuron},
                    {"lowest", example.lowest},
                    {"activation", json_number(example.activation)},
                    {"tokens", std::move(tokens)}});
  }
  return {{"kind", "examples"},
          {"id", examples.id},
          {"title", examples.title},
          {"meaning", examples.meaning},
          {"examples", std::move(list)}};
}

Json chart_block(const Chart& chart) {
  Json out = {
      {"kind", "chart"}, {"id", chart.id}, {"title", chart.title}, {"meaning", chart.meaning}};
  Json data = chart_json(chart);
  data.erase("width");
  data.erase("height");
  out["chart"] = std::move(data);
  return out;
}

}  // namespace

Json chart_json(const Chart& chart) {
  const auto axis = [](const ChartAxis& a) {
    return Json{{"title", a.title}, {"log", a.log}, {"percent", a.percent}};
  };
  constexpr std::array<const char*, 4> kKinds = {"lines", "bars", "rows", "histogram"};
  Json out = {{"kind", kKinds.at(static_cast<size_t>(chart.kind))},
              {"x", axis(chart.x)},
              {"y", axis(chart.y)},
              {"categories", chart.categories}};
  Json series = Json::array();
  for (const ChartSeries& one : chart.series) {
    Json points = Json::array();
    for (const ChartPoint& point : one.points) {
      Json p = {{"x", json_number(point.x)}};
      if (chart.kind == ChartKind::kHistogram) p["x2"] = json_number(point.x2);
      p["y"] = json_number(point.value.value);
      if (has_interval(point.value)) {
        p["low"] = json_number(point.value.low);
        p["high"] = json_number(point.value.high);
      }
      points.push_back(std::move(p));
    }
    series.push_back({{"name", one.name}, {"points", std::move(points)}});
  }
  out["series"] = std::move(series);
  Json marks = Json::array();
  for (const ChartMark& mark : chart.marks) {
    marks.push_back({{"name", mark.name}, {"value", json_number(mark.value)}});
  }
  out["marks"] = std::move(marks);
  return out;
}

std::string dump_json(const Json& value, int indent) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + "\"";
}

namespace {

double largest_of(const Interval& cell) {
  double largest = std::abs(cell.value);
  if (has_interval(cell)) {
    largest = std::max({largest, std::abs(cell.low), std::abs(cell.high)});
  }
  return largest;
}

}  // namespace

std::string csv_number(double value) {
  if (!std::isfinite(value)) return "";
  std::array<char, 32> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%.17g", value);
  std::array<char, 32> shorter{};
  std::snprintf(shorter.data(), shorter.size(), "%.15g", value);
  return std::strtod(shorter.data(), nullptr) == value ? shorter.data() : buffer.data();
}

ReportCell text_cell(std::string text) {
  ReportCell cell;
  cell.text = std::move(text);
  return cell;
}

ReportCell number_cell(double value) {
  ReportCell cell;
  cell.number.value = value;
  return cell;
}

ReportCell interval_cell(const Interval& value) {
  ReportCell cell;
  cell.number = value;
  return cell;
}

bool is_text(CellFormat format) {
  return format == CellFormat::kText || format == CellFormat::kRelation;
}

std::string counted(size_t count, const std::string& singular) {
  return count_text(static_cast<double>(count)) + " " + singular + (count == 1 ? "" : "s");
}

std::string shown_text(const ReportCell& cell, const ReportColumn& column) {
  if (column.format == CellFormat::kRelation) return relation_title(cell.text);
  return column.published ? published_text(cell, column.format) : cell_text(cell, column.format);
}

std::string skipped_line(const RunReport& report) {
  std::map<std::string, std::vector<std::string>> by_reason;
  for (const ReportSection& section : report.sections) {
    const bool whole = std::ranges::all_of(section.blocks, is_skipped);
    for (const ReportBlock& block : section.blocks) {
      if (!is_skipped(block)) continue;
      const auto& table = std::get<ReportTable>(block);
      std::vector<std::string>& names = by_reason[table.skipped];
      const std::string& name = whole ? section.title : table.title;
      if (std::ranges::find(names, name) == names.end()) names.push_back(name);
    }
  }
  std::string out;
  for (const auto& [reason, names] : by_reason) {
    out += out.empty() ? "Not shown: " : "; ";
    for (size_t i = 0; i < names.size(); ++i) out += (i == 0 ? "" : ", ") + names[i];
    out += " (" + reason + ")";
  }
  return out.empty() ? out : out + ".";
}

bool is_skipped(const ReportBlock& block) {
  const auto* table = std::get_if<ReportTable>(&block);
  return table != nullptr && !table->skipped.empty();
}

bool is_shown(const ReportSection& section) {
  return !std::ranges::all_of(section.blocks, is_skipped);
}

std::string cell_text(const ReportCell& cell, CellFormat of_column) {
  const CellFormat format = cell.format.value_or(of_column);
  if (!cell.text.empty()) return cell.text;
  if (std::isnan(cell.number.value)) return "-";
  if (std::isinf(cell.number.value)) return cell.number.value > 0 ? "∞" : "-∞";
  return bare_text(cell.number.value, format, largest_of(cell.number)) +
         (is_percent(format) ? " %" : "");
}

std::string interval_text(const ReportCell& cell, CellFormat of_column) {
  const CellFormat format = cell.format.value_or(of_column);
  if (!cell.text.empty() || !has_interval(cell.number)) return "";
  const double largest = largest_of(cell.number);
  return "[" + bare_text(cell.number.low, format, largest) + ", " +
         bare_text(cell.number.high, format, largest) + "]";
}

std::string published_text(const ReportCell& cell, CellFormat of_column) {
  const CellFormat format = cell.format.value_or(of_column);
  const bool number = cell.text.empty() && std::isfinite(cell.number.value);
  if (!number || format == CellFormat::kCount || format == CellFormat::kSeconds) {
    return cell_text(cell, format);
  }
  const double value = cell.number.value * (is_percent(format) ? 100 : 1);
  std::string text = printed("%.*g", 6, value);
  if (format == CellFormat::kSigned || format == CellFormat::kSignedPercent) {
    text = with_sign(value, text);
  }
  return text + (is_percent(format) ? " %" : "");
}

std::string table_csv(const ReportTable& table) {
  std::vector<bool> wide(table.columns.size(), false);
  for (const auto& row : table.rows) {
    for (size_t c = 0; c < row.size(); ++c) {
      if (row[c].text.empty() && has_interval(row[c].number)) wide[c] = true;
    }
  }
  std::string out;
  const auto put = [&](const std::string& field, bool first) {
    out += (first ? "" : ",") + csv_field(field);
  };
  for (size_t c = 0; c < table.columns.size(); ++c) {
    put(table.columns[c].title, c == 0);
    if (!wide[c]) continue;
    put(table.columns[c].title + " low", false);
    put(table.columns[c].title + " high", false);
  }
  out += "\r\n";
  for (const auto& row : table.rows) {
    for (size_t c = 0; c < row.size(); ++c) {
      const ReportCell& cell = row[c];
      put(cell.text.empty() ? csv_number(cell.number.value) : cell.text, c == 0);
      if (!wide[c]) continue;
      const bool shown = cell.text.empty() && has_interval(cell.number);
      put(shown ? csv_number(cell.number.low) : "", false);
      put(shown ? csv_number(cell.number.high) : "", false);
    }
    out += "\r\n";
  }
  return out;
}

std::string chart_csv(const Chart& chart) {
  const bool categories = chart.kind == ChartKind::kBars || chart.kind == ChartKind::kRows;
  const bool bins = chart.kind == ChartKind::kHistogram;
  const std::string& value = chart.kind == ChartKind::kRows ? chart.x.title : chart.y.title;
  const std::string& place = chart.kind == ChartKind::kRows ? chart.y.title : chart.x.title;
  std::string out =
      "series," + csv_field(place) + (bins ? ",to" : "") + "," + csv_field(value) + ",low,high\r\n";
  for (const ChartSeries& series : chart.series) {
    for (const ChartPoint& point : series.points) {
      out += csv_field(series.name) + "," +
             (categories ? csv_field(chart.categories.at(static_cast<size_t>(point.x)))
                         : csv_number(point.x)) +
             (bins ? "," + csv_number(point.x2) : "") + "," + csv_number(point.value.value) + "," +
             csv_number(point.value.low) + "," + csv_number(point.value.high) + "\r\n";
    }
  }
  for (const ChartMark& mark : chart.marks) {
    out += csv_field(mark.name) + "," + (bins ? "," : "") + "," + csv_number(mark.value) + ",,\r\n";
  }
  return out;
}

std::string report_json(const RunReport& report) {
  Json sections = Json::array();
  for (const ReportSection& section : report.sections) {
    Json blocks = Json::array();
    for (const ReportBlock& block : section.blocks) {
      if (const auto* table = std::get_if<ReportTable>(&block)) {
        blocks.push_back(table_json(*table));
      } else if (const auto* chart = std::get_if<Chart>(&block)) {
        blocks.push_back(chart_block(*chart));
      } else {
        blocks.push_back(examples_json(std::get<ReportExamples>(block)));
      }
    }
    sections.push_back({{"id", section.id},
                        {"title", section.title},
                        {"intro", section.intro},
                        {"command", section.command},
                        {"blocks", std::move(blocks)}});
  }
  Json verdict = Json::array();
  for (const VerdictLine& line : report.verdict) {
    verdict.push_back({{"question", line.question}, {"answer", line.answer}});
  }
  const Json out = {{"schema", "engram.report/1"},    {"title", report.title},
                    {"subtitle", report.subtitle},    {"claim", report.claim},
                    {"verdict", std::move(verdict)},  {"warnings", report.warnings},
                    {"sections", std::move(sections)}};
  return dump_json(out, 1) + "\n";
}

}  // namespace engram
