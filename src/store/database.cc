#include "store/database.h"

#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <type_traits>
#include <utility>
#include <vector>

#include "engram/base/file.h"
#include "engram/base/interrupt.h"
#include "engram/base/utf8.h"
#include "engram/error.h"

namespace engram {
namespace {

std::atomic<int> patience_ms{10'000};

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

/// What SQLite would say in fewer words. The file itself is never opened here: closing any
/// descriptor of it would drop the locks that other connections of this process hold.
void check_path(const std::filesystem::path& path, Database::Access access) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) {
    if (S_ISREG(status.st_mode)) {
      const int wanted = access == Database::Access::kRead ? R_OK : R_OK | W_OK;
      if (::access(path.c_str(), wanted) == 0) return;
      throw FileError(path.string() + ": cannot open for " +
                      (access == Database::Access::kRead ? "reading: " : "writing: ") +
                      system_message(errno));
    }
    throw FileError(path.string() + ": got " +
                    (S_ISDIR(status.st_mode) ? "a folder" : "a device, pipe or socket") +
                    ", expected a run in one SQLite file");
  }
  if (errno != ENOENT || access != Database::Access::kCreate) {
    throw FileError(path.string() + ": cannot open: " + system_message(errno));
  }
  const std::filesystem::path folder = folder_of(path);
  if (::access(folder.c_str(), W_OK | X_OK) != 0) {
    throw FileError(path.string() + ": cannot write into its folder: " + system_message(errno));
  }
}

/// A file name as a SQLite URI.
std::string uri(const std::filesystem::path& path, const std::string& query) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out = "file:";
  for (const char c : std::filesystem::absolute(path).string()) {
    if (c == '%' || c == '?' || c == '#') {
      out += '%';
      out += kHex[static_cast<unsigned char>(c) >> 4];
      out += kHex[static_cast<unsigned char>(c) & 15];
    } else {
      out += c;
    }
  }
  return out + "?" + query;
}

/// In a folder that cannot be written SQLite cannot make the side file that readers share. Where
/// no writer left anything beside the file, it can be read without.
bool archived(const std::filesystem::path& path) {
  struct stat status {};
  return ::access(folder_of(path).c_str(), W_OK) != 0 &&
         ::stat((path.string() + "-wal").c_str(), &status) != 0;
}

std::string reading_uri(const std::filesystem::path& path) {
  return uri(path, archived(path) ? "mode=ro&immutable=1" : "mode=rw");
}

}  // namespace

void Database::set_patience(std::chrono::milliseconds patience) {
  patience_ms = static_cast<int>(patience.count());
}

Database::Database(std::filesystem::path path, Access access)
    : path_(std::move(path)), name_(path_.string()) {
  check_path(path_, access);
  try {
    if (access == Access::kRead) {
      open(reading_uri(path_), SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI);
      // Not opened as read-only: the last reader then clears away what a killed writer left.
      execute("PRAGMA query_only = ON");
    } else {
      open(std::filesystem::absolute(path_).string(),
           SQLITE_OPEN_READWRITE | (access == Access::kCreate ? SQLITE_OPEN_CREATE : 0));
    }
    // A file from elsewhere cannot make its views and triggers call anything with side effects.
    execute("PRAGMA trusted_schema = OFF");
  } catch (...) {
    close();
    throw;
  }
}

Database::~Database() { close(); }

void Database::open(const std::string& name, int flags) {
  const int code =
      sqlite3_open_v2(name.c_str(), &handle_, flags | SQLITE_OPEN_NOMUTEX, /*zVfs=*/nullptr);
  if (code != SQLITE_OK) fail(code, "open");
  sqlite3_extended_result_codes(handle_, 1);
  sqlite3_busy_timeout(handle_, patience_ms);
}

void Database::close() { sqlite3_close(std::exchange(handle_, nullptr)); }

void Database::fail(int code, std::string_view sql) const {
  const std::string file = name_ + ": ";
  // It may quote what stands in a damaged file.
  const std::string message =
      printable(handle_ == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(handle_));
  const int error = handle_ == nullptr ? 0 : sqlite3_system_errno(handle_);
  switch (code & 0xff) {
    case SQLITE_FULL:
      throw FileError(file + "the disk is full; " + kept_);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      throw FileError(file + "is locked by another program; " + kept_);
    case SQLITE_NOTADB:
      throw FileError(file + "is no SQLite database, expected a run");
    case SQLITE_CORRUPT:
      throw FileError(file + "the database is damaged (" + message + ")");
    case SQLITE_NOMEM:
    case SQLITE_TOOBIG:
      throw FileError(file + message + "; a damaged file can ask for any amount");
    case SQLITE_READONLY:
      throw FileError(file + "cannot be written (" + message + ")");
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_NOLFS:
      throw FileError(file + "cannot be read or written (" + message +
                      (error != 0 ? ": " + system_message(error) : std::string()) + "); " + kept_);
    case SQLITE_INTERRUPT:
      throw Interrupted(kept_);
    case SQLITE_ERROR:
    case SQLITE_FORMAT:
    case SQLITE_MISMATCH:
    case SQLITE_SCHEMA:
      // What a statement of ours asks for, the file does not give.
      throw FileError(file + "the database is damaged, or no run (" + message +
                      " in: " + std::string(sql) + ")");
    default:
      throw InternalError(file + message + " in: " + std::string(sql));
  }
}

