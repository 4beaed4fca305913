#include "cli/audit.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "cli/audit_removal.h"
#include "cli/fact_options.h"
#include "cli/reproduce.h"
#include "engram/base/utf8.h"
#include "engram/report/tables.h"

namespace engram::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kAuditHelp =
    R"(Doubts about knowledge neurons as experiments, each with its control, an interval and
one sentence that follows from the numbers by a rule fixed before (docs/method.md,
"The audit").

First every fact is screened: each prompt is run once. Then 200 facts that the model
knows (the answer is the top one on at least half of the prompts) and 150 that it
never gives are taken, evenly over the relations, their neurons are located, and the
experiments measure them on held-out prompts.

  words      do the neurons carry the fact, or its answer's word? Known and unknown
             facts; prompts of other subjects; the same object; the subject masked
  methods    would a search do better? Five neurons by every score, by trying them one
             by one, and by a greedy search, on half of the known facts
  amplify    does doubling them raise the answer more than any push of that length which
             the gradient chooses?
  editors    does location guide an edit? Located neurons, random ones that write as
             much, another fact's, fine-tuning, ROME (with a corpus); edits by layer
  truth      which score is near what every neuron does? All neurons are tried one by
             one and the effects kept for others. With --truth-facts
  nonfacts   have grammar and word pairs such neurons, too? With --non-facts
  planting   do scores find what we planted? Another answer is trained into random
             neurons, and every score and learned gates must find them

With --edit or --edited it asks instead whether what an edit erased is gone or only
hidden: other wordings, examples before the question, the logit lens, rounded and noisy
weights, nine tenths of the edit, and training on other erased facts, beside what the
same attacks do for facts that the model never knew ("Is it gone?" in docs/method.md).
No run is kept; it takes minutes.

Facts need at least three prompts that locate and a held-out one, and a subject that
does not hold the object. The run survives everything, as that of `engram reproduce`:
the same command goes on where it was. `engram report RUN.db` makes the page.

Examples:
  engram audit models/engram-base --facts models/engram-base/facts.jsonl --run audit.db
  engram audit build/real/bert-base-cased --facts pararel/ --run audit.db --json
  engram audit models/engram-base --facts models/engram-base/facts.jsonl --edit p36.safetensors
)";

constexpr const char* kVerdicts = "-verdict";

constexpr int64_t kUpdateFacts = 10;  // of a relation, to edit
// On whose prompts the damage of an edit is measured.
constexpr int64_t kSameRelation = 5;
constexpr int64_t kOtherRelations = 10;

struct AuditOptions {
  RunCommandOptions run;
  int64_t per_relation = 150;
  std::optional<int64_t> known, never, update_facts, planted_facts, truth_facts;
  std::string edit, edited;
  std::vector<int64_t> relearn;
};

std::string plain_table(const ReportTable& table) {
  if (!table.skipped.empty()) return table.title + ": " + table.skipped + "\n";
  std::vector<Table::Column> columns;
  for (const ReportColumn& column : table.columns) {
    const bool text = column.format == CellFormat::kText || column.format == CellFormat::kRelation;
    columns.push_back({column.title, text ? Table::Align::kLeft : Table::Align::kRight});
  }
  Table out(columns);
  for (const std::vector<ReportCell>& row : table.rows) {
    std::vector<std::string> cells;
    for (size_t c = 0; c < row.size(); ++c) {
      const CellFormat format = row[c].format.value_or(table.columns[c].format);
      const std::string interval = interval_text(row[c], format);
      cells.push_back(printable(cell_text(row[c], format)) +
                      (interval.empty() ? "" : " " + interval));
    }
    out.add_row(cells);
  }
  return table.title + "\n" + out.str();
}

/// The sections of the audit, which come behind those of a plain run.
std::vector<const ReportTable*> audit_tables(const RunReport& report,
                                             const std::vector<std::string_view>& sections) {
  std::vector<const ReportTable*> tables;
  for (const ReportSection& section : report.sections) {
    if (std::ranges::find(sections, section.id) == sections.end()) continue;
    for (const ReportBlock& block : section.blocks) {
      if (const auto* table = std::get_if<ReportTable>(&block)) tables.push_back(table);
    }
  }
  return tables;
}

