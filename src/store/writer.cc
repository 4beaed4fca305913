#include "store/writer.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <ctime>
#include <iterator>
#include <memory>
#include <type_traits>
#include <utility>

#include "base/sha256.h"
#include "engram/error.h"
#include "store/layout.h"
#include "store/lock.h"
#include "store/text.h"

namespace engram {
namespace {

constexpr int64_t kQueueBytes = int64_t{64} << 20;  // a unit that is larger waits for an empty one
constexpr std::chrono::milliseconds kProgressEvery{500};

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[32];
  const size_t size = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return {text, size};
}

/// Memory that a value takes, nearly.
int64_t bytes_of(const Value& value) {
  int64_t bytes = sizeof(Value);
  if (const auto* text = std::get_if<std::string>(&value)) {
    bytes += static_cast<int64_t>(text->size());
  } else if (const auto* blob = std::get_if<std::vector<std::byte>>(&value)) {
    bytes += static_cast<int64_t>(blob->size());
  }
  return bytes;
}

int64_t bytes_of(const std::vector<TableRows>& tables) {
  int64_t bytes = 0;
  for (const TableRows& table : tables) {
    for (const Row& row : table.rows) {
      for (const Value& value : row) bytes += bytes_of(value);
    }
  }
  return bytes;
}

void put_number(std::string& out, uint64_t number) {
  for (int shift = 0; shift < 64; shift += 8) out += static_cast<char>(number >> shift);
}

/// Values that SQLite gives back differently are hashed as what it gives back.
void put_value(std::string& out, const Value& value) {
  std::visit(
      [&](const auto& v) {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::monostate>) {
          out += 'n';
        } else if constexpr (std::is_same_v<T, int64_t>) {
          out += 'i';
          put_number(out, static_cast<uint64_t>(v));
        } else if constexpr (std::is_same_v<T, double>) {
          out += std::isnan(v) ? 'n' : 'r';
          if (!std::isnan(v)) put_number(out, std::bit_cast<uint64_t>(v == 0 ? 0.0 : v));
        } else {
          out += std::is_same_v<T, std::string> ? 't' : 'b';
          put_number(out, v.size());
          out.append(reinterpret_cast<const char*>(v.data()), v.size());
        }
      },
      value);
}

/// One entry per table, ascending, its rows in the order of its key: the order that a unit's rows
/// came in says nothing, and inserts in the order of the key are the fastest.
std::map<std::string, std::vector<Row>> in_order(std::vector<TableRows>& tables) {
  std::map<std::string, std::vector<Row>> sorted;
  for (TableRows& table : tables) {
    std::vector<Row>& rows = sorted[table.table];
    std::ranges::move(table.rows, std::back_inserter(rows));
    table.rows.clear();
  }
  for (auto& [name, rows] : sorted) {
    const auto key = static_cast<std::ptrdiff_t>(run_table(name).key);
    std::ranges::stable_sort(rows, [key](const Row& a, const Row& b) {
      return std::lexicographical_compare(a.begin(), a.begin() + key, b.begin(), b.begin() + key);
    });
  }
  return sorted;
}

}  // namespace

RunWriter::RunWriter(const std::filesystem::path& path)
    : database_(path, Database::Access::kWrite) {
  // A commit is on the disk when it returns: it outlives kill -9 and loss of power. That costs one
  // fsync a unit, in this thread, for work of seconds.
  database_.execute("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON");
  thread_ = std::jthread([this] { loop(); });
}

RunWriter::~RunWriter() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  more_.notify_all();
  thread_.join();
}

void RunWriter::write(const Unit& unit, std::vector<TableRows> rows) {
  const int64_t bytes = bytes_of(rows);
  // Shared, since a std::function has to be copyable.
  auto held = std::make_shared<std::vector<TableRows>>(std::move(rows));
  enqueue({[this, unit, held] { write_unit(unit, *held); }, bytes});
}

void RunWriter::enqueue(Job job) {
  std::unique_lock lock(mutex_);
  less_.wait(lock, [&] {
    return error_ != nullptr || queue_.empty() || queued_bytes_ + job.bytes <= kQueueBytes;
  });
  if (error_ != nullptr) std::rethrow_exception(error_);
  queued_bytes_ += job.bytes;
  queue_.push_back(std::move(job));
  more_.notify_one();
}

void RunWriter::flush() {
  std::unique_lock lock(mutex_);
  less_.wait(lock, [&] { return error_ != nullptr || (queue_.empty() && !working_); });
  if (error_ != nullptr) std::rethrow_exception(error_);
}

void RunWriter::loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    const auto ready = [&] { return stop_ || !queue_.empty(); };
    if (stage_changed_ && error_ == nullptr) {
      more_.wait_until(lock, next_progress_, ready);
    } else {
      more_.wait(lock, [&] { return ready() || (stage_changed_ && error_ == nullptr); });
    }
    if (!queue_.empty()) {
      const Job job = std::move(queue_.front());
      queue_.pop_front();
      work_on(lock, job.work);
      queued_bytes_ -= job.bytes;
      less_.notify_all();
    } else if (stop_) {
      return;
    } else if (stage_changed_ && error_ == nullptr && Clock::now() >= next_progress_) {
      work_on(lock, [this] { write_session(State::kRunning); });
      less_.notify_all();
    }
  }
}