void Database::execute(const std::string& sql) {
  const int code = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail(code, sql);
}

int64_t Database::integer(std::string_view sql) {
  Statement statement(*this, sql);
  if (!statement.step()) throw InternalError("no row from " + std::string(sql));
  return std::get<int64_t>(statement.value(0));
}

void Database::attach(const std::filesystem::path& other, std::string_view name) {
  check_path(other, Access::kRead);
  Statement statement(*this, "ATTACH ? AS \"" + std::string(name) + "\"");
  const Value file = reading_uri(other);
  statement.bind(1, file);
  statement.run();
}

void Database::detach(std::string_view name) { execute("DETACH \"" + std::string(name) + "\""); }

void Database::describe(std::string name, std::string kept) {
  name_ = std::move(name);
  kept_ = std::move(kept);
}

void Database::stop_when_asked() {
  sqlite3_progress_handler(
      handle_, /*operations=*/100'000, [](void*) { return Interrupt::requested() ? 1 : 0; },
      nullptr);
}

Statement::Statement(const Database& database, std::string_view sql) : database_(&database) {
  const int code = sqlite3_prepare_v3(database.handle(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &handle_, nullptr);
  if (code != SQLITE_OK) database.fail(code, sql);
}

Statement::~Statement() { sqlite3_finalize(handle_); }

Statement::Statement(Statement&& other) noexcept
    : database_(other.database_), handle_(std::exchange(other.handle_, nullptr)) {}

void Statement::bind(int parameter, const Value& value) {
  const int code = std::visit(
      [&](const auto& v) {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::monostate>) {
          return sqlite3_bind_null(handle_, parameter);
        } else if constexpr (std::is_same_v<T, int64_t>) {
          return sqlite3_bind_int64(handle_, parameter, v);
        } else if constexpr (std::is_same_v<T, double>) {
          return sqlite3_bind_double(handle_, parameter, v);
        } else if constexpr (std::is_same_v<T, std::string>) {
          return sqlite3_bind_text64(handle_, parameter, v.data(), v.size(), SQLITE_STATIC,
                                     SQLITE_UTF8);
        } else {
          // A null pointer would be NULL, not an empty blob.
          static constexpr char kEmpty = 0;
          const void* data = v.empty() ? static_cast<const void*>(&kEmpty) : v.data();
          return sqlite3_bind_blob64(handle_, parameter, data, v.size(), SQLITE_STATIC);
        }
      },
      value);
  if (code != SQLITE_OK) database_->fail(code, sqlite3_sql(handle_));
}

bool Statement::step() {
  const int code = sqlite3_step(handle_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) {
    sqlite3_reset(handle_);
    return false;
  }
  // Resetting may change what the connection says of the error: the exception is made first.
  try {
    database_->fail(code, sqlite3_sql(handle_));
  } catch (...) {
    sqlite3_reset(handle_);
    throw;
  }
}

void Statement::run() {
  while (step()) {
  }
}

int Statement::columns() const { return sqlite3_column_count(handle_); }

std::string Statement::name(int column) const { return sqlite3_column_name(handle_, column); }

Value Statement::value(int column) const {
  switch (sqlite3_column_type(handle_, column)) {
    case SQLITE_INTEGER:
      return static_cast<int64_t>(sqlite3_column_int64(handle_, column));
    case SQLITE_FLOAT:
      return sqlite3_column_double(handle_, column);
    case SQLITE_TEXT: {
      const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(handle_, column));
      return std::string(text, static_cast<size_t>(sqlite3_column_bytes(handle_, column)));
    }
    case SQLITE_BLOB: {
      const auto* bytes = static_cast<const std::byte*>(sqlite3_column_blob(handle_, column));
      return std::vector<std::byte>(bytes, bytes + sqlite3_column_bytes(handle_, column));
    }
    default:
      return std::monostate();
  }
}

std::string Statement::text(int column) const {
  Value found = value(column);
  if (auto* text = std::get_if<std::string>(&found)) return std::move(*text);
  throw InputError(database_->path().string() + ": got a number, blob or NULL as " +
                   printable(name(column)) + ", expected a text: the file is damaged");
}

Row Statement::row() const {
  Row row;
  row.reserve(static_cast<size_t>(columns()));
  for (int i = 0; i < columns(); ++i) row.push_back(value(i));
  return row;
}

Transaction::Transaction(Database& database, bool writing) : database_(&database) {
  database.execute(writing ? "BEGIN IMMEDIATE" : "BEGIN");
}

Transaction::~Transaction() {
  if (done_ || sqlite3_get_autocommit(database_->handle()) != 0) return;
  // SQLite rolls back by itself after some errors; one that cannot be undone here stays in the log
  // without its commit mark, which is the same to every reader.
  sqlite3_exec(database_->handle(), "ROLLBACK", nullptr, nullptr, nullptr);
}

void Transaction::commit() {
  database_->execute("COMMIT");
  done_ = true;
}

}  // namespace engram
