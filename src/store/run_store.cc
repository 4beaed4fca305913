#include "engram/store/run_store.h"

#include <algorithm>
#include <mutex>
#include <set>
#include <utility>

#include "engram/error.h"
#include "store/database.h"
#include "store/layout.h"
#include "store/lock.h"
#include "store/writer.h"

namespace engram {
namespace {

std::string unit_name(const Unit& unit) {
  return unit.experiment + " " + unit.relation + " " + std::to_string(unit.part);
}

std::string text_of(const Value& value) {
  const auto* text = std::get_if<std::string>(&value);
  return text == nullptr ? std::string() : *text;
}
int64_t integer_of(const Value& value) {
  const auto* number = std::get_if<int64_t>(&value);
  return number == nullptr ? 0 : *number;
}
double real_of(const Value& value) {
  const auto* number = std::get_if<double>(&value);
  return number == nullptr ? 0 : *number;
}

bool fits(const Value& value, ColumnType type) {
  switch (type) {
    case ColumnType::kInteger:
      return std::holds_alternative<int64_t>(value);
    case ColumnType::kReal:
      return std::holds_alternative<double>(value);
    case ColumnType::kText:
      return std::holds_alternative<std::string>(value);
    case ColumnType::kBlob:
      return std::holds_alternative<std::vector<std::byte>>(value);
  }
  return false;
}

void check_row(const Table& table, const Row& row) {
  const std::string name = "table " + std::string(table.name);
  if (row.size() != table.columns.size()) {
    throw InternalError(name + ": got " + std::to_string(row.size()) + " values, expected " +
                        std::to_string(table.columns.size()));
  }
  for (size_t i = 0; i < row.size(); ++i) {
    const bool null = std::holds_alternative<std::monostate>(row[i]);
    if (null ? i < table.key : !fits(row[i], table.columns[i].type)) {
      throw InternalError(name + ", column " + table.columns[i].name +
                          ": got a value of another type");
    }
  }
}

void check_rows(const std::vector<TableRows>& tables) {
  for (const TableRows& rows : tables) {
    const Table& table = run_table(rows.table);
    const std::string_view name = table.name;
    if (table.kind != TableKind::kContent || name == "identity" || name == "unit") {
      throw InternalError("table " + rows.table + " is written by the store alone");
    }
    for (const Row& row : rows.rows) check_row(table, row);
  }
}

void use_log(Database& database) {
  Statement mode(database, "PRAGMA journal_mode = WAL");
  if (!mode.step() || text_of(mode.value(0)) != "wal") {
    throw FileError(database.path().string() +
                    ": this file system has no shared memory for SQLite's log, expected a local "
                    "disk");
  }
}

RunIdentity without_algorithms(RunIdentity identity) {
  // "version" of the whole program stood there before experiments had versions of their own.
  std::erase_if(identity, [](const auto& one) {
    return one.first.starts_with(kAlgorithmPrefix) || one.first == "version";
  });
  return identity;
}

/// The run's identity, with the versions that `wanted` has of experiments which have not begun.
RunIdentity identity_to_go_on(Database& database, const RunIdentity& wanted) {
  std::set<std::string> begun;
  Statement experiments(database, "SELECT DISTINCT experiment FROM unit");
  while (experiments.step()) {
    // "effects scale:0.5" is of the algorithm of "effects".
    const std::string name = text_of(experiments.value(0));
    begun.insert(std::string(kAlgorithmPrefix) + name.substr(0, name.find(' ')));
  }
  RunIdentity written = read_identity(database);
  std::erase_if(written, [&](const auto& one) {
    return one.first.starts_with(kAlgorithmPrefix) && !begun.contains(one.first);
  });
  for (const auto& [name, value] : wanted) {
    if (name.starts_with(kAlgorithmPrefix) && !begun.contains(name)) written[name] = value;
  }
  return written;
}

void check_identity(Database& database, const RunIdentity& wanted) {
  const RunIdentity written = identity_to_go_on(database, wanted);
  const std::string difference = identity_difference(written, wanted, "in the run", "asked for");
  if (difference.empty()) return;
  const std::string file = database.path().string();
  if (without_algorithms(written) == without_algorithms(wanted)) {
    throw InputError(file +
                     ": another version of this program made it, which computes some results "
                     "otherwise: go on with that version, or begin a new file; " +
                     difference);
  }
  throw InputError(file + ": is another run; " + difference);
}

/// SELECT of a table, ordered by its key, or of a view. Throws InternalError for unknown names.
std::string select_sql(std::string_view name, const Where& where) {
  const std::vector<Column>* columns = nullptr;
  std::string order;
  for (const View& view : run_views()) {
    if (name == view.name) columns = &view.columns;
  }
  if (columns == nullptr) {
    const Table& table = run_table(name);
    columns = &table.columns;
    order = " ORDER BY " + key_list(table);
  }
  std::string list;
  for (const Column& column : *columns) {
    list += (list.empty() ? "\"" : ", \"") + std::string(column.name) + "\"";
  }
  std::string sql = "SELECT " + list + " FROM \"" + std::string(name) + "\"";
  for (size_t i = 0; i < where.size(); ++i) {
    const bool known = std::ranges::any_of(
        *columns, [&](const Column& column) { return where[i].first == column.name; });
    if (!known) {
      throw InternalError(std::string(name) + " has no column " + std::string(where[i].first));
    }
    // `=` finds no NULL; IS does, and finds by the key just as fast.
    sql += (i == 0 ? " WHERE \"" : " AND \"") + std::string(where[i].first) + "\" IS ?";
  }
  return sql + order;
}

}  // namespace

struct RunStore::Impl {
  explicit Impl(const std::filesystem::path& path, Mode mode)
      : database(path, mode == Mode::kRead ? Database::Access::kRead : Database::Access::kCreate) {}