Json number_or_null(double value) { return std::isnan(value) ? Json(nullptr) : Json(value); }

/// The rows of a table of verdicts: hypothesis, figure, decision, sentence.
void add_verdicts(const ReportTable& table, Json& out) {
  for (const std::vector<ReportCell>& row : table.rows) {
    out.push_back(
        {{"experiment", table.id.substr(0, table.id.size() - std::string(kVerdicts).size())},
         {"hypothesis", row.at(0).text},
         {"value", number_or_null(row.at(1).number.value)},
         {"low", number_or_null(row.at(1).number.low)},
         {"high", number_or_null(row.at(1).number.high)},
         {"decision", row.at(2).text},
         {"sentence", row.at(3).text}});
  }
}

/// With --edit or --edited.
void audit_edit(const AuditOptions& options) {
  if (!options.edit.empty() && !options.edited.empty()) {
    throw UsageError("got --edit and --edited, expected one of them");
  }
  if (!options.run.run.empty() || !options.run.scope.only.empty()) {
    throw UsageError("--run and --only belong to an audit of neurons, not to one of an edit");
  }
  if (options.update_facts || options.planted_facts || options.truth_facts ||
      !options.run.options.corpus.empty() || !options.run.options.non_facts.empty()) {
    throw UsageError(
        "--update-facts, --planted-facts, --truth-facts, --corpus and --non-facts belong to an "
        "audit of neurons, not to one of an edit");
  }
  if (options.run.options.choice.relations.size() > 1) {
    throw UsageError("--relations: an edit is examined for one relation, got " +
                     std::to_string(options.run.options.choice.relations.size()));
  }
  RemovalAuditOptions removal;
  removal.common = options.run.common;
  removal.model = options.run.model;
  removal.facts = options.run.facts;
  removal.edit = options.edit;
  removal.edited = options.edited;
  removal.relations = options.run.options.choice.relations;
  removal.per_relation = options.per_relation;
  removal.known = options.known.value_or(removal.known);
  removal.never = options.never.value_or(removal.never);
  if (!options.relearn.empty()) removal.relearn = options.relearn;
  run_removal_audit(removal);
}

void run_audit(AuditOptions options) {
  if (!options.edit.empty() || !options.edited.empty()) return audit_edit(options);
  RunCommandOptions& run = options.run;
  if (run.run.empty()) throw UsageError("--run is required (see `engram help audit`)");
  AuditSample sample;
  sample.known = options.known.value_or(sample.known);
  sample.never = options.never.value_or(sample.never);
  run.options.audit = sample;
  run.options.update_facts = options.update_facts.value_or(kUpdateFacts);
  run.options.truth_facts = options.truth_facts.value_or(run.options.truth_facts);
  run.options.planted_facts = options.planted_facts.value_or(run.options.planted_facts);
  run.options.same_relation = kSameRelation;
  run.options.other_relations = kOtherRelations;
  run.options.choice.per_relation = options.per_relation;
  run.options.locate.selection = selection_preset("dai2022", Score::kIntegratedGradients);
  run.options.baseline = selection_preset("dai2022", Score::kActivation);
  for (const std::string& path : run.options.non_facts) {
    // What is wrong with them is said now and not hours later.
    FactSetOptions reading;
    reading.held_out_share = 0;
    (void)facts_for_model(run.model, path, reading, run.common);
  }
  const auto start = std::chrono::steady_clock::now();
  perform_run(run, [&](const RunContext& context, const RunSummary& summary, const FactSet&) {
    std::vector<std::string_view> names;
    const auto experiments = make_experiments();
    for (const auto& experiment : experiments) {
      if (experiment->of_audit()) names.push_back(experiment->name());
    }
    ReportOptions how;
    how.bootstrap.seed = run.common.seed;
    how.seed = run.common.seed;
    const RunReport report = make_report(context.store, how);
    const std::vector<const ReportTable*> tables = audit_tables(report, names);
    if (run.common.json) {
      Json out = {{"schema", "engram.audit/1"}, {"run", run.run}};
      out["facts"] = context.facts.usable().size();
      Json& verdicts = out["verdicts"] = Json::array();
      for (const ReportTable* table : tables) {
        if (table->id.ends_with(kVerdicts)) add_verdicts(*table, verdicts);
      }
      Json& skipped = out["skipped"] = Json::array();
      for (const auto& [experiment, reason] : summary.left_out) {
        skipped.push_back({{"experiment", experiment}, {"reason", reason}});
      }
      print_json(out);
      return;
    }
    std::string text;
    for (const ReportTable* table : tables)
      text += (text.empty() ? "" : "\n") + plain_table(*table);
    print(text + "\nthe page: engram report " + run.run + " -o report.html\n");
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    note(run.common, format_count(summary.done, "piece") + " of work done in " +
                         format_duration(seconds) + ", " + format_count(summary.skipped) +
                         " were done before");
  });
}

}  // namespace

