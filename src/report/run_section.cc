// What was run, on what, in how long.
#include <algorithm>
#include <cmath>
#include <set>

#include "report/published.h"
#include "report/sections.h"
#include "store/run_rows.h"

namespace engram {
namespace {

constexpr size_t kProblemsShown = 50;

ReportTable identity_table(const ReportInput& input) {
  ReportTable table = make_table(
      "identity", "What was run", "Everything that changes the content of the results.",
      "Two runs with the same identity hold the same results, whatever the number of threads.",
      {{"option", CellFormat::kText}, {"value", CellFormat::kText}});
  for (const auto& [name, value] : input.identity) {
    table.rows.push_back({text_cell(name), text_cell(value.empty() ? "(empty)" : value)});
  }
  if (table.rows.empty()) table.skipped = "the run has no identity";
  return table;
}

ReportTable size_table(const ReportInput& input, double seconds) {
  ReportTable table = make_table(
      "facts", "On what", "The facts that could be used, beside the paper's.",
      "Facts whose subject holds the object are left out of all effects, since the answer could be "
      "copied from the prompt.",
      {{"", CellFormat::kText},
       {"this run", CellFormat::kCount},
       {published::kAcl, CellFormat::kCount, true}});
  double prompts = 0;
  double held_out = 0;
  double copies = 0;
  for (const FactIndex::Fact& fact : input.facts.facts()) {
    prompts += static_cast<double>(fact.prompts);
    held_out += static_cast<double>(fact.held_out);
    copies += fact.copies ? 1 : 0;
  }
  const auto facts = static_cast<double>(input.facts.facts().size());
  double problems = 0;
  read_rows<ProblemRow>(input.run, {}, [&](const ProblemRow&) { problems += 1; });
  const auto count = [&](const char* name, double ours, double paper) {
    table.rows.push_back({text_cell(name), number_cell(ours), number_cell(paper)});
  };
  count("relations", static_cast<double>(input.facts.relations().size()), published::kRelations);
  count("facts", facts, published::kFacts);
  count("prompts that locate", prompts, published::kPrompts);
  count("prompts that only test", held_out, NAN);
  count("facts whose subject holds the object", copies, NAN);
  count("facts and lines that could not be used", problems, NAN);
  table.rows.push_back(
      {text_cell("time a fact, all experiments"),
       text_cell(facts > 0 && seconds > 0
                     ? cell_text(number_cell(seconds / facts), CellFormat::kNumber) + " s"
                     : "-"),
       text_cell(cell_text(number_cell(published::kSecondsPerFact), CellFormat::kNumber) +
                 " s (locating, V100)")});
  return table;
}

ReportTable sessions_table(const std::vector<RunSession>& sessions) {
  ReportTable table = make_table(
      "sessions", "In how long", "The processes that worked on this file.",
      "Time from a session's start to its last write. A run that was interrupted has several.",
      {{"session", CellFormat::kCount},
       {"command", CellFormat::kText},
       {"program", CellFormat::kText},
       {"started (UTC)", CellFormat::kText},
       {"time", CellFormat::kSeconds},
       {"state", CellFormat::kText}});
  for (const RunSession& session : sessions) {
    const std::string state =
        !session.ended.empty()
            ? (session.interrupted ? "interrupted" : "ended")
            : "running or killed" + (session.stage.empty() ? "" : ", at " + session.stage);
    table.rows.push_back({number_cell(static_cast<double>(session.session)),
                          text_cell(session.command.empty() ? "-" : session.command),
                          text_cell(session.version.empty() ? "-" : session.version),
                          text_cell(session.started.empty() ? "-" : session.started),
                          number_cell(session.seconds), text_cell(state)});
  }
  if (table.rows.empty()) table.skipped = "the run has no record of its sessions";
  return table;
}

ReportTable experiments_table(const ReportInput& input) {
  ReportTable table = make_table(
      "experiments", "What is done", "Experiments with results in this file, and those without.",
      "A part is a group of facts of one relation that was done and written as a whole.",
      {{"experiment", CellFormat::kText},
       {"relations", CellFormat::kCount},
       {"parts", CellFormat::kCount},
       {"remark", CellFormat::kText}});
  struct Done {
    std::set<std::string> relations;
    int64_t parts = 0;
  };
  std::map<std::string, Done> done;
  for (const Unit& unit : input.run.units()) {
    if (unit.experiment == "problems") continue;  // what belongs to the run as a whole
    Done& of = done[unit.experiment];
    ++of.parts;
    if (!unit.relation.empty()) of.relations.insert(unit.relation);
  }
  for (const auto& [name, of] : done) {
    table.rows.push_back({text_cell(name),
                          of.relations.empty()
                              ? text_cell("all together")
                              : number_cell(static_cast<double>(of.relations.size())),
                          number_cell(static_cast<double>(of.parts)), text_cell("done")});
  }
  for (const auto& [name, reason] : input.skipped) {
    if (done.contains(name)) continue;
    table.rows.push_back(
        {text_cell(name), number_cell(0), number_cell(0), text_cell("skipped: " + reason)});
  }
  if (table.rows.empty()) table.skipped = "nothing is done yet";
  return table;
}

ReportTable problems_table(const ReportInput& input) {
  ReportTable table = make_table("problems", "Facts and lines that could not be used",
                                 "What was left out, and why.", "",
                                 {{"line", CellFormat::kCount}, {"problem", CellFormat::kText}});
  size_t more = 0;
  read_rows<ProblemRow>(input.run, {}, [&](const ProblemRow& row) {
    if (table.rows.size() == kProblemsShown) {
      ++more;
      return;
    }
    table.rows.push_back({number_cell(static_cast<double>(row.line)), text_cell(row.message)});
  });
  if (more > 0) {
    table.notes.push_back("and " + std::to_string(more) + " more, in the table problem of the run");
  }
  return table;
}

}  // namespace

ReportSection run_section(const ReportInput& input) {
  ReportSection section{"run", "The run", "", "", {}};
  const std::vector<RunSession> sessions = input.run.sessions();
  double seconds = 0;
  for (const RunSession& session : sessions) seconds += session.seconds;
  section.intro =
      "Every number below is computed from the rows of one run file. Square brackets hold 95 % "
      "intervals: relations and, independently of them, objects are resampled, " +
      std::to_string(input.options.bootstrap.draws) +
      " draws. Differences use the same draws on both sides. Published figures stand in columns of "
      "their own with their version: ACL 2022 is Dai et al., Knowledge Neurons in Pretrained "
      "Transformers, BERT-base-cased on ParaRel; EleutherAI is that group's replication. They are "
      "a "
      "yardstick and not the same experiment.";
  section.blocks.emplace_back(size_table(input, seconds));
  section.blocks.emplace_back(sessions_table(sessions));
  section.blocks.emplace_back(experiments_table(input));
  section.blocks.emplace_back(identity_table(input));
  ReportTable problems = problems_table(input);
  if (!problems.rows.empty()) section.blocks.emplace_back(std::move(problems));
  return section;
}

}  // namespace engram
