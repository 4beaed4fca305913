// Joining runs, and what is different between two.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "engram/base/file.h"
#include "engram/error.h"
#include "engram/store/run_store.h"
#include "store/database.h"
#include "store/layout.h"
#include "store/text.h"

namespace engram {
namespace {

constexpr const char* kNothing = "no file was written";

bool is_content(const Table& table) { return table.kind == TableKind::kContent; }

/// Tables of content whose rows units wrote.
bool is_result(const Table& table) {
  const std::string_view name = table.name;
  return is_content(table) && name != "identity" && name != "unit";
}

/// A database file that becomes `path` when it is whole, else goes.
class NewDatabase {
 public:
  explicit NewDatabase(const std::filesystem::path& path)
      : file_(path, FileInMaking::Existing::kRefuse) {}
  ~NewDatabase() {
    for (const char* tail : {"-wal", "-shm", "-journal"}) {
      ::unlink((file_.temporary().string() + tail).c_str());
    }
  }
  NewDatabase(const NewDatabase&) = delete;
  NewDatabase& operator=(const NewDatabase&) = delete;

  [[nodiscard]] const std::filesystem::path& temporary() const { return file_.temporary(); }

  /// REQUIRES: no connection to it is open.
  void commit() { file_.commit(); }

 private:
  FileInMaking file_;
};

/// "column p: 0.1 against 0.2" of the first column that differs.
std::string column_difference(const Table& table, const Row& a, const Row& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i]) continue;
    std::string text = "column " + std::string(table.columns[i].name) + ": " + show_value(a[i]) +
                       " against " + show_value(b[i]);
    if (show_value(a[i]) == show_value(b[i])) text += " (not the same bytes)";
    return text;
  }
  return {};
}

std::string row_name(const Table& table, const Row& row) {
  return "table " + std::string(table.name) + ", key " + show_key(row, table.key);
}

/// The parts that were joined so far, in one file, and what to call them.
class Joined {
 public:
  Joined(const std::filesystem::path& path, std::filesystem::path out)
      : database_(path, Database::Access::kWrite), out_(std::move(out)) {
    database_.describe(out_.string(), kNothing);
    // The file is thrown away after any error. References are looked at once, in the end.
    database_.execute(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF");
    database_.stop_when_asked();
  }

  void begin(const RunIdentity& identity) {
    Transaction transaction(database_, /*writing=*/true);
    create_run(database_, identity);
    transaction.commit();
  }

  void add(const std::filesystem::path& part) {
    database_.describe(part.string() + ", merged into " + out_.string(), kNothing);
    database_.attach(part, "part");
    // One moment of a part that is being written to; not a writing one, which would lock it.
    Transaction transaction(database_, /*writing=*/false);
    check_units(part);
    for (const Table& table : run_tables()) {
      if (is_result(table)) check_rows(table, part);
      if (is_content(table)) copy(table);
    }
    copy_ledger();
    transaction.commit();
    database_.detach("part");
    names_ += (names_.empty() ? "" : ", ") + part.string();
  }

  void finish() {
    Statement broken(database_, "PRAGMA foreign_key_check");
    if (broken.step()) {
      throw InputError(names_ + ": a row of table " + broken.text(0) + " refers to a row of " +
                       broken.text(2) + " that none of them has");
    }
    Statement mode(database_, "PRAGMA journal_mode = WAL");
    mode.run();
  }

 private:
  /// Units of both must have written the same; says what is not, if a row with the same key shows
  /// it.
  void check_units(const std::filesystem::path& part) {
    Statement statement(database_,
                        "SELECT a.experiment, a.relation, a.part, a.rows, b.rows FROM main.unit a "
                        "JOIN part.unit b USING (experiment, relation, part) "
                        "WHERE a.sha256 IS NOT b.sha256 LIMIT 1");
    if (!statement.step()) return;
    const Row row = statement.row();
    for (const Table& table : run_tables()) {
      if (is_result(table)) check_rows(table, part);
    }
    throw InputError(names_ + " and " + part.string() + " do not belong together: unit " +
                     show_key(row, 3) + " has " + show_value(row[3]) + " rows against " +
                     show_value(row[4]) + ", and not the same ones");
  }

  void check_rows(const Table& table, const std::filesystem::path& part) {
    if (table.key == table.columns.size()) return;  // the same key is the same row
    std::string differs;
    for (size_t i = table.key; i < table.columns.size(); ++i) {
      const std::string name = "\"" + std::string(table.columns[i].name) + "\"";
      differs += (i == table.key ? "a." : " OR a.") + name + " IS NOT b." + name;
    }
    const std::string name = "\"" + std::string(table.name) + "\"";
    Statement statement(database_, "SELECT " + column_list(table, table.columns.size(), "a.") +
                                       ", " + column_list(table, table.columns.size(), "b.") +
                                       " FROM part." + name + " b JOIN main." + name +
                                       " a USING (" + key_list(table) + ") WHERE " + differs +
                                       " LIMIT 1");
    if (!statement.step()) return;
    const Row both = statement.row();
    const auto middle = both.begin() + static_cast<std::ptrdiff_t>(table.columns.size());
    throw InputError(names_ + " and " + part.string() +
                     " do not belong together: " + row_name(table, both) + ": " +
                     column_difference(table, {both.begin(), middle}, {middle, both.end()}));
  }

  void copy(const Table& table) {
    const std::string columns = column_list(table, table.columns.size());
    const std::string name = "\"" + std::string(table.name) + "\"";
    database_.execute("INSERT INTO main." + name + " (" + columns + ") SELECT " + columns +
                      " FROM part." + name + " WHERE true ON CONFLICT DO NOTHING");
  }

  /// Sessions one after the other, counted anew; one that two parts hold comes in once.
  void copy_ledger() {
    const Table& table = run_table("session");
    std::string rest;
    for (size_t i = 1; i < table.columns.size(); ++i) {
      rest += ", \"" + std::string(table.columns[i].name) + "\"";
    }
    database_.execute(
        "INSERT INTO main.session (session" + rest +
        ") SELECT row_number() OVER (ORDER BY session) + (SELECT coalesce(max(session), 0) "
        "FROM main.session)" +
        rest +
        " FROM part.session AS new WHERE NOT EXISTS (SELECT 1 FROM main.session AS "
        "old WHERE old.host = new.host AND old.started = new.started AND "
        "old.command = new.command)");
    copy(run_table("skipped"));
  }

  Database database_;
  std::filesystem::path out_;
  std::string names_;
};

/// -1, 0, 1.
int compare_keys(const Row& a, const Row& b, size_t key) {
  for (size_t i = 0; i < key; ++i) {
    if (a[i] < b[i]) return -1;
    if (b[i] < a[i]) return 1;
  }
  return 0;
}

/// The rows of a table, one at a time, in the order of its key.
class Cursor {
 public:
  Cursor(RunStore& run, const Table& table) : reader_(run.rows(table.name)) { next(); }
  void next() { row_ = reader_(); }
  [[nodiscard]] const std::optional<Row>& row() const { return row_; }