  void open_for_reading(const RunIdentity& wanted) {
    if (is_empty(database)) {
      throw FileError(database.path().string() + ": is empty, expected a run");
    }
    check_run(database);
    if (!wanted.empty()) check_identity(database, wanted);
    identity = read_identity(database);
  }

  void open_for_writing(const RunIdentity& wanted) {
    lock.emplace(database.path());
    if (is_empty(database)) {
      use_log(database);
      Transaction transaction(database, /*writing=*/true);
      create_run(database, wanted);
      transaction.commit();
    } else {
      // Refused before it is written to.
      check_migratable(database, run_migrations(), kSchemaVersion);
      check_identity(database, wanted);
      migrate_run(database, run_migrations(), kSchemaVersion);
      check_run(database);
      use_log(database);
      if (read_identity(database) != wanted) {
        Transaction transaction(database, /*writing=*/true);
        write_identity(database, wanted);
        transaction.commit();
      }
    }
    identity = wanted;
    const std::vector<Unit> written = read_units();
    units.insert(written.begin(), written.end());
    database.execute("PRAGMA query_only = ON");
    writer.emplace(database.path());
  }

  std::vector<Unit> read_units() {
    std::vector<Unit> found;
    Statement statement(database, select_sql("unit", {}));
    while (statement.step()) {
      found.push_back({text_of(statement.value(0)), text_of(statement.value(1)),
                       integer_of(statement.value(2))});
    }
    return found;
  }

  RunWriter& writing() {
    if (!writer) throw InternalError(database.path().string() + ": was opened for reading");
    return *writer;
  }