void RunWriter::work_on(std::unique_lock<std::mutex>& lock, const std::function<void()>& work) {
  working_ = true;
  lock.unlock();
  std::exception_ptr error;
  try {
    work();
  } catch (...) {
    error = std::current_exception();
  }
  lock.lock();
  working_ = false;
  if (error == nullptr) return;
  error_ = error;
  queue_.clear();
  queued_bytes_ = 0;
}

void RunWriter::insert(const Table& table, const Row& row) {
  auto found = inserts_.find(table.name);
  if (found == inserts_.end()) {
    found = inserts_.emplace(table.name, Statement(database_, insert_sql(table))).first;
  }
  for (size_t i = 0; i < row.size(); ++i) found->second.bind(static_cast<int>(i) + 1, row[i]);
  found->second.run();
}

void RunWriter::write_unit(const Unit& unit, std::vector<TableRows>& rows) {
  const std::map<std::string, std::vector<Row>> tables = in_order(rows);
  Sha256 hash;
  int64_t count = 0;
  for (const auto& [name, sorted] : tables) {
    for (const Row& row : sorted) {
      std::string bytes = name + '\0';
      for (const Value& value : row) put_value(bytes, value);
      hash.update(bytes);
      ++count;
    }
  }
  Transaction transaction(database_, /*writing=*/true);
  // Parents first: tables stand behind those that they refer to.
  for (const Table& table : run_tables()) {
    const auto found = tables.find(table.name);
    if (found == tables.end()) continue;
    for (const Row& row : found->second) insert_of_unit(unit, table, row);
  }
  insert(run_table("unit"), {unit.experiment, unit.relation, unit.part, count, hash.hex()});
  write_session(State::kRunning);
  transaction.commit();
}

void RunWriter::insert_of_unit(const Unit& unit, const Table& table, const Row& row) {
  try {
    insert(table, row);
  } catch (const InternalError& error) {
    // A key that is there already, or a reference to nothing: SQLite does not say which row.
    throw InternalError("unit " + unit.experiment + " " + unit.relation + " " +
                        std::to_string(unit.part) + ", table " + table.name + ", key " +
                        show_key(row, table.key) + ": " + error.what());
  }
}

void RunWriter::begin_session(const std::string& command, const std::string& version) {
  enqueue({[this, command, version] {
    Transaction transaction(database_, /*writing=*/true);
    database_.execute("DELETE FROM skipped");
    session_ = database_.integer("SELECT coalesce(max(session), 0) + 1 FROM session");
    session_start_ = Clock::now();
    const std::string now = utc_now();
    insert(run_table("session"),
           {session_, command, version, this_process(), now, now, std::monostate(), int64_t{0},
            std::string(), int64_t{0}, int64_t{0}, int64_t{0}, 0.0, 0.0});
    transaction.commit();
  }});
  flush();
}

void RunWriter::skip(const std::string& experiment, const std::string& reason) {
  enqueue({[this, experiment, reason] {
    const Value columns[] = {experiment, reason};
    Statement replace(database_,
                      "INSERT OR REPLACE INTO skipped (experiment, reason) VALUES (?, ?)");
    replace.bind(1, columns[0]);
    replace.bind(2, columns[1]);
    replace.run();
  }});
}

void RunWriter::progress(std::string_view stage, int64_t done, int64_t total) {
  const std::lock_guard lock(mutex_);
  const Clock::time_point now = Clock::now();
  if (!stage_ || stage_->name != stage) {
    stage_ = Stage{std::string(stage), done, total, done, now, now};
  }
  stage_->done = done;
  stage_->total = total;
  stage_->last = now;
  stage_changed_ = true;
  more_.notify_one();
}

void RunWriter::end_session(bool interrupted) {
  enqueue(
      {[this, interrupted] { write_session(interrupted ? State::kInterrupted : State::kEnded); }});
  flush();
}

void RunWriter::write_session(State state) {
  if (session_ == 0) return;
  Stage stage;
  {
    const std::lock_guard lock(mutex_);
    if (stage_) stage = *stage_;
    stage_changed_ = false;
    next_progress_ = Clock::now() + kProgressEvery;
  }
  const std::chrono::duration<double> seconds = Clock::now() - session_start_;
  const std::chrono::duration<double> in_stage = stage.last - stage.start;
  const std::string now = utc_now();
  Statement update(database_,
                   "UPDATE session SET last = ?, ended = ?, interrupted = ?, stage = ?, done = ?, "
                   "total = ?, stage_from = ?, stage_seconds = ?, seconds = ? WHERE session = ?");
  const Row values = {now,
                      state == State::kRunning ? Value() : Value(now),
                      static_cast<int64_t>(state == State::kInterrupted ? 1 : 0),
                      stage.name,
                      stage.done,
                      stage.total,
                      stage.from,
                      in_stage.count(),
                      seconds.count(),
                      session_};
  for (size_t i = 0; i < values.size(); ++i) update.bind(static_cast<int>(i) + 1, values[i]);
  update.run();
  if (state != State::kRunning) session_ = 0;
}

}  // namespace engram