 private:
  std::function<std::optional<Row>()> reader_;
  std::optional<Row> row_;
};

std::optional<std::string> table_difference(RunStore& a, RunStore& b, const Table& table) {
  const auto only_in = [&](const Row& row, const RunStore& run) {
    return row_name(table, row) + ": only in " + run.path().string();
  };
  Cursor left(a, table);
  Cursor right(b, table);
  while (left.row() || right.row()) {
    if (!right.row()) return only_in(*left.row(), a);
    if (!left.row()) return only_in(*right.row(), b);
    const int order = compare_keys(*left.row(), *right.row(), table.key);
    if (order < 0) return only_in(*left.row(), a);
    if (order > 0) return only_in(*right.row(), b);
    const std::string columns = column_difference(table, *left.row(), *right.row());
    if (!columns.empty()) return row_name(table, *left.row()) + ": " + columns;
    left.next();
    right.next();
  }
  return {};
}

}  // namespace

void merge_runs(const std::filesystem::path& out, const std::vector<std::filesystem::path>& in) {
  if (in.empty()) throw InternalError("no runs to merge");
  NewDatabase file(out);
  {
    const RunIdentity identity = RunStore::open(in.front(), RunStore::Mode::kRead).identity();
    for (const std::filesystem::path& path : in) {
      const RunIdentity other = RunStore::open(path, RunStore::Mode::kRead).identity();
      const std::string difference =
          identity_difference(identity, other, "in " + in.front().string(), "in " + path.string());
      if (!difference.empty()) {
        throw InputError(in.front().string() + " and " + path.string() +
                         " do not belong together: " + difference);
      }
    }
    Joined joined(file.temporary(), out);
    joined.begin(identity);
    for (const std::filesystem::path& path : in) joined.add(path);
    joined.finish();
  }
  file.commit();
}

std::optional<std::string> run_difference(RunStore& a, RunStore& b) {
  // Units last: what the other tables hold says more than that a unit's rows are not the same.
  for (const Table& table : run_tables()) {
    if (!is_content(table) || std::string_view(table.name) == "unit") continue;
    if (auto difference = table_difference(a, b, table)) return difference;
  }
  return table_difference(a, b, run_table("unit"));
}

}  // namespace engram
