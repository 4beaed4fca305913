// The report's tables as Markdown, for a document beside the code.
#include "engram/report/tables.h"
#include "report/style.h"
#include "report/text.h"

namespace engram {
namespace {

/// On one line, with nothing that Markdown would read as markup of a table or as HTML.
std::string plain(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '|' || c == '<' || c == '>' || c == '*' || c == '_' || c == '`' || c == '\\') {
      out += '\\';
    }
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out;
}

std::string cell_markdown(const ReportCell& cell, const ReportColumn& column) {
  const std::string text = shown_text(cell, column);
  const std::string interval = interval_text(cell, column.format);
  return plain(text + (interval.empty() ? "" : " " + interval));
}

std::string table_markdown(const ReportTable& table) {
  std::string out = "### " + plain(table.title) + "\n\n" + plain(table.meaning) + "\n\n";
  std::string rule;
  for (const ReportColumn& column : table.columns) {
    out += "| " + plain(column.title) + " ";
    rule += is_text(column.format) ? "|---" : "|---:";
  }
  out += "|\n" + rule + "|\n";
  for (const std::vector<ReportCell>& row : table.rows) {
    for (size_t c = 0; c < row.size(); ++c) {
      out += "| " + cell_markdown(row[c], table.columns[c]) + " ";
    }
    out += "|\n";
  }
  out += "\n" + (table.definition.empty() ? "" : plain(table.definition) + "\n\n");
  for (const std::string& note : table.notes) out += plain(note) + "\n\n";
  return out;
}

}  // namespace

std::string report_markdown(const RunReport& report) {
  std::string out = "# " + plain(report.title) + "\n\n" + plain(report.subtitle) + "\n\n";
  if (!report.claim.empty()) out += plain(report.claim) + "\n\n";
  for (const std::string& warning : report.warnings) out += "**" + plain(warning) + "**\n\n";
  for (const VerdictLine& line : report.verdict) {
    out += "- **" + plain(line.question) + ":** " + plain(line.answer) + "\n";
  }
  if (!report.verdict.empty()) out += "\n";
  for (const ReportSection& section : report.sections) {
    if (!is_shown(section)) continue;
    out += "## " + plain(section.title) + "\n\n";
    if (!section.intro.empty()) out += plain(section.intro) + "\n\n";
    if (!section.command.empty()) out += "    " + section.command + "\n\n";
    for (const ReportBlock& block : section.blocks) {
      const auto* table = std::get_if<ReportTable>(&block);
      if (table != nullptr && table->skipped.empty()) out += table_markdown(*table);
    }
  }
  if (const std::string skipped = skipped_line(report); !skipped.empty()) {
    out += plain(skipped) + "\n\n";
  }
  out.pop_back();  // one newline ends the file
  return out;
}

}  // namespace engram
