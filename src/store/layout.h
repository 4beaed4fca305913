#pragma once

#include <span>
#include <string>
#include <string_view>

#include "engram/store/run_store.h"
#include "store/database.h"

namespace engram {

/// From one schema version to the next. Run in the transaction that raises user_version.
struct Migration {
  int from;
  const char* sql;
};
/// One for every version below kSchemaVersion, ascending.
std::span<const Migration> run_migrations();

/// "a", "b", ... of the first `count` columns of a table.
std::string column_list(const Table& table, std::size_t count, std::string_view prefix = {});
inline std::string key_list(const Table& table, std::string_view prefix = {}) {
  return column_list(table, table.key, prefix);
}
std::string insert_sql(const Table& table);

/// Tables and views of a run, its marks and identity, in a database that has nothing.
/// REQUIRES: a transaction is open.
void create_run(Database& database, const RunIdentity& identity);

/// Nothing of anybody in it: a new file, or one whose writer was killed while it made it.
bool is_empty(Database& database);

/// Throws FileError where the file is a database of something else, InputError for a run of a
/// newer schema, of an older one, or with other columns than its schema has.
void check_run(Database& database);

/// What migrate_run() does before it writes: throws where it would not reach `version`.
void check_migratable(Database& database, std::span<const Migration> migrations, int version);

/// Brings an older run to `version`. Throws InputError where a step is missing, or the file is
/// newer; then, and after any other error, nothing is changed.
void migrate_run(Database& database, std::span<const Migration> migrations, int version);

RunIdentity read_identity(Database& database);

/// Puts another identity in place of the one that is there. REQUIRES: a transaction is open.
void write_identity(Database& database, const RunIdentity& identity);

/// "seed: 0 here, 1 there; ..." of the names that differ, or empty.
std::string identity_difference(const RunIdentity& a, const RunIdentity& b, const std::string& of_a,
                                const std::string& of_b);

}  // namespace engram
