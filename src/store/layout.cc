#include "store/layout.h"

#include <algorithm>

#include "engram/base/utf8.h"
#include "engram/error.h"

namespace engram {
namespace {

const char* type_name(ColumnType type) {
  switch (type) {
    case ColumnType::kInteger:
      return "INTEGER";
    case ColumnType::kReal:
      return "REAL";
    case ColumnType::kText:
      return "TEXT";
    case ColumnType::kBlob:
      return "BLOB";
  }
  throw InternalError("unknown column type");
}

// References are looked at row by row: a unit's rows come parents first (RunWriter::write_unit).
// With deferred ones children could come first, at a price: while one is open, SQLite looks through
// all referring rows at every row that might be its end.
std::string create_sql(const Table& table) {
  std::string sql = "CREATE TABLE \"" + std::string(table.name) + "\" (\n";
  for (const Column& column : table.columns) {
    sql += "  \"" + std::string(column.name) + "\" " + type_name(column.type);
    if (column.references != nullptr) {
      sql += " REFERENCES \"" + std::string(column.references) + "\"";
    }
    sql += ",\n";
  }
  return sql + "  PRIMARY KEY (" + key_list(table) + ")\n) STRICT, WITHOUT ROWID";
}

int version_of(Database& database) {
  return static_cast<int>(database.integer("PRAGMA user_version"));
}

/// Are there steps from one version to the other?
bool leads_to(std::span<const Migration> migrations, int from, int to) {
  for (; from < to; ++from) {
    if (std::ranges::find(migrations, from, &Migration::from) == migrations.end()) return false;
  }
  return from == to;
}

std::string version_error(const Database& database, int got, int expected) {
  const std::string file = database.path().string();
  const std::string have =
      ": got a run of schema " + std::to_string(got) + ", expected " + std::to_string(expected);
  if (got > expected) return file + have + "; a newer version of this program made it";
  if (leads_to(run_migrations(), got, expected)) {
    return file + have + "; going on with the run brings it up to date";
  }
  return file + have + "; an older version of this program made it, and can read it";
}

void check_application(Database& database) {
  if (database.integer("PRAGMA application_id") != kApplicationId) {
    throw FileError(database.path().string() +
                    ": is a SQLite database of something else, expected a run");
  }
}

/// `columns` are those of the table or view `name`, and of no other types.
void check_columns(Database& database, const char* name, const std::vector<Column>& columns,
                   bool typed) {
  std::string got;
  std::string expected;
  try {
    Statement statement(database, "SELECT name, type FROM pragma_table_info(?)");
    const Value wanted = std::string(name);
    statement.bind(1, wanted);
    while (statement.step()) {
      got += " " + statement.text(0);
      if (typed) got += " " + statement.text(1) + ",";
    }
  } catch (const InternalError& error) {
    // The question is right; a view of the file asks for what its tables do not have.
    throw InputError(std::string(error.what()) + "; expected the tables and views of a run");
  }
  for (const Column& column : columns) {
    expected += " " + std::string(column.name);
    if (typed) expected += " " + std::string(type_name(column.type)) + ",";
  }
  if (got != expected) {
    throw InputError(database.path().string() + ": " + name + ": got columns" + printable(got) +
                     ", expected" + expected);
  }
}

}  // namespace

std::string column_list(const Table& table, size_t count, std::string_view prefix) {
  std::string list;
  for (size_t i = 0; i < count; ++i) {
    list += (i == 0 ? "" : ", ") + std::string(prefix) + "\"" + table.columns[i].name + "\"";
  }
  return list;
}

std::string insert_sql(const Table& table) {
  std::string places;
  for (size_t i = 0; i < table.columns.size(); ++i) places += i == 0 ? "?" : ", ?";
  return "INSERT INTO main.\"" + std::string(table.name) + "\" (" +
         column_list(table, table.columns.size()) + ") VALUES (" + places + ")";
}

void create_run(Database& database, const RunIdentity& identity) {
  for (const Table& table : run_tables()) database.execute(create_sql(table));
  for (const View& view : run_views()) {
    database.execute("CREATE VIEW \"" + std::string(view.name) + "\" AS " + view.select);
  }
  write_identity(database, identity);
  database.execute("PRAGMA application_id = " + std::to_string(kApplicationId));
  database.execute("PRAGMA user_version = " + std::to_string(kSchemaVersion));
}

bool is_empty(Database& database) {
  return database.integer("PRAGMA application_id") == 0 &&
         database.integer("SELECT count(*) FROM sqlite_schema") == 0;
}

void check_run(Database& database) {
  check_application(database);
  const int version = version_of(database);
  if (version != kSchemaVersion) {
    throw InputError(version_error(database, version, kSchemaVersion));
  }
  for (const Table& table : run_tables()) check_columns(database, table.name, table.columns, true);
  for (const View& view : run_views()) check_columns(database, view.name, view.columns, false);
}

void check_migratable(Database& database, std::span<const Migration> migrations, int version) {
  check_application(database);
  const int got = version_of(database);
  if (!leads_to(migrations, got, version)) {
    throw InputError(version_error(database, got, version));
  }
}

void migrate_run(Database& database, std::span<const Migration> migrations, int version) {
  check_migratable(database, migrations, version);
  if (version_of(database) == version) return;
  // Another writer cannot come in between; references are looked at when all is in place.
  database.execute("PRAGMA foreign_keys = OFF");
  Transaction transaction(database, /*writing=*/true);
  for (int at = version_of(database); at != version; ++at) {
    const auto step = std::ranges::find(migrations, at, &Migration::from);
    if (step == migrations.end()) throw InternalError("the run was migrated by another writer");
    database.execute(step->sql);
  }
  Statement broken(database, "PRAGMA foreign_key_check");
  if (broken.step()) {
    throw InternalError(database.path().string() + ": the new schema breaks a reference of table " +
                        broken.text(0));
  }
  database.execute("PRAGMA user_version = " + std::to_string(version));
  transaction.commit();
}

RunIdentity read_identity(Database& database) {
  RunIdentity identity;
  Statement statement(database, "SELECT name, value FROM identity");
  while (statement.step()) {
    const Value value = statement.value(1);
    const auto* text = std::get_if<std::string>(&value);
    identity[statement.text(0)] = text == nullptr ? "" : *text;
  }
  return identity;
}

void write_identity(Database& database, const RunIdentity& identity) {
  database.execute("DELETE FROM identity");
  Statement insert(database, insert_sql(run_table("identity")));
  for (const auto& [name, value] : identity) {
    const Value columns[] = {name, value};
    insert.bind(1, columns[0]);
    insert.bind(2, columns[1]);
    insert.run();
  }
}

std::string identity_difference(const RunIdentity& a, const RunIdentity& b, const std::string& of_a,
                                const std::string& of_b) {
  const auto side = [](const RunIdentity& of, const std::string& name) {
    const auto found = of.find(name);
    return found == of.end() ? "nothing" : "\"" + found->second + "\"";
  };
  RunIdentity names = a;
  names.insert(b.begin(), b.end());
  std::string text;
  for (const auto& [name, unused] : names) {
    const std::string left = side(a, name);
    const std::string right = side(b, name);
    if (left == right) continue;
    text +=
        (text.empty() ? "" : "; ") + name + ": " + left + " " + of_a + ", " + right + " " + of_b;
  }
  return text;
}

}  // namespace engram