void add_audit_command(CLI::App& app) {
  auto options = std::make_shared<AuditOptions>();
  auto only = std::make_shared<std::vector<std::string>>();
  CLI::App* command =
      add_command(app, "audit", "doubts about knowledge neurons, measured", kAuditHelp);
  add_model(*command, options->run.model, "Folder of the model.")->required();
  add_facts_option(*command, options->run.facts);
  add_path(*command, "--run", options->run.run,
           "The run's file; made when it is not there. Required, but with --edit or --edited.")
      ->type_name("RUN.db");
  command->add_option("--only", *only, "Experiments to run, with commas. Default: all.")
      ->delimiter(',')
      ->type_name("NAME,...");
  command
      ->add_option("--relations", options->run.options.choice.relations,
                   "Take these relations alone, with commas. Default: all.")
      ->delimiter(',')
      ->type_name("NAME,...");
  add_integer(*command, "--per-relation", options->per_relation, 1, 1'000'000,
              "Facts of each relation to screen, at most. Default: 150.");
  add_integer(*command, "--known", options->known, 0, 1'000'000,
              "Facts to take that the model knows, at most. Default: 200, of an edit 60.");
  add_integer(*command, "--never", options->never, 0, 1'000'000,
              "Facts to take that it never gives, at most. Default: 150, of an edit 60.");
  add_integer(*command, "--update-facts", options->update_facts, 1, 1'000'000,
              "Facts of each relation to edit, at most. Default: 10.");
  add_integer(*command, "--planted-facts", options->planted_facts, 0, 1'000'000,
              "Facts to plant, besides five that choose settings; 0: none. Default: 16.");
  add_integer(*command, "--truth-facts", options->truth_facts, 0, 1'000'000,
              "Known facts of which every neuron is ablated on two prompts: minutes each for "
              "BERT-base. Default: 0.");
  add_path(*command, "--corpus", options->run.options.corpus,
           "Ordinary text, a sentence or paragraph a line: for ROME. Default: MODEL/corpus.txt.")
      ->type_name("FILE");
  add_paths(*command, "--non-facts", options->run.options.non_facts,
            "Other associations to hold facts against: minimal pairs of grammar (BLiMP), relations "
            "of words (LRE), or any fact set. May come several times.")
      ->type_name("FACTS");
  add_path(*command, "--edit", options->edit,
           "Examine this delta of the model instead, for the relation that it is for.")
      ->type_name("DELTA");
  add_path(*command, "--edited", options->edited,
           "The same for an edited checkpoint; --relations names what was erased.")
      ->type_name("DIR");
  command
      ->add_option("--relearn", options->relearn,
                   "Of an edit: steps of training behind which it is asked; 0: none. "
                   "By default 1,2,5,10,20,50.")
      ->delimiter(',')
      ->type_name("N,...");
  add_common_options(*command, options->run.common);
  command->callback([options, only] {
    options->run.scope.only = *only;
    run_audit(*options);
  });
}

}  // namespace engram::cli
