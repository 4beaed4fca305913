#include "cli/export.h"

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/common.h"
#include "cli/paths.h"
#include "engram/error.h"
#include "engram/store/run_store.h"

namespace engram::cli {
namespace {

constexpr const char* kExportRunHelp =
    R"(Writes every result of a run as a file per table for other programs: facts and
prompts, scores, knowledge neurons, effects, edits, and the tables of the paper
(table_neurons, table_effects, ...). docs/formats.md says what every column means.

  csv      RFC 4180: NULL is an empty field, an empty text is ""; bytes as base64
  jsonl    one JSON object a line
  parquet  typed columns: 64-bit integers, doubles, UTF-8 text, bytes

Numbers have the fewest digits that give exactly the same number back. Times, hosts
and paths are left out: the same results make the same bytes on every machine. A run
that is still going on is exported as it is at this moment.

The run itself is a SQLite file: `sqlite3`, DuckDB and pandas read it without this.

Examples:
  engram export run.db --to tables
  engram export run.db --to tables --format parquet
)";

struct ExportOptions {
  CommonOptions common;
  std::string run;
  std::string folder;
  std::string format = "csv";
};

ExportFormat format_of(const std::string& name) {
  if (name == "csv") return ExportFormat::kCsv;
  if (name == "jsonl") return ExportFormat::kJsonl;
  if (name == "parquet") return ExportFormat::kParquet;
  throw UsageError("--format: got \"" + name + "\", expected csv, jsonl or parquet");
}

void run_export(const ExportOptions& options) {
  const ExportFormat format = format_of(options.format);
  RunStore run = RunStore::open(options.run, RunStore::Mode::kRead);
  std::map<std::string, int64_t> rows;
  try {
    rows = export_run(run, options.folder, format);
  } catch (const Interrupted&) {
    throw Interrupted("files that were complete are kept in " + options.folder);
  }
  if (options.common.json) {
    nlohmann::ordered_json out = {{"schema", "engram.export/1"},
                                  {"run", options.run},
                                  {"folder", options.folder},
                                  {"format", options.format}};
    nlohmann::ordered_json& files = out["files"] = nlohmann::ordered_json::array();
    for (const auto& [name, count] : rows) {
      files.push_back({{"file", name + "." + options.format}, {"rows", count}});
    }
    print_json(out);
    return;
  }
  Table table({{"file", Table::Align::kLeft}, {"rows"}});
  for (const auto& [name, count] : rows) {
    table.add_row({name + "." + options.format, format_count(count)});
  }
  print(options.folder + "\n" + table.str());
}

}  // namespace

void add_export_command(CLI::App& app) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App* command =
      add_command(app, "export", "results of a run as CSV, JSON Lines or Parquet", kExportRunHelp);
  add_path(*command, "RUN", options->run, "File of the run.")->required();
  add_path(*command, "--to", options->folder, "Folder to write into; made when missing. Required.")
      ->type_name("FOLDER")
      ->required();
  command->add_option("--format", options->format, "csv (default), jsonl or parquet.")
      ->type_name("csv|jsonl|parquet");
  add_common_options(*command, options->common, kUsesNothing);
  command->callback([options] { run_export(*options); });
}

}  // namespace engram::cli
