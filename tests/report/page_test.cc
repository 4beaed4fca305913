// The page: well-formed, closed in itself, safe with hostile texts, and looked at in Chromium.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "engram/error.h"
#include "engram/report/tables.h"
#include "report/test_run.h"

namespace engram {
namespace {

namespace fs = std::filesystem;

const RunReport& demo() {
  static const RunReport report = [] {
    testing::TestRun run;
    testing::fill_demo(run);
    RunStore store = run.write();
    ReportOptions options;
    options.bootstrap.draws = 100;
    return make_report(store, options);
  }();
  return report;
}

/// The first thing that is not well-formed in the page; empty: nothing.
std::string first_fault(const std::string& html) {
  static const std::set<std::string> kVoid = {"meta", "link", "br", "hr", "img"};
  std::vector<std::string> open;
  for (size_t at = html.find('<'); at != std::string::npos; at = html.find('<', at)) {
    if (html.compare(at, 2, "<!") == 0) {
      at = html.find('>', at);
      continue;
    }
    const size_t end = html.find('>', at);
    if (end == std::string::npos) return "a tag without an end";
    std::string tag = html.substr(at + 1, end - at - 1);
    at = end;
    if (std::ranges::count(tag, '"') % 2 != 0) return "quotes in <" + tag + ">";
    const bool closing = tag.starts_with('/');
    const bool alone = tag.ends_with('/');
    if (closing) tag.erase(0, 1);
    const std::string name = tag.substr(0, tag.find_first_of(" \n/"));
    if (name.empty() ||
        name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789") != std::string::npos) {
      return "the tag <" + tag + ">";
    }
    if (closing) {
      if (open.empty() || open.back() != name) {
        return "</" + name + "> closes " + (open.empty() ? "nothing" : open.back());
      }
      open.pop_back();
    } else if (!alone && !kVoid.contains(name)) {
      open.push_back(name);
    }
  }
  return open.empty() ? "" : "<" + open.back() + "> is never closed";
}

/// All values of an attribute.
std::vector<std::string> attributes(const std::string& html, const std::string& name) {
  std::vector<std::string> values;
  const std::string start = " " + name + "=\"";
  for (size_t at = html.find(start); at != std::string::npos; at = html.find(start, at)) {
    at += start.size();
    values.push_back(html.substr(at, html.find('"', at) - at));
  }
  return values;
}

TEST(FirstFault, SeesWhatIsWrong) {
  EXPECT_EQ(first_fault("<!DOCTYPE html><p><b>x</b></p><meta a=\"b\">"), "");
  EXPECT_NE(first_fault("<p><b>x</p></b>"), "");
  EXPECT_NE(first_fault("<p>"), "");
  EXPECT_NE(first_fault("<p class=\"x>y</p>"), "");
}

TEST(Page, IsWellFormedAndItsLinksLead) {
  const std::string html = report_html(demo());
  EXPECT_EQ(first_fault(html), "");
  std::set<std::string> ids;
  for (const std::string& id : attributes(html, "id")) {
    EXPECT_TRUE(ids.insert(id).second) << id << " appears twice";
  }
  for (const std::string& href : attributes(html, "href")) {
    if (href.starts_with("data:")) continue;
    ASSERT_TRUE(href.starts_with("#")) << href;
    EXPECT_TRUE(ids.contains(href.substr(1))) << href;
  }
}

TEST(Page, AsksForNothingFromElsewhere) {
  std::string html = report_html(demo());
  const std::string name_space = "http://www.w3.org/2000/svg";  // a name, never fetched
  for (size_t at = html.find(name_space); at != std::string::npos; at = html.find(name_space)) {
    html.erase(at, name_space.size());
  }
  EXPECT_EQ(html.find("http"), std::string::npos);
  for (const char* what :
       {"<script", "<img", "<iframe", "@import", "url(", " src=", "javascript:"}) {
    EXPECT_EQ(html.find(what), std::string::npos) << what;
  }
}

TEST(Page, HostileTextsStayTexts) {
  // A subject and a problem of the demonstration are hostile; more so here.
  RunReport report;
  report.title = "<script>alert(1)</script>";
  ReportTable table;
  table.id = "x\" onload=\"alert(1)";
  table.title = "</style><script>";
  table.meaning = "a & b <i>";
  table.columns = {{"<th>", CellFormat::kText}};
  table.rows = {{text_cell("<img src=x onerror=alert(1)> '\"")}, {text_cell("\xff\x01 \xc3\x28")}};
  table.notes = {"</table>"};
  Chart chart;
  chart.id = "chart";
  chart.title = "\"><script>";
  chart.kind = ChartKind::kRows;
  chart.x = {"<x>", false, false};
  chart.y = {"\"y\"", false, false};
  chart.categories = {"</svg><script>alert(1)</script>", "\x02 & \xff"};
  chart.series = {{"<a href=\"x\">", {{0, 0, {1, 0.5, 2}}, {1, 0, {2, 1, 3}}}}};
  chart.marks = {{"<mark>", 1.5}};
  ReportExamples examples;
  examples.id = "examples";
  examples.title = "e";
  examples.examples = {{"<n>", false, 1.0, {{"<script>", 1.0}, {"##x\"", -0.5}, {"\xfe", 0.3}}}};
  report.sections = {{"s", "<h2>", "", "", {table, chart, examples}}};
  const std::string html = report_html(report);
  EXPECT_EQ(first_fault(html), "");
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_EQ(html.find("<img"), std::string::npos);
  EXPECT_EQ(html.find("</style>"), html.rfind("</style>"));
  EXPECT_NE(html.find("&lt;img src=x onerror=alert(1)&gt; &#39;&quot;"), std::string::npos);
  EXPECT_EQ(html.find('\x01'), std::string::npos);
  EXPECT_EQ(html.find('\xff'), std::string::npos);
  EXPECT_TRUE(nlohmann::json::accept(report_json(report)));
}

TEST(Page, EveryFigureHasAxesADescriptionAndItsData) {
  size_t figures = 0;
  for (const ReportSection& section : demo().sections) {
    for (const ReportBlock& block : section.blocks) {
      const auto* chart = std::get_if<Chart>(&block);
      if (chart == nullptr) continue;
      ++figures;
      const std::string svg = chart_svg(*chart);
      EXPECT_FALSE(chart->meaning.empty()) << chart->id;
      EXPECT_FALSE(chart->series.empty()) << chart->id;
      for (const std::string& title : {chart->x.title, chart->y.title}) {
        const std::string shown = std::regex_replace(title, std::regex("'"), "&apos;");
        EXPECT_NE(svg.find(shown), std::string::npos) << chart->id << ": " << title;
      }
      EXPECT_NE(svg.find("<text"), std::string::npos) << chart->id;
      EXPECT_EQ(first_fault(svg), "") << chart->id;
      for (const ChartMark& mark : chart->marks) {
        EXPECT_NE(svg.find(mark.name), std::string::npos) << chart->id;
      }
      const std::string csv = chart_csv(*chart);
      EXPECT_GT(std::ranges::count(csv, '\n'), 1) << chart->id;
      EXPECT_NE(report_html(demo()).find("download=\"" + chart->id + ".csv\""), std::string::npos);
    }
  }
  EXPECT_GE(figures, 13U);
}

/// What a data link of the page holds.
std::string linked_data(const std::string& html, const std::string& id) {
  const std::string start =
      "download=\"" + id + ".csv\" href=\"data:text/csv;charset=utf-8;base64,";
  const size_t begin = html.find(start) + start.size();
  const std::string text = html.substr(begin, html.find('"', begin) - begin);
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  uint32_t bits = 0;
  int held = 0;
  for (const char c : text) {
    if (c == '=') break;
    bits = bits << 6U | static_cast<uint32_t>(digits.find(c));
    held += 6;
    if (held < 8) continue;
    held -= 8;
    out += static_cast<char>(bits >> static_cast<unsigned>(held) & 0xFFU);
  }
  return out;
}

TEST(Page, LinksHoldTheTablesNumbers) {
  const std::string html = report_html(demo());
  for (const char* id : {"neurons", "suppress", "update", "erase-lens", "texts", "problems"}) {
    EXPECT_EQ(linked_data(html, id), table_csv(report_table(demo(), id))) << id;
  }
}

TEST(Page, HidesWhatWasSkippedAndListsItInOneLine) {
  testing::TestRun run;
  run.fact(0, "P19", "a", "x", 8, 0);
  run.skip("texts", "no folder of texts was given (--texts)");
  run.skip("unions", "needs all relations");
  RunStore store = run.write();
  const RunReport report = make_report(store);
  for (const std::string& page : {report_html(report), report_markdown(report)}) {
    EXPECT_EQ(page.find("Skipped:"), std::string::npos);
    EXPECT_EQ(page.find("section-erase"), std::string::npos);
    EXPECT_EQ(page.find("## Erasing relations"), std::string::npos);
    const size_t at = page.find("Not shown: ");
    ASSERT_NE(at, std::string::npos);
    EXPECT_EQ(page.find("Not shown: ", at + 1), std::string::npos);
    const std::string line = page.substr(at, page.find('\n', at) - at);
    EXPECT_NE(line.find("Erasing relations"), std::string::npos) << line;
    EXPECT_NE(line.find("(no folder of texts was given (--texts))"), std::string::npos) << line;
  }
  EXPECT_EQ(first_fault(report_html(report)), "");
}

TEST(Page, MinusSignsAreSetAndDataKeepsHyphens) {
  RunReport report;
  report.title = "t";
  ReportTable table;
  table.id = "x";
  table.title = "bert-base";
  table.meaning = "P after - P before, -40 % at GELU's -0.17.";
  table.columns = {{"command", CellFormat::kText}, {"change", CellFormat::kSignedPercent}};
  table.rows = {{text_cell("run --limit -5 on 2026-11-27"), interval_cell({-0.29, -0.4, -0.1})},
                {text_cell("-"), number_cell(NAN)},
                {text_cell("tiny"), number_cell(-3e-7)}};
  Chart chart = {};
  chart.id = "c";
  chart.title = "c";
  chart.kind = ChartKind::kRows;
  chart.x = {"change", false, false};
  chart.y = {"row", false, false};
  chart.categories = {"a"};
  chart.series = {{"s", {{0, 0, {-0.5, -1, -0.2}}}}};
  report.sections = {{"s", "s", "", "", {table, chart}}};
  const std::string html = report_html(report);
  for (const char* text : {"\u221229.0 %", "[\u221240.0, \u221210.0]",
                           "P after \u2212 P before, \u221240 % at GELU", "\u22120.17", "bert-base",
                           "run --limit -5 on 2026-11-27", ">\u2013</td>", "\n\u22120.5\n"}) {
    EXPECT_NE(html.find(text), std::string::npos) << text;
  }
  EXPECT_EQ(html.find("-29"), std::string::npos);
  EXPECT_NE(table_csv(table).find("-0.29,-0.4,-0.1"), std::string::npos);
  for (const std::string& data : {table_csv(table), chart_csv(chart), report_json(report)}) {
    EXPECT_EQ(data.find("\u2212"), std::string::npos);
  }
}

// --- charts --------------------------------------------------------------------------------------

Chart line_chart() {
  Chart chart;
  chart.id = "lines";
  chart.title = "lines";
  chart.kind = ChartKind::kLines;
  chart.x = {"layer", false, false};
  chart.y = {"share (%)", false, true};
  chart.series = {
      {"a", {{0, 0, {0.1, 0.05, 0.2}}, {1, 0, {NAN, NAN, NAN}}, {2, 0, {0.4, NAN, NAN}}}}};
  return chart;
}

TEST(Charts, MissingValuesAreLeftOut) {
  const std::string svg = chart_svg(line_chart());
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("NaN"), std::string::npos);
  Chart empty = line_chart();
  for (ChartPoint& point : empty.series[0].points) point.value = {NAN, NAN, NAN};
  EXPECT_EQ(first_fault(chart_svg(empty)), "");
  empty.series.clear();
  for (const ChartKind kind :
       {ChartKind::kLines, ChartKind::kBars, ChartKind::kRows, ChartKind::kHistogram}) {
    empty.kind = kind;
    EXPECT_EQ(first_fault(chart_svg(empty)), "");
  }
}

TEST(Charts, LogarithmicAxesTakeNoZero) {
  Chart chart = line_chart();
  chart.y = {"factor", true, false};
  chart.series = {{"a", {{0, 0, {0, NAN, NAN}}, {1, 0, {10, 1, 100}}, {2, 0, {1000, NAN, NAN}}}}};
  const std::string svg = chart_svg(chart);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
  EXPECT_NE(svg.find("1000"), std::string::npos);
}

TEST(Charts, TicksAreWrittenAsTheyAre) {
  Chart chart = line_chart();
  chart.y = {"factor", true, false};
  chart.series = {{"a", {{0, 0, {1.1, NAN, NAN}}, {0.9, 0, {8, NAN, NAN}}}}};
  const std::string svg = chart_svg(chart);
  EXPECT_NE(svg.find("\n1.5\n"), std::string::npos);  // and not 2
  chart.x = {"lambda", false, false};
  chart.series = {{"a", {{0, 0, {1, NAN, NAN}}, {2, 0, {2, NAN, NAN}}}}};
  const std::string quarters = chart_svg(chart);
  EXPECT_NE(quarters.find("\n0.25\n"), std::string::npos);
}

TEST(Charts, HistogramsAndConstantValues) {
  Chart chart = line_chart();
  chart.kind = ChartKind::kHistogram;
  chart.series = {{"a", {{0, 1, {3, NAN, NAN}}, {1, 2, {5, NAN, NAN}}}}};
  EXPECT_EQ(first_fault(chart_svg(chart)), "");
  EXPECT_EQ(chart_csv(chart), "series,layer,to,share (%),low,high\r\na,0,1,3,,\r\na,1,2,5,,\r\n");
  chart = line_chart();
  chart.series = {{"a", {{1, 0, {0.3, 0.3, 0.3}}}}};
  EXPECT_EQ(first_fault(chart_svg(chart)), "");
}

TEST(Charts, AreLaidOutForAPhoneToo) {
  Chart chart = line_chart();
  chart.kind = ChartKind::kRows;
  chart.categories = {"P131", "R2"};
  chart.relations = true;
  chart.series = {{"a", {{0, 0, {1, 0.5, 2}}, {1, 0, {2, 1, 3}}}}};
  const std::string wide = chart_svg(chart);
  EXPECT_NE(wide.find("width=\"820\""), std::string::npos);
  EXPECT_NE(wide.find("P131 (located in the administrative"), std::string::npos);
  const std::string narrow = chart_svg(chart, kPhoneChartWidth);
  EXPECT_NE(narrow.find("width=\"340\""), std::string::npos);
  EXPECT_NE(narrow.find("\nP131 (located in\n"), std::string::npos);  // a name takes two lines
  EXPECT_NE(narrow.find("…"), std::string::npos);
  EXPECT_EQ(first_fault(narrow), "");
  EXPECT_NE(chart_csv(chart).find("a,P131,"), std::string::npos);
}

TEST(Charts, AnAxisWithoutATitleIsABug) {
  Chart chart = line_chart();
  chart.y.title.clear();
  EXPECT_THROW(chart_svg(chart), InternalError);
}

// --- Chromium ------------------------------------------------------------------------------------

TEST(Page, IsFineInChromium) {
  const fs::path folder = fs::temp_directory_path() / ("engram_page_" + std::to_string(getpid()));
  fs::create_directories(folder);
  std::ofstream(folder / "report.html") << report_html(demo());
  const std::string command = "python3 " ENGRAM_SOURCE_DIR "/tools/check_page.py '" +
                              (folder / "report.html").string() + "' 2>&1";
  // The command is made of our own paths alone. NOLINTNEXTLINE(bugprone-command-processor)
  FILE* pipe = popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string output;
  std::array<char, 256> buffer{};
  while (fgets(buffer.data(), buffer.size(), pipe) != nullptr) output += buffer.data();
  const int status = pclose(pipe);
  std::error_code ignored;
  fs::remove_all(folder, ignored);
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << output;
  EXPECT_EQ(WEXITSTATUS(status), 0) << output;
}

}  // namespace
}  // namespace engram