  // Goes in the other order: the lock last.
  std::optional<WriterLock> lock;
  Database database;  ///< for reading, once the run is open
  RunIdentity identity;
  std::mutex mutex;
  std::set<Unit> units;  ///< of a writer: committed and queued
  std::optional<RunWriter> writer;
};

RunStore::RunStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RunStore::RunStore(RunStore&&) noexcept = default;
RunStore& RunStore::operator=(RunStore&&) noexcept = default;
RunStore::~RunStore() = default;

RunStore RunStore::open(const std::filesystem::path& path, Mode mode, const RunIdentity& identity) {
  auto impl = std::make_unique<Impl>(path, mode);
  if (mode == Mode::kRead) {
    impl->open_for_reading(identity);
  } else {
    impl->open_for_writing(identity);
  }
  return RunStore(std::move(impl));
}

const std::filesystem::path& RunStore::path() const { return impl_->database.path(); }

RunIdentity RunStore::identity() const { return impl_->identity; }

std::optional<std::string> RunStore::writer(const std::filesystem::path& path) {
  return WriterLock::holder(path);
}

bool RunStore::done(const Unit& unit) const {
  if (impl_->writer) {
    const std::lock_guard lock(impl_->mutex);
    return impl_->units.contains(unit);
  }
  Statement statement(impl_->database, select_sql("unit", {{"experiment", unit.experiment},
                                                           {"relation", unit.relation},
                                                           {"part", unit.part}}));
  const Row key = {unit.experiment, unit.relation, unit.part};
  for (int i = 0; i < 3; ++i) statement.bind(i + 1, key[static_cast<size_t>(i)]);
  return statement.step();
}

std::vector<Unit> RunStore::units() const {
  if (!impl_->writer) return impl_->read_units();
  const std::lock_guard lock(impl_->mutex);
  return {impl_->units.begin(), impl_->units.end()};
}

void RunStore::write(const Unit& unit, std::vector<TableRows> rows) {
  RunWriter& writer = impl_->writing();
  check_rows(rows);
  {
    const std::lock_guard lock(impl_->mutex);
    if (!impl_->units.insert(unit).second) {
      throw InternalError("unit " + unit_name(unit) + " is done already");
    }
  }
  writer.write(unit, std::move(rows));
}

void RunStore::flush() {
  if (impl_->writer) impl_->writer->flush();
}

std::vector<Row> RunStore::read(std::string_view table, const Where& where) {
  std::vector<Row> rows;
  read_each(table, where, [&](const Row& row) {
    rows.push_back(row);
    return true;
  });
  return rows;
}

void RunStore::read_each(std::string_view table, const Where& where,
                         const std::function<bool(const Row&)>& sink) {
  const auto next = rows(table, where);
  while (const std::optional<Row> row = next()) {
    if (!sink(*row)) return;
  }
}

std::function<std::optional<Row>()> RunStore::rows(std::string_view table, const Where& where) {
  flush();
  // The statement refers to the values.
  struct Reading {
    std::vector<Value> values;
    std::optional<Statement> statement;
    bool ended = false;
  };
  auto reading = std::make_shared<Reading>();
  reading->statement.emplace(impl_->database, select_sql(table, where));
  reading->values.reserve(where.size());
  for (size_t i = 0; i < where.size(); ++i) {
    reading->values.push_back(where[i].second);
    reading->statement->bind(static_cast<int>(i) + 1, reading->values.back());
  }
  return [reading]() -> std::optional<Row> {
    // A statement that ended would begin anew.
    if (reading->ended || !reading->statement->step()) {
      reading->ended = true;
      return {};
    }
    return reading->statement->row();
  };
}

void RunStore::snapshot(const std::function<void()>& work) {
  flush();
  Transaction transaction(impl_->database, /*writing=*/false);
  work();
  transaction.commit();
}

void RunStore::begin_session(const std::string& command, const std::string& version) {
  impl_->writing().begin_session(command, version);
}

void RunStore::progress(std::string_view stage, int64_t done, int64_t total) {
  impl_->writing().progress(stage, done, total);
}

void RunStore::skip(const std::string& experiment, const std::string& reason) {
  impl_->writing().skip(experiment, reason);
}

void RunStore::end_session(bool interrupted) { impl_->writing().end_session(interrupted); }

std::map<std::string, std::string> RunStore::skipped() {
  std::map<std::string, std::string> reasons;
  for (const Row& row : read("skipped")) reasons.emplace(text_of(row[0]), text_of(row[1]));
  return reasons;
}

std::vector<RunSession> RunStore::sessions() {
  const Table& table = run_table("session");
  std::vector<RunSession> sessions;
  read_each("session", {}, [&](const Row& row) {
    const auto at = [&](std::string_view name) -> const Value& { return row[table.column(name)]; };
    RunSession session;
    session.session = integer_of(at("session"));
    session.command = text_of(at("command"));
    session.version = text_of(at("version"));
    session.host = text_of(at("host"));
    session.started = text_of(at("started"));
    session.last = text_of(at("last"));
    session.ended = text_of(at("ended"));
    session.interrupted = integer_of(at("interrupted")) != 0;
    session.stage = text_of(at("stage"));
    session.done = integer_of(at("done"));
    session.total = integer_of(at("total"));
    session.stage_from = integer_of(at("stage_from"));
    session.stage_seconds = real_of(at("stage_seconds"));
    session.seconds = real_of(at("seconds"));
    sessions.push_back(std::move(session));
    return true;
  });
  return sessions;
}

}  // namespace engram
