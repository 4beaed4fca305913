#include "engram/store/schema.h"

#include "engram/error.h"
#include "store/experiment_tables.h"
#include "store/run_rows.h"

namespace engram {
namespace {

constexpr ColumnType kInt = ColumnType::kInteger;
constexpr ColumnType kReal = ColumnType::kReal;
constexpr ColumnType kText = ColumnType::kText;

std::vector<Table> make_tables() {
  std::vector<Table> tables;
  const auto add = [&](const char* name, size_t key, const char* meaning,
                       std::vector<Column> columns, TableKind kind = TableKind::kContent) {
    tables.push_back({name, meaning, kind, key, std::move(columns)});
  };
  add("identity", 1, "what the run is: everything that changes its content",
      {{"name", kText, "option"}, {"value", kText, "its value"}});
  add("unit", 3, "the pieces of work that are done",
      {{"experiment", kText, "name as in --only"},
       {"relation", kText, "empty: all relations together"},
       {"part", kInt, "from 0"},
       {"rows", kInt, "that it wrote, in all tables"},
       {"sha256", kText, "of those rows, so that runs can be compared unit by unit"}});

  tables.push_back(table_of<ModelRow>());
  tables.push_back(table_of<RelationRow>());
  tables.push_back(table_of<FactRow>());
  tables.push_back(table_of<PromptRow>());
  tables.push_back(table_of<ProblemRow>());

  for (Table& table : experiment_tables().tables) tables.push_back(std::move(table));

  add("session", 1, "the processes that worked on this file",
      {{"session", kInt, "from 1"},
       {"command", kText, "as typed"},
       {"version", kText, "of the program"},
       {"host", kText, "host:process"},
       {"started", kText, "UTC"},
       {"last", kText, "last write, UTC"},
       {"ended", kText, "UTC; NULL: running, or killed"},
       {"interrupted", kInt, "1: ended by Ctrl-C or SIGTERM before all was done"},
       {"stage", kText, "experiment at work"},
       {"done", kInt, "facts of the stage that are done"},
       {"total", kInt, "facts of the stage"},
       {"stage_from", kInt, "of those done before this session came to the stage"},
       {"stage_seconds", kReal, "in the stage"},
       {"seconds", kReal, "from started to last"}},
      TableKind::kLedger);
  add("skipped", 1, "experiments that could not run in the last session",
      {{"experiment", kText, ""}, {"reason", kText, ""}}, TableKind::kLedger);
  return tables;
}

}  // namespace

size_t Table::column(std::string_view wanted) const {
  for (size_t i = 0; i < columns.size(); ++i) {
    if (wanted == columns[i].name) return i;
  }
  throw InternalError("table " + std::string(name) + " has no column " + std::string(wanted));
}

std::span<const Table> run_tables() {
  static const std::vector<Table> tables = make_tables();
  return tables;
}

std::span<const View> run_views() {
  static const std::vector<View> views = experiment_tables().views;
  return views;
}

const Table& run_table(std::string_view name) {
  for (const Table& table : run_tables()) {
    if (name == table.name) return table;
  }
  throw InternalError("there is no table " + std::string(name));
}

}  // namespace engram
