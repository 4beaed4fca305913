// What was run, on what, in how long; and how exact the attribution is.
#include <algorithm>
#include <cmath>
#include <set>

#include "report/published.h"
#include "report/sections.h"

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
  for_rows(input.run, "problem", {}, [&](const Cells&) { problems += 1; });
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
  const Table& problem = run_table("problem");
  const size_t line = problem.column("line");
  const size_t message = problem.column("message");
  size_t more = 0;
  for_rows(input.run, "problem", {}, [&](const Cells& row) {
    if (table.rows.size() == kProblemsShown) {
      ++more;
      return;
    }
    table.rows.push_back({number_cell(static_cast<double>(row.integer(line))),
                          text_cell(std::string(row.text(message)))});
  });
  if (more > 0) {
    table.notes.push_back("and " + std::to_string(more) + " more, in the table problem of the run");
  }
  return table;
}

// --- attribution ---------------------------------------------------------------------------------

/// One method's prompts.
struct Attributed {
  std::vector<double> gaps;
  double prompts = 0, p = 0, nodes = 0, with_nodes = 0, converged = 0, top = 0, ranked = 0;
};

double quantile(const std::vector<double>& sorted, double q) {
  if (sorted.empty()) return NAN;
  return sorted[std::min(sorted.size() - 1,
                         static_cast<size_t>(q * static_cast<double>(sorted.size())))];
}

std::map<std::string, Attributed> read_attributions(RunStore& run) {
  const Table& table = run_table("attribution");
  const size_t method = table.column("method");
  const size_t p = table.column("p");
  const size_t rank = table.column("answer_rank");
  const size_t gap = table.column("relative_gap");
  const size_t nodes = table.column("nodes");
  const size_t converged = table.column("converged");
  std::map<std::string, Attributed> methods;
  for_rows(run, "attribution", {}, [&](const Cells& row) {
    Attributed& of = methods[std::string(row.text(method))];
    of.prompts += 1;
    of.p += row.real(p);
    of.converged += row.integer(converged) != 0 ? 1 : 0;
    if (!std::isnan(row.real(gap))) of.gaps.push_back(row.real(gap));
    if (!std::isnan(row.real(nodes))) {
      of.nodes += row.real(nodes);
      of.with_nodes += 1;
    }
    if (!std::isnan(row.real(rank))) {
      of.ranked += 1;
      of.top += row.integer(rank) == 1 ? 1 : 0;
    }
  });
  for (auto& [name, of] : methods) std::ranges::sort(of.gaps);
  return methods;
}

ReportTable gap_table(const std::map<std::string, Attributed>& methods) {
  ReportTable table = make_table(
      "completeness", "How exact the attribution is",
      "Integrated gradients must add up to the change of P that they explain; the gap is what they "
      "miss.",
      "Relative gap of a prompt: the largest over the layers of |sum of scores - change of P| / "
      "max(|change of P|, 0.001 P). Activations have no such check.",
      {{"scores", CellFormat::kText},
       {"prompts", CellFormat::kCount},
       {"mean P", CellFormat::kNumber},
       {"answer is the top one", CellFormat::kPercent},
       {"exact nodes a layer", CellFormat::kNumber},
       {"gap: median", CellFormat::kPercent},
       {"95 %", CellFormat::kPercent},
       {"99 %", CellFormat::kPercent},
       {"largest", CellFormat::kPercent},
       {"prompts with a gap under 1 %", CellFormat::kPercent},
       {"all layers within the tolerance", CellFormat::kPercent}});
  for (const auto& [name, of] : methods) {
    const auto small = std::ranges::lower_bound(of.gaps, 0.01) - of.gaps.begin();
    const bool exact = !of.gaps.empty();
    table.rows.push_back(
        {text_cell(name), number_cell(of.prompts), number_cell(of.p / of.prompts),
         number_cell(ratio(of.top, of.ranked)), number_cell(ratio(of.nodes, of.with_nodes)),
         number_cell(quantile(of.gaps, 0.5)), number_cell(quantile(of.gaps, 0.95)),
         number_cell(quantile(of.gaps, 0.99)), number_cell(exact ? of.gaps.back() : NAN),
         number_cell(ratio(static_cast<double>(small), static_cast<double>(of.gaps.size()))),
         number_cell(exact ? of.converged / of.prompts : NAN)});
  }
  table.notes.emplace_back(
      "The paper and its code do not report the gap. Twenty left Riemann steps, as in that code, "
      "are the method ig-riemann-left where it is there.");
  return table;
}

Chart gap_chart(const std::map<std::string, Attributed>& methods) {
  Chart chart;
  chart.id = "completeness-chart";
  chart.title = "Completeness gap of the prompts";
  chart.meaning = "Further left is more exact. Each half decade is one bin.";
  chart.kind = ChartKind::kLines;
  chart.x = {"relative gap (upper end of the bin)", true, false};
  chart.y = {"share of prompts up to there (%)", false, true};
  constexpr int kFrom = -16;  // half decades: 1e-8
  constexpr int kTo = 4;      // 1e2
  for (const auto& [name, of] : methods) {
    if (of.gaps.empty()) continue;
    ChartSeries series{name, {}};
    for (int half = kFrom; half <= kTo; ++half) {
      const double end = std::pow(10.0, 0.5 * half);
      const auto below = std::ranges::upper_bound(of.gaps, end) - of.gaps.begin();
      const double share = static_cast<double>(below) / static_cast<double>(of.gaps.size());
      series.points.push_back({end, 0, {share, NAN, NAN}});
      if (below == static_cast<int64_t>(of.gaps.size())) break;
    }
    // A long run of zeros says nothing.
    const auto first = std::ranges::find_if(
        series.points, [](const ChartPoint& point) { return point.value.value > 0; });
    if (first != series.points.begin()) {
      series.points.erase(series.points.begin(), std::prev(first));
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
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

ReportSection attribution_section(const ReportInput& input) {
  ReportSection section{"attribution",
                        "Attribution",
                        "Scores of all neurons on the prompts that locate.",
                        "engram reproduce ... --only locate,stability",
                        {}};
  const std::map<std::string, Attributed> methods = read_attributions(input.run);
  if (methods.empty()) {
    section.blocks.emplace_back(
        skipped_table(input, "locate", "completeness", "How exact the attribution is"));
    return section;
  }
  section.blocks.emplace_back(gap_table(methods));
  Chart chart = gap_chart(methods);
  if (!chart.series.empty()) section.blocks.emplace_back(std::move(chart));
  return section;
}

}  // namespace engram
