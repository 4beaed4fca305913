#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <optional>
#include <string_view>

#include "engram/error.h"
#include "engram/report/tables.h"
#include "report/published.h"
#include "report/relations.h"
#include "report/sections.h"
#include "report/text.h"
#include "report/verdict.h"
#include "store/run_rows.h"

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

/// The paper's headline figures, taken from the tables below.
ReportSection summary_section(const RunReport& report) {
  ReportTable table = make_table("summary", "This run and the paper",
                                 "The paper's headline figures. Where they differ, the "
                                 "model and the facts differ too.",
                                 "Each line is a cell of a table below, which says how it is "
                                 "computed.",
                                 {{"figure", CellFormat::kText},
                                  {"this run", CellFormat::kNumber},
                                  {published::kAcl, CellFormat::kNumber, true}});
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
                                    {"head and tail, as released (tail asked for)"},
                                    "knowledge neurons",
                                    CellFormat::kNumber,
                                    number_cell(NAN)},
                                   {"… with the head only, as released",
                                    "texts",
                                    {"head only, as released (a random word asked for)"},
                                    "knowledge neurons",
                                    CellFormat::kNumber,
                                    number_cell(NAN)},
                                   {"… random, as released",
                                    "texts",
                                    {"random, as released (a random word asked for)"},
                                    "knowledge neurons",
                                    CellFormat::kNumber,
                                    number_cell(NAN)}};
  for (const Line& line : lines) {
    std::optional<ReportCell> cell = find_cell(report, line.table, line.labels, line.title);
    if (!cell) continue;
    cell->format = line.format;
    ReportCell paper = line.paper;
    paper.format = line.format;
    table.rows.push_back({text_cell(line.figure), *std::move(cell), std::move(paper)});
  }
  if (table.rows.empty()) table.skipped = "nothing is done yet";
  return {"summary", "At a glance", "", "", {std::move(table)}};
}

/// What people call the model of a session: the name of the folder that its command names, in a
/// Hugging Face cache the hub's. Empty where the command does not begin with the model.
std::string model_name(const std::string& command) {
  const size_t named = command.find(' ');  // "engram reproduce MODEL --option ..."
  const size_t begin = named == std::string::npos ? named : command.find(' ', named + 1);
  if (begin == std::string::npos || command.compare(begin + 1, 1, "-") == 0) return "";
  const std::string text = command.substr(begin + 1, command.find(" -", begin + 1) - begin - 1);
  std::filesystem::path path = std::filesystem::path(text).lexically_normal();
  if (path.filename().empty()) path = path.parent_path();
  constexpr std::string_view kCached = "models--";
  const std::filesystem::path above = path.parent_path();
  std::string hub = above.parent_path().filename().string();
  if (above.filename() == "snapshots" && hub.starts_with(kCached)) {
    hub.erase(0, kCached.size());
    if (const size_t at = hub.find("--"); at != std::string::npos) hub.replace(at, 2, "/");
    return hub;
  }
  const std::string name = path.filename().string();
  return name == "." || name == ".." ? "" : name;
}

/// "12 layers of 3,072 FFN neurons"; empty where the run does not say it.
std::string model_sizes(const ReportInput& input) {
  const int64_t layers = input.size("layers");
  const int64_t width = input.size("d_ff");
  if (layers == 0 || width == 0) return "";
  return counted(static_cast<size_t>(layers), "layer") + " of " +
         counted(static_cast<size_t>(width), "FFN neuron");
}

std::string subtitle(const ReportInput& input, const std::vector<RunSession>& sessions) {
  constexpr size_t kNamed = 3;
  const std::vector<std::string>& relations = input.facts.relations();
  std::string out = model_sizes(input);
  out += (out.empty() ? "" : "; ") + counted(input.facts.facts().size(), "fact") + " of " +
         counted(relations.size(), "relation");
  if (relations.size() <= kNamed) {
    for (size_t r = 0; r < relations.size(); ++r) {
      out += (r == 0 ? ": " : ", ") + relation_title(relations[r]);
    }
  }
  if (!sessions.empty() && !sessions.back().version.empty()) {
    out += "; engram " + sessions.back().version;
  }
  return out;
}

/// What a reader must know before any number.
std::vector<std::string> warnings_of(const ReportInput& input) {
  constexpr size_t kFewFacts = 50;
  constexpr size_t kFewRelations = 5;
  const size_t facts = input.facts.facts().size();
  const size_t relations = input.facts.relations().size();
  if (facts >= kFewFacts && relations >= kFewRelations) return {};
  return {"This run has " + counted(facts, "fact") + " of " + counted(relations, "relation") +
          ". Under " + std::to_string(kFewFacts) + " facts or " + std::to_string(kFewRelations) +
          " relations the figures say little about the model: intervals are wide or absent, and "
          "one relation can rule a mean."};
}

constexpr const char* kClaim =
    "engram finds neurons whose suppression lowers a fact's probability. That they do more than "
    "matched neurons does not make them special, and suppression does not show that the fact is "
    "removed.";

RunReport compute(RunStore& run, const ReportOptions& options) {
  ReportInput input{run, options, run.identity(), FactIndex(run), {}, {}};
  input.skipped = run.skipped();
  for (ModelRow& row : read_all<ModelRow>(run)) {
    input.model.emplace(std::move(row.name), row.value);
  }
  RunReport report;
  const std::vector<RunSession> sessions = run.sessions();
  std::string name;
  for (const RunSession& session : sessions) {
    if (name.empty()) name = model_name(session.command);
  }
  report.title =
      name.empty() ? "Knowledge neurons: report of a run" : "Knowledge neurons of " + name;
  report.subtitle = subtitle(input, sessions);
  report.claim = kClaim;
  report.warnings = warnings_of(input);
  if (input.option("as_published") == "yes") {
    report.sections.push_back(published_section(input));
  }
  report.sections.push_back(run_section(input));
  std::ranges::move(experiment_sections(input), std::back_inserter(report.sections));
  report.verdict = verdict(verdict_input(report));
  ReportSection summary = summary_section(report);
  Chart forest = forest_chart(report);
  if (!forest.series.empty()) summary.blocks.insert(summary.blocks.begin(), std::move(forest));
  report.sections.insert(report.sections.begin(), std::move(summary));
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
