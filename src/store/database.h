#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "engram/store/schema.h"

struct sqlite3;
struct sqlite3_stmt;

namespace engram {

/// A connection to one SQLite file. For one thread at a time.
///
/// Whatever goes wrong is FileError with the file's name and what to do (no database, damaged,
/// locked by another program, disk full, cannot be read or written), or InternalError for a
/// statement that is wrong or breaks a constraint.
class Database {
 public:
  enum class Access {
    kRead,    ///< the file exists; nothing is changed in it
    kWrite,   ///< the file exists
    kCreate,  ///< made when it is not there
  };
  Database(std::filesystem::path path, Access access);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// Statements without results; several with ';' between them.
  void execute(const std::string& sql);
  /// The first column of the only row.
  int64_t integer(std::string_view sql);
  /// Makes `other` readable as the schema `name`; nothing is changed in it.
  void attach(const std::filesystem::path& other, std::string_view name);
  void detach(std::string_view name);
  /// In messages: `name` instead of the path, and `kept` for what remains after an error.
  void describe(std::string name, std::string kept);
  /// From now on long statements throw Interrupted when a stop was requested.
  void stop_when_asked();

  /// Throws what `code` of the last call stands for.
  [[noreturn]] void fail(int code, std::string_view sql) const;
  [[nodiscard]] sqlite3* handle() const { return handle_; }

  /// How long a statement waits for another program's lock. For all connections made from now on;
  /// for tests.
  static void set_patience(std::chrono::milliseconds patience);

 private:
  void open(const std::string& name, int flags);
  void close();
  std::filesystem::path path_;
  std::string name_;
  std::string kept_ = "what was committed is kept";
  sqlite3* handle_ = nullptr;
};

/// A prepared statement. Its Database outlives it.
class Statement {
 public:
  Statement(const Database& database, std::string_view sql);
  ~Statement();
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&&) = delete;

  /// Parameters count from 1. Texts and blobs must stay until the last step.
  void bind(int parameter, const Value& value);
  /// Goes to the next row; false after the last one, when it can be bound and stepped anew.
  bool step();
  /// step() for a statement without rows.
  void run();
  [[nodiscard]] int columns() const;
  [[nodiscard]] std::string name(int column) const;
  /// Of the current row; columns count from 0.
  [[nodiscard]] Value value(int column) const;
  /// The same of a column that holds texts. Throws InputError for anything else: the file is
  /// damaged.
  [[nodiscard]] std::string text(int column) const;
  [[nodiscard]] Row row() const;

 private:
  const Database* database_;
  sqlite3_stmt* handle_ = nullptr;
};

/// Undone unless commit() was called.
class Transaction {
 public:
  /// A writing one takes the write lock at once.
  Transaction(Database& database, bool writing);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit();

 private:
  Database* database_;
  bool done_ = false;
};

}  // namespace engram
