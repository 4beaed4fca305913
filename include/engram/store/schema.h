#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace engram {

/// Storage of a column. kReal is an IEEE double and comes back bit for bit, but that SQLite stores
/// NaN as NULL and -0 as 0.
enum class ColumnType { kInteger, kReal, kText, kBlob };

struct Column {
  const char* name;
  ColumnType type;
  const char* meaning;  ///< one line for docs/formats.md: unit, range, what NULL stands for
  /// Table whose only key column it refers to: that row comes earlier or in the same unit.
  const char* references = nullptr;
};

/// What a table is part of.
enum class TableKind {
  kContent,  ///< results: exported, merged, compared; the same for resumed, sharded and whole runs
  kLedger,   ///< what was done when: of this file alone, never exported
};

/// A table of a run. Its first `key` columns are the primary key (WITHOUT ROWID), never NULL; all
/// others may be.
struct Table {
  const char* name;
  const char* meaning;
  TableKind kind;
  std::size_t key;
  std::vector<Column> columns;

  [[nodiscard]] std::size_t column(std::string_view name) const;  ///< throws InternalError
};

/// A view: what the paper's tables hold, for `sqlite3`, DuckDB and pandas. No intervals: those are
/// made by the report.
struct View {
  const char* name;
  const char* meaning;
  const char* select;  ///< the SELECT statement
  std::vector<Column> columns;
};

/// Version of the tables below, PRAGMA user_version of a run; raised by every change of them, which
/// then also needs a migration (src/store/migrations.cc).
constexpr int kSchemaVersion = 8;

std::span<const Table> run_tables();
std::span<const View> run_views();
/// PRAGMA application_id of a run: "Engr".
constexpr int kApplicationId = 0x456E6772;

/// Throws InternalError for a name that is not there.
const Table& run_table(std::string_view name);

/// One value: NULL, integer, real, text or blob.
using Value = std::variant<std::monostate, int64_t, double, std::string, std::vector<std::byte>>;
/// One value per column, in the table's order.
using Row = std::vector<Value>;

/// Rows to be written to one table.
struct TableRows {
  std::string table;
  std::vector<Row> rows;
};

}  // namespace engram
