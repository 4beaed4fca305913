// The report as one page: everything inside, nothing fetched, no scripts.
#include <algorithm>
#include <cmath>

#include "engram/report/markup.h"
#include "engram/report/tables.h"
#include "report/style.h"
#include "report/text.h"

namespace engram {
namespace {

std::string base64(const std::string& bytes) {
  constexpr const char* kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t at = 0; at < bytes.size(); at += 3) {
    uint32_t group = 0;
    for (size_t i = 0; i < 3; ++i) {
      group =
          group << 8U | (at + i < bytes.size() ? static_cast<unsigned char>(bytes[at + i]) : 0U);
    }
    for (size_t i = 0; i < 4; ++i) {
      out += at + i > bytes.size() ? '=' : kDigits[group >> (18 - 6 * i) & 63U];
    }
  }
  return out;
}

std::string paragraph(const std::string& css, const std::string& text) {
  if (text.empty()) return "";
  return "<p" + (css.empty() ? "" : " class=\"" + css + "\"") + ">" + escaped_markup(text) +
         "</p>\n";
}

std::string data_link(const std::string& id, const std::string& csv) {
  return "<p class=\"data\"><a download=\"" + escaped_markup(id) +
         ".csv\" href=\"data:text/csv;charset=utf-8;base64," + base64(csv) +
         "\">Data (CSV)</a></p>\n";
}

/// Has a word that no column should be as wide as.
bool has_long_word(const std::string& text) {
  constexpr size_t kLong = 28;
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    if (end - begin > kLong) return true;
    begin = end + 1;
  }
  return false;
}

std::string cell_html(const ReportTable& table, size_t r, size_t c) {
  const ReportColumn& column = table.columns[c];
  const ReportCell& cell = table.rows[r][c];
  const bool text = column.format == CellFormat::kText;
  std::string css = text ? "t" : "n";
  // A repeated first cell is a group of rows.
  const bool repeated = c == 0 && text && r > 0 && table.rows[r - 1][0].text == cell.text;
  if (repeated) css += " rep";
  if (has_long_word(cell.text)) css += " w";
  if (column.published) css += " pub";
  std::string out = "<td class=\"" + css + "\">" +
                    escaped_markup(column.published ? published_text(cell, column.format)
                                                    : cell_text(cell, column.format));
  const std::string interval = interval_text(cell, column.format);
  if (!interval.empty()) out += "<small>" + interval + "</small>";
  return out + "</td>";
}

std::string table_html(const ReportTable& table) {
  std::string out = "<div class=\"block\" id=\"" + escaped_markup(table.id) + "\">\n<h3>" +
                    escaped_markup(table.title) + "</h3>\n" + paragraph("", table.meaning);
  if (!table.skipped.empty()) {
    out += "<p class=\"skip\">Skipped: " + escaped_markup(table.skipped) + "</p>\n";
    for (const std::string& note : table.notes) out += paragraph("note", note);
    return out + "</div>\n";
  }
  out += "<div class=\"scroll\"><table>\n<thead><tr>";
  for (const ReportColumn& column : table.columns) {
    const std::string css = std::string(column.format == CellFormat::kText ? "t" : "n") +
                            (column.published ? " pub" : "");
    out += "<th scope=\"col\" class=\"" + css + "\">" + escaped_markup(column.title) + "</th>";
  }
  out += "</tr></thead>\n<tbody>\n";
  for (size_t r = 0; r < table.rows.size(); ++r) {
    out += "<tr>";
    for (size_t c = 0; c < table.columns.size(); ++c) out += cell_html(table, r, c);
    out += "</tr>\n";
  }
  out += "</tbody></table></div>\n" + paragraph("def", table.definition);
  for (const std::string& note : table.notes) out += paragraph("note", note);
  return out + data_link(table.id, table_csv(table)) + "</div>\n";
}

std::string chart_html(const Chart& chart) {
  std::string svg = chart_svg(chart);
  svg.insert(4, " role=\"img\" aria-label=\"" + escaped_markup(chart.title) + "\"");
  return "<figure class=\"block\" id=\"" + escaped_markup(chart.id) + "\">\n<figcaption><h3>" +
         escaped_markup(chart.title) + "</h3>\n" + paragraph("", chart.meaning) +
         "</figcaption>\n<div class=\"scroll\">" + svg + "</div>\n" +
         data_link(chart.id, chart_csv(chart)) + "</figure>\n";
}

/// A token as it reads in running text.
std::string token_text(const std::string& token, bool first) {
  constexpr std::string_view kSpace = "\xC4\xA0";  // of byte-level vocabularies
  if (token.starts_with("##")) return token.substr(2);
  if (token.starts_with(kSpace)) return " " + token.substr(kSpace.size());
  return first ? token : " " + token;
}

