#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engram/report/chart.h"
#include "engram/statistics/bootstrap.h"
#include "engram/store/run_store.h"

// The tables of a run: what the paper reports, computed from the run's rows, with published figures
// beside and intervals from the bootstrap (METHOD sections 3 to 7). How they look is the business
// of html.h; numbers are kept as numbers.
namespace engram {

/// How the numbers of a column are written. Changes and signed numbers show their sign.
enum class CellFormat {
  kText,
  kRelation,       ///< the relation's name; the page and Markdown show its label beside it
  kCount,          ///< 1,234
  kNumber,         ///< 0.1234
  kSigned,         ///< +0.1234
  kPercent,        ///< 0.123 -> 12.3 %
  kSignedPercent,  ///< 0.123 -> +12.3 %
  kSeconds,        ///< 3 min 20 s
};

struct ReportColumn {
  std::string title;
  CellFormat format = CellFormat::kNumber;
  bool published = false;  ///< figures of others: shown apart from ours
};

/// A text, or a number with or without its interval. NaN without a text: there is none.
struct ReportCell {
  std::string text;
  Interval number = {std::numeric_limits<double>::quiet_NaN(),
                     std::numeric_limits<double>::quiet_NaN(),
                     std::numeric_limits<double>::quiet_NaN()};
  std::optional<CellFormat> format = {};  ///< its own, where a column's cells differ
};
ReportCell text_cell(std::string text);
ReportCell number_cell(double value);  ///< without an interval
ReportCell interval_cell(const Interval& value);

struct ReportTable {
  std::string id;  ///< a name in the page and the exports: letters, digits, '-'
  std::string title;
  std::string meaning;     ///< what the reader can learn from it
  std::string definition;  ///< how the numbers are computed
  std::vector<ReportColumn> columns;
  std::vector<std::vector<ReportCell>> rows;  ///< as many cells as columns
  std::vector<std::string> notes;
  std::string skipped;  ///< why there are no rows; empty: there are some
};

/// A text with the activation of a neuron on every token.
struct MarkedText {
  std::string neuron;  ///< "layer 3, neuron 17"
  bool lowest = false;
  double activation = 0;  ///< the extreme one
  std::vector<std::pair<std::string, double>> tokens;
};
/// Examples of all neurons, most and least active ones.
struct ReportExamples {
  std::string id;
  std::string title;
  std::string meaning;
  std::vector<MarkedText> examples;
};

using ReportBlock = std::variant<ReportTable, Chart, ReportExamples>;

struct ReportSection {
  std::string id;
  std::string title;
  std::string intro;
  std::string command;  ///< that fills it; may be empty
  std::vector<ReportBlock> blocks;
};

struct ReportOptions {
  BootstrapOptions bootstrap;
  uint64_t seed = 0;        ///< of the random sets in the statistics
  bool known_only = false;  ///< effects of facts that the model knows, alone
};

/// One line of the verdict.
struct VerdictLine {
  std::string question;  ///< "On the prompts that located them"
  std::string answer;    ///< by fixed rules, from the numbers of the tables
};

struct RunReport {
  std::string title;
  std::string subtitle;              ///< what was run, in one line
  std::string claim;                 ///< what a run can show and what not
  std::vector<VerdictLine> verdict;  ///< six lines; empty: there is nothing to judge
  std::vector<std::string> warnings;
  std::vector<ReportSection> sections;
};

/// Computes everything from the rows of a run, which may be of any size: tables of facts are read
/// into memory, scores are not looked at. A table whose input is missing is there as skipped, with
/// the reason; the page and Markdown leave it out and list it at the end. Throws FileError,
/// InputError, Interrupted.
RunReport make_report(RunStore& run, const ReportOptions& options = {});

/// The first table of this id; throws InternalError when there is none.
const ReportTable& report_table(const RunReport& report, const std::string& id);

/// The number or text of a cell as shown, without the interval: "+12.3 %", "-" for NaN.
std::string cell_text(const ReportCell& cell, CellFormat format);
/// Its interval, "[11.0, 13.4]"; empty where there is none.
std::string interval_text(const ReportCell& cell, CellFormat format);

/// The table as CSV (RFC 4180): numbers in full precision, intervals in columns of their own.
std::string table_csv(const ReportTable& table);
/// All tables, charts and examples as one JSON value, "schema": "engram.report/1"; no times.
std::string report_json(const RunReport& report);
/// One self-contained page: no network, light and dark, made for print as well.
std::string report_html(const RunReport& report);
/// The tables alone, as Markdown.
std::string report_markdown(const RunReport& report);

}  // namespace engram
