#include <algorithm>
#include <cmath>
#include <optional>

#include "engram/error.h"
#include "engram/report/tables.h"
#include "report/published.h"
#include "report/sections.h"
#include "report/text.h"

namespace engram {

std::string ReportInput::option(const std::string& name) const {
  const auto found = identity.find(name);
  return found == identity.end() ? "" : found->second;
}

int64_t ReportInput::size(const std::string& name) const {
  const auto found = model.find(name);
  return found == model.end() ? 0 : found->second;
}

std::string missing_reason(const ReportInput& input, const std::string& experiment) {
  if (const auto found = input.skipped.find(experiment); found != input.skipped.end()) {
    return found->second;
  }
  return "this run holds no results of the experiment \"" + experiment + "\"";
}

ReportTable make_table(std::string id, std::string title, std::string meaning,
                       std::string definition, std::vector<ReportColumn> columns) {
  ReportTable table;
  table.id = std::move(id);
  table.title = std::move(title);
  table.meaning = std::move(meaning);
  table.definition = std::move(definition);
  table.columns = std::move(columns);
  return table;
}

ReportTable skipped_table(const ReportInput& input, const std::string& experiment, std::string id,
                          std::string title) {
  ReportTable table = make_table(std::move(id), std::move(title), "", "", {});
  table.skipped = missing_reason(input, experiment);
  return table;
}

namespace {

/// The cell under `title` in the row whose first cells are `labels`; nothing: it is not there.
std::optional<ReportCell> find_cell(const RunReport& report, const std::string& id,
                                    const std::vector<std::string>& labels,
                                    const std::string& title) {
  for (const ReportSection& section : report.sections) {
    for (const ReportBlock& block : section.blocks) {
      const auto* table = std::get_if<ReportTable>(&block);
      if (table == nullptr || table->id != id) continue;
      const auto column = std::ranges::find(table->columns, title, &ReportColumn::title);
      if (column == table->columns.end()) return {};
      for (const auto& row : table->rows) {
        bool same = row.size() >= labels.size();
        for (size_t i = 0; same && i < labels.size(); ++i) same = row[i].text == labels[i];
        if (same) return row.at(static_cast<size_t>(column - table->columns.begin()));
      }
    }
  }
  return {};
}

/// The paper's headline figures, taken from the tables below.
ReportSection summary_section(const RunReport& report) {
  ReportTable table = make_table("summary", "This run and the paper",
                                 "The paper's headline figures. Where they differ, the "
                                 "model and the facts differ too.",
                                 "Each line is a cell of a table below, which says how it is "
                                 "computed.",
                                 {{"figure", CellFormat::kText},
                                  {"this run", CellFormat::kText},
                                  {"95 % interval", CellFormat::kText},
                                  {published::kAcl, CellFormat::kText, true}});
  struct Line {
    const char* figure;
    const char* table;
    std::vector<std::string> labels;
    const char* title;
    CellFormat format;
    ReportCell paper;
  };
  const std::vector<Line> lines = {{"neurons per fact",
                                    "neurons",
                                    {"neurons per fact", "knowledge neurons"},
                                    "this run",
                                    CellFormat::kNumber,
                                    number_cell(published::kNeurons)},
                                   {"… that two facts of a relation share",
                                    "neurons",
                                    {"intersection within a relation", "knowledge neurons"},
                                    "this run",
                                    CellFormat::kNumber,
                                    number_cell(NAN)},
                                   {"… that facts of two relations share",
                                    "neurons",
                                    {"intersection across relations", "knowledge neurons"},
                                    "this run",
                                    CellFormat::kNumber,
                                    number_cell(NAN)},
                                   {"suppressed: log-odds of the answer, own prompts",
                                    "suppress",
                                    {"own prompts", "all"},
                                    "knowledge neurons",
                                    CellFormat::kSigned,
                                    number_cell(NAN)},
                                   {"… held-out prompts",
                                    "suppress",
                                    {"held-out prompts", "all"},
                                    "knowledge neurons",
                                    CellFormat::kSigned,
                                    number_cell(NAN)},
                                   {"… random neurons alike, held-out prompts",
                                    "suppress",
                                    {"held-out prompts", "all"},
                                    "random: + gradient",
                                    CellFormat::kSigned,
                                    number_cell(NAN)},
                                   {"… the next neurons, held-out prompts",
                                    "suppress",
                                    {"held-out prompts", "all"},
                                    "next neurons",
                                    CellFormat::kSigned,
                                    number_cell(NAN)},
                                   {"suppressed: P of the answer, own prompts",
                                    "suppress-p",
                                    {"own prompts", "all"},
                                    "knowledge neurons",
                                    CellFormat::kSignedPercent,
                                    number_cell(published::kSuppress)},
                                   {"amplified: log-odds of the answer, own prompts",
                                    "amplify",
                                    {"own prompts", "all"},
                                    "knowledge neurons",
                                    CellFormat::kSigned,
                                    number_cell(NAN)},
                                   {"… held-out prompts",
                                    "amplify",
                                    {"held-out prompts", "all"},
                                    "knowledge neurons",
                                    CellFormat::kSigned,
                                    number_cell(NAN)},
                                   {"… random neurons alike, held-out prompts",
                                    "amplify",
                                    {"held-out prompts", "all"},
                                    "random: + gradient",
                                    CellFormat::kSigned,
                                    number_cell(NAN)},
                                   {"… the next neurons, held-out prompts",
                                    "amplify",
                                    {"held-out prompts", "all"},
                                    "next neurons",
                                    CellFormat::kSigned,
                                    number_cell(NAN)},
                                   {"amplified: P of the answer, own prompts",
                                    "amplify-p",
                                    {"own prompts", "all"},
                                    "knowledge neurons",
                                    CellFormat::kSignedPercent,
                                    number_cell(published::kAmplify)},
                                   {"update: the old answer is gone, own prompts",
                                    "update",
                                    {"knowledge neurons", "own prompts"},
                                    "change rate",
                                    CellFormat::kPercent,
                                    number_cell(NAN)},
                                   {"… the new answer is the top one, own prompts",
                                    "update",
                                    {"knowledge neurons", "own prompts"},
                                    "success rate",
                                    CellFormat::kPercent,
                                    number_cell(NAN)},
                                   {"… held-out prompts",
                                    "update",
                                    {"knowledge neurons", "held-out prompts"},
                                    "success rate",
                                    CellFormat::kPercent,
                                    number_cell(NAN)},
                                   {"erasure: perplexity of the relation's answers, factor",
                                    "erase",
                                    {"zero", "own prompts"},
                                    "factor",
                                    CellFormat::kNumber,
                                    text_cell(published::kEraseInside)},
                                   {"… of other relations' answers, factor",
                                    "erase",
                                    {"zero", "facts of other relations"},
                                    "factor",
                                    CellFormat::kNumber,
                                    text_cell(published::kEraseOutside)},
                                   {"activation on texts with head and tail, as released",
                                    "texts",
                                    {"head and tail, as released (tail masked)"},
                                    "knowledge neurons",
                                    CellFormat::kNumber,
                                    number_cell(NAN)},
                                   {"… with the head only, as released",
                                    "texts",
                                    {"head only, as released (a random word masked)"},
                                    "knowledge neurons",
                                    CellFormat::kNumber,
                                    number_cell(NAN)},
                                   {"… random, as released",
                                    "texts",
                                    {"random, as released (a random word masked)"},
                                    "knowledge neurons",
                                    CellFormat::kNumber,
                                    number_cell(NAN)}};
  for (const Line& line : lines) {
    const ReportCell cell =
        find_cell(report, line.table, line.labels, line.title).value_or(text_cell("skipped"));
    const std::string interval = interval_text(cell, line.format);
    table.rows.push_back({text_cell(line.figure), text_cell(cell_text(cell, line.format)),
                          text_cell(interval.empty() ? "-" : interval),
                          text_cell(published_text(line.paper, line.format))});
  }
  return {"summary", "At a glance", "", "", {std::move(table)}};
}

std::string subtitle(const ReportInput& input) {
  const auto count = [](size_t value) {
    return cell_text(number_cell(static_cast<double>(value)), CellFormat::kCount);
  };
  std::string out = count(input.facts.facts().size()) + " facts of " +
                    count(input.facts.relations().size()) + " relations";
  for (const char* name : {"model", "facts"}) {
    // The whole hash is in the identity below.
    constexpr size_t kShown = 19;
    const std::string value = input.option(name);
    if (value.empty()) continue;
    out += std::string("; ") + name + " " + value.substr(0, kShown) +
           (value.size() > kShown ? "…" : "");
  }
  if (!input.option("version").empty()) out += "; engram " + input.option("version");
  return out;
}

RunReport compute(RunStore& run, const ReportOptions& options) {
  ReportInput input{run, options, run.identity(), FactIndex(run), {}, {}};
  const Table& skipped = run_table("skipped");
  for_rows(run, "skipped", {}, [&](const Cells& row) {
    input.skipped.emplace(row.text(skipped.column("experiment")),
                          row.text(skipped.column("reason")));
  });
  const Table& model = run_table("model");
  for_rows(run, "model", {}, [&](const Cells& row) {
    input.model.emplace(row.text(model.column("name")), row.integer(model.column("value")));
  });
  RunReport report;
  report.title = "Knowledge neurons: report of a run";
  report.subtitle = subtitle(input);
  report.sections.push_back(run_section(input));
  report.sections.push_back(attribution_section(input));
  report.sections.push_back(neurons_section(input));
  report.sections.push_back(effects_section(input, "zero"));
  report.sections.push_back(effects_section(input, "double"));
  report.sections.push_back(update_section(input));
  report.sections.push_back(erase_section(input));
  report.sections.push_back(texts_section(input));
  report.sections.insert(report.sections.begin(), summary_section(report));
  return report;
}

}  // namespace

RunReport make_report(RunStore& run, const ReportOptions& options) {
  RunReport report;
  run.snapshot([&] { report = compute(run, options); });
  return report;
}

const ReportTable& report_table(const RunReport& report, const std::string& id) {
  for (const ReportSection& section : report.sections) {
    for (const ReportBlock& block : section.blocks) {
      const auto* table = std::get_if<ReportTable>(&block);
      if (table != nullptr && table->id == id) return *table;
    }
  }
  throw InternalError("the report has no table " + id);
}

}  // namespace engram