std::string example_html(const MarkedText& example, double largest) {
  std::string out =
      "<li><b>" + cell_text(number_cell(example.activation), CellFormat::kSigned) + "</b> ";
  for (size_t t = 0; t < example.tokens.size(); ++t) {
    const auto& [token, activation] = example.tokens[t];
    const double share = largest > 0 ? std::min(1.0, std::abs(activation) / largest) : 0.0;
    const std::string value = cell_text(number_cell(activation), CellFormat::kSigned);
    std::string text = token_text(token, t == 0);
    if (text.starts_with(' ')) {
      out += ' ';
      text.erase(0, 1);
    }
    if (share < 0.02) {
      out += escaped_markup(text);
      continue;
    }
    out += std::string("<span class=\"tok") + (activation < 0 ? " neg" : "") +
           "\" style=\"--a:" + cell_text(number_cell(share), CellFormat::kNumber) + "\" title=\"" +
           escaped_markup(value) + "\">" + escaped_markup(text) + "</span>";
  }
  return out + "</li>\n";
}

std::string examples_csv(const ReportExamples& examples) {
  std::string out = "neuron,end,text,place,token,activation\r\n";
  for (size_t e = 0; e < examples.examples.size(); ++e) {
    const MarkedText& example = examples.examples[e];
    for (size_t t = 0; t < example.tokens.size(); ++t) {
      out += csv_field(example.neuron) + (example.lowest ? ",lowest," : ",highest,") +
             std::to_string(e) + "," + std::to_string(t) + "," +
             csv_field(example.tokens[t].first) + "," + csv_number(example.tokens[t].second) +
             "\r\n";
    }
  }
  return out;
}

std::string examples_html(const ReportExamples& block) {
  std::string out = "<div class=\"block texts\" id=\"" + escaped_markup(block.id) + "\">\n<h3>" +
                    escaped_markup(block.title) + "</h3>\n" + paragraph("", block.meaning);
  for (size_t begin = 0; begin < block.examples.size();) {
    const MarkedText& first = block.examples[begin];
    size_t end = begin;
    while (end < block.examples.size() && block.examples[end].neuron == first.neuron &&
           block.examples[end].lowest == first.lowest) {
      ++end;
    }
    double largest = 0;  // of the neuron, both ends
    for (const MarkedText& one : block.examples) {
      if (one.neuron != first.neuron) continue;
      for (const auto& [token, activation] : one.tokens) {
        largest = std::max(largest, std::abs(activation));
      }
    }
    out += "<h4>" + escaped_markup(first.neuron) +
           (first.lowest ? ", least active" : ", most active") + "</h4>\n<ol>\n";
    for (size_t e = begin; e < end; ++e) out += example_html(block.examples[e], largest);
    out += "</ol>\n";
    begin = end;
  }
  return out + data_link(block.id, examples_csv(block)) + "</div>\n";
}

std::string block_html(const ReportBlock& block) {
  if (const auto* table = std::get_if<ReportTable>(&block)) return table_html(*table);
  if (const auto* chart = std::get_if<Chart>(&block)) return chart_html(*chart);
  return examples_html(std::get<ReportExamples>(block));
}

std::string link(const std::string& id, const std::string& title) {
  return "<a href=\"#" + escaped_markup(id) + "\">" + escaped_markup(title) + "</a>";
}

std::string contents(const RunReport& report) {
  std::string out = "<nav aria-label=\"Contents\"><ol>\n";
  for (const ReportSection& section : report.sections) {
    out += "<li>" + link("section-" + section.id, section.title) + "\n<ol>\n";
    for (const ReportBlock& block : section.blocks) {
      const auto [id, title] =
          std::visit([](const auto& one) { return std::pair(one.id, one.title); }, block);
      out += "<li>" + link(id, title) + "</li>\n";
    }
    out += "</ol></li>\n";
  }
  return out + "</ol></nav>\n";
}

}  // namespace

std::string report_html(const RunReport& report) {
  std::string out =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n"
      "<link rel=\"icon\" href=\"data:,\">\n<title>" +
      escaped_markup(report.title) + "</title>\n<style>" + kReportStyle +
      "</style>\n</head>\n<body>\n<div class=\"page\">\n<header><h1>" +
      escaped_markup(report.title) + "</h1>\n" + paragraph("soft", report.subtitle) +
      "</header>\n" + contents(report) + "<main>\n";
  for (const ReportSection& section : report.sections) {
    out += "<section id=\"section-" + escaped_markup(section.id) + "\">\n<h2>" +
           escaped_markup(section.title) + "</h2>\n" + paragraph("soft", section.intro);
    if (!section.command.empty()) {
      out +=
          "<p class=\"soft\">Command: <code>" + escaped_markup(section.command) + "</code></p>\n";
    }
    for (const ReportBlock& block : section.blocks) out += block_html(block);
    out += "</section>\n";
  }
  return out +
         "</main>\n<footer>Every table and figure links to its data. Nothing on this page is "
         "fetched from elsewhere.</footer>\n</div>\n</body>\n</html>\n";
}

}  // namespace engram
