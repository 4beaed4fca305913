#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engram/store/schema.h"

namespace engram {

/// A piece of work that is done whole or not at all: one part of one experiment on one relation.
/// An empty relation stands for all of them together.
struct Unit {
  std::string experiment;
  std::string relation;
  int64_t part = 0;
  friend auto operator<=>(const Unit&, const Unit&) = default;
};

/// What a run is: options that change its content, with their values as text ("model" = its
/// fingerprint, "seed" = "0", ...). Two runs with the same identity have the same content.
using RunIdentity = std::map<std::string, std::string>;

/// Names of an identity that begin so say how results are computed, by which version of this
/// program's algorithms, not of what.
constexpr std::string_view kAlgorithmPrefix = "algorithm.";

/// Conditions `column = value` on a read, all of which must hold.
using Where = std::vector<std::pair<std::string_view, Value>>;

/// What the ledger says of the sessions that worked on a run.
struct RunSession {
  int64_t session = 0;
  std::string command;       ///< as typed
  std::string version;       ///< of the program
  std::string host;          ///< and process id: "host:1234"
  std::string started;       ///< UTC, "2026-01-31T12:00:00Z"
  std::string last;          ///< last write
  std::string ended;         ///< empty: still running, or killed
  bool interrupted = false;  ///< ended before all was done, by Ctrl-C or SIGTERM
  std::string stage;         ///< what it is or was at, "locate"
  int64_t done = 0;          ///< of the stage's `total`
  int64_t total = 0;
  int64_t stage_from = 0;    ///< `done` when the session came to the stage
  double stage_seconds = 0;  ///< since then
  double seconds = 0;        ///< from `started` to `last`
};

/// A run in one SQLite file. One writer: while an object with Mode::kContinue lives, in whatever
/// process, a second one is refused; readers never are. Objects are not thread-safe but for
/// write(), done() and progress(), which any thread may call.
///
/// Rows are written by a thread of the object's own. What is committed outlives kill -9 and loss of
/// power. Beside RUN.db lie RUN.db-wal and RUN.db-shm (SQLite's log, to be kept with the file; they
/// go when the last program closes it) and, while a writer lives or after it was killed,
/// RUN.db-lock.
///
/// Errors: FileError for a file that is no run, is being written or locked by another process, is
/// full, damaged or cannot be written; InputError for a run of another schema, or of another
/// identity (the message lists what differs: name, value of the run, value asked for); what is
/// refused is left as it is. The writer's
/// errors are thrown by whichever of write(), flush(), read() and the ledger's functions comes
/// next, and by every one after it.
class RunStore {
 public:
  enum class Mode {
    kRead,      ///< must exist
    kContinue,  ///< created if it is not there, and then gets `identity`
  };
  /// kRead with an empty `identity`: any run. Names that only one side has are differences, too.
  static RunStore open(const std::filesystem::path& path, Mode mode,
                       const RunIdentity& identity = {});
  RunStore(RunStore&&) noexcept;
  RunStore& operator=(RunStore&&) noexcept;
  ~RunStore();  ///< waits for what is queued; errors are lost: call flush() first

  [[nodiscard]] const std::filesystem::path& path() const;
  [[nodiscard]] RunIdentity identity() const;

  /// "host:process" of the object that holds the run for writing, or nothing.
  static std::optional<std::string> writer(const std::filesystem::path& path);

  /// Has the unit been written (committed or queued)?
  [[nodiscard]] bool done(const Unit& unit) const;
  [[nodiscard]] std::vector<Unit> units() const;  ///< ascending

  /// Queues a unit's rows for the writer thread, which commits them in one transaction together
  /// with the mark that the unit is done; returns at once but for a full queue (64 MiB). The order
  /// of the rows is free. Every row has one value per column of its content table, of the column's
  /// type or NULL. Throws InternalError for rows that are not so, a unit that is done already, and
  /// (later, by the writer) a key that is there already or a reference to a row that is not.
  void write(const Unit& unit, std::vector<TableRows> rows);
  /// Waits until everything queued is on the disk. Throws the writer's error.
  void flush();

  /// Rows of a table, in the order of its primary key, or of a view, in its own. Flushes first, so
  /// that a unit sees what earlier ones wrote.
  [[nodiscard]] std::vector<Row> read(std::string_view table, const Where& where = {});
  /// The same, row by row, for large tables; `sink` returns false to stop. `sink` may read.
  void read_each(std::string_view table, const Where& where,
                 const std::function<bool(const Row&)>& sink);
  /// The same as a function that gives one row after the other, nothing after the last.
  /// REQUIRES: the object outlives it.
  [[nodiscard]] std::function<std::optional<Row>()> rows(std::string_view table,
                                                         const Where& where = {});
  /// All that `work` reads is of one moment of a run that another process writes. Not nested.
  void snapshot(const std::function<void()>& work);

  /// Ledger: begins a session of this process (ended by end_session(), else it counts as killed),
  /// and forgets what earlier ones skipped.
  void begin_session(const std::string& command, const std::string& version);
  /// Says what is being done; written now and then (at most twice a second), by the writer thread.
  void progress(std::string_view stage, int64_t done, int64_t total);
  /// Says why an experiment did not run: a row of the table `skipped`. The last reason stands.
  void skip(const std::string& experiment, const std::string& reason);
  void end_session(bool interrupted = false);
  [[nodiscard]] std::vector<RunSession> sessions();
  /// Experiment -> why it did not run in the last session.
  [[nodiscard]] std::map<std::string, std::string> skipped();

 private:
  struct Impl;
  explicit RunStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Joins runs of one identity into a new file `out` (written beside and renamed): the union of
/// their units with their rows, and of their ledgers. Units that several hold must be equal, and so
/// must rows with the same key. Throws InputError with the difference where they do not belong
/// together; FileError where `out` exists; Interrupted.
void merge_runs(const std::filesystem::path& out, const std::vector<std::filesystem::path>& in);

/// The first difference between the content of two runs ("table effect, key ...: column p: 0.1
/// against 0.2"), or nothing. Ledger tables are not compared.
std::optional<std::string> run_difference(RunStore& a, RunStore& b);

enum class ExportFormat { kCsv, kJsonl, kParquet };
/// Writes every content table and view as FOLDER/<name>.csv, .jsonl or .parquet, each beside and
/// renamed; the folder is made when it is not there. No times, hosts or paths: the same content
/// gives the same bytes. Empty tables are written with their header. docs/formats.md says how
/// values are written. Returns the number of rows by name. Throws FileError, Interrupted.
std::map<std::string, int64_t> export_run(RunStore& run, const std::filesystem::path& folder,
                                          ExportFormat format);

}  // namespace engram
