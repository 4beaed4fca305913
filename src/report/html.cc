// The report as one page: everything inside, nothing fetched, no scripts.
#include <algorithm>
#include <cmath>
#include <span>

#include "base/base64.h"
#include "engram/report/markup.h"
#include "engram/report/tables.h"
#include "report/style.h"
#include "report/text.h"

namespace engram {
namespace {

bool is_digit(const std::string& text, size_t at) {
  return at < text.size() && text[at] >= '0' && text[at] <= '9';
}

/// Numbers and prose as they are set: a hyphen that stands for minus is U+2212, one that stands
/// alone for "nothing" a dash. Names, options and commands are no business of this.
std::string typeset(const std::string& text) {
  constexpr const char* kMinus = "\xE2\x88\x92";
  constexpr const char* kDash = "\xE2\x80\x93";
  if (text == "-") return kDash;
  std::string out;
  for (size_t at = 0; at < text.size(); ++at) {
    const bool begins = at == 0 || std::string_view(" [(").find(text[at - 1]) != std::string::npos;
    const bool number = is_digit(text, at + 1) || text.compare(at + 1, 3, "\xE2\x88\x9E") == 0;
    const bool exponent = at > 1 && text[at - 1] == 'e' && is_digit(text, at - 2);
    const bool between = at > 0 && text[at - 1] == ' ' && text.compare(at + 1, 1, " ") == 0;
    const bool minus = text[at] == '-' && ((number && (begins || exponent)) || between);
    if (minus) {
      out += kMinus;
    } else {
      out += text[at];
    }
  }
  return out;
}

std::string paragraph(const std::string& css, const std::string& text) {
  if (text.empty()) return "";
  return "<p" + (css.empty() ? "" : " class=\"" + css + "\"") + ">" +
         escaped_markup(typeset(text)) + "</p>\n";
}

std::string data_link(const std::string& id, const std::string& csv) {
  return "<p class=\"data\"><a download=\"" + escaped_markup(id) +
         ".csv\" href=\"data:text/csv;charset=utf-8;base64," +
         base64(std::as_bytes(std::span(csv))) + "\">Data (CSV)</a></p>\n";
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
  const bool text = is_text(column.format);
  std::string css = text ? "t" : "n";
  // A repeated first cell is a group of rows.
  const bool repeated = c == 0 && text && r > 0 && table.rows[r - 1][0].text == cell.text;
  if (repeated) css += " rep";
  const std::string shown = shown_text(cell, column);
  if (has_long_word(shown)) css += " w";
  if (column.published) css += " pub";
  std::string out = "<td class=\"" + css + "\">" +
                    escaped_markup(cell.text.empty() || shown == "-" ? typeset(shown) : shown);
  const std::string interval = interval_text(cell, column.format);
  if (!interval.empty()) out += "<small>" + typeset(interval) + "</small>";
  return out + "</td>";
}

std::string table_html(const ReportTable& table) {
  std::string out = "<div class=\"block\" id=\"" + escaped_markup(table.id) + "\">\n<h3>" +
                    escaped_markup(table.title) + "</h3>\n" + paragraph("", table.meaning);
  out += "<div class=\"scroll\"><table>\n<thead><tr>";
  for (const ReportColumn& column : table.columns) {
    const std::string css =
        std::string(is_text(column.format) ? "t" : "n") + (column.published ? " pub" : "");
    out += "<th scope=\"col\" class=\"" + css + "\">" + escaped_markup(typeset(column.title)) +
           "</th>";
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

/// Drawn twice: no picture of 820 pixels can be read on a phone.
std::string chart_html(const Chart& chart) {
  const auto drawn = [&](const char* css, int width) {
    std::string svg = chart_svg(chart, width);
    svg.insert(4, " role=\"img\" aria-label=\"" + escaped_markup(chart.title) + "\"");
    return std::string("<div class=\"") + css + "\">" + svg + "</div>\n";
  };
  return "<figure class=\"block\" id=\"" + escaped_markup(chart.id) + "\">\n<figcaption><h3>" +
         escaped_markup(chart.title) + "</h3>\n" + paragraph("", chart.meaning) +
         "</figcaption>\n" + drawn("wide", kChartWidth) + drawn("narrow", kPhoneChartWidth) +
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
  std::string out = "<li><b>" +
                    typeset(cell_text(number_cell(example.activation), CellFormat::kSigned)) +
                    "</b> ";
  for (size_t t = 0; t < example.tokens.size(); ++t) {
    const auto& [token, activation] = example.tokens[t];
    const double share = largest > 0 ? std::min(1.0, std::abs(activation) / largest) : 0.0;
    const std::string value = typeset(cell_text(number_cell(activation), CellFormat::kSigned));
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
  if (!report.verdict.empty()) out += "<li>" + link("verdict", "Verdict") + "</li>\n";
  for (const ReportSection& section : report.sections) {
    if (!is_shown(section)) continue;
    out += "<li>" + link("section-" + section.id, section.title) + "\n<ol>\n";
    for (const ReportBlock& block : section.blocks) {
      if (is_skipped(block)) continue;
      const auto [id, title] =
          std::visit([](const auto& one) { return std::pair(one.id, one.title); }, block);
      out += "<li>" + link(id, title) + "</li>\n";
    }
    out += "</ol></li>\n";
  }
  return out + "</ol></nav>\n";
}

/// What the page opens with.
std::string opening(const RunReport& report) {
  std::string out;
  for (const std::string& warning : report.warnings) out += paragraph("warn", warning);
  out += paragraph("", report.claim);
  if (report.verdict.empty()) return out;
  out += "<section id=\"verdict\">\n<h2>Verdict</h2>\n<dl>\n";
  for (const VerdictLine& line : report.verdict) {
    out += "<dt>" + escaped_markup(line.question) + "</dt><dd>" +
           escaped_markup(typeset(line.answer)) + "</dd>\n";
  }
  return out + "</dl>\n</section>\n";
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
      "</header>\n" + contents(report) + "<main>\n" + opening(report);
  for (const ReportSection& section : report.sections) {
    if (!is_shown(section)) continue;
    out += "<section id=\"section-" + escaped_markup(section.id) + "\">\n<h2>" +
           escaped_markup(section.title) + "</h2>\n" + paragraph("soft", section.intro);
    if (!section.command.empty()) {
      out +=
          "<p class=\"soft\">Command: <code>" + escaped_markup(section.command) + "</code></p>\n";
    }
    for (const ReportBlock& block : section.blocks) {
      if (!is_skipped(block)) out += block_html(block);
    }
    out += "</section>\n";
  }
  return out + paragraph("soft", skipped_line(report)) +
         "</main>\n<footer>Every table and figure links to its data. Nothing on this page is "
         "fetched from elsewhere.</footer>\n</div>\n</body>\n</html>\n";
}

}  // namespace engram
