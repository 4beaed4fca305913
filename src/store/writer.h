#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engram/store/run_store.h"
#include "store/database.h"

namespace engram {

/// The thread that writes a run, with a connection of its own. After an error nothing more is
/// written: every later call throws that error.
class RunWriter {
 public:
  explicit RunWriter(const std::filesystem::path& path);
  ~RunWriter();  ///< waits for what is queued
  RunWriter(const RunWriter&) = delete;
  RunWriter& operator=(const RunWriter&) = delete;

  /// The functions of RunStore. Rows must fit their tables.
  void write(const Unit& unit, std::vector<TableRows> rows);
  void flush();
  void begin_session(const std::string& command, const std::string& version);
  void skip(const std::string& experiment, const std::string& reason);
  void progress(std::string_view stage, int64_t done, int64_t total);
  void end_session(bool interrupted);

 private:
  using Clock = std::chrono::steady_clock;
  struct Job {
    std::function<void()> work;
    int64_t bytes = 0;
  };
  struct Stage {
    std::string name;
    int64_t done = 0;
    int64_t total = 0;
    int64_t from = 0;  ///< done when it began
    Clock::time_point start;
    Clock::time_point last;
  };

  void enqueue(Job job);
  void loop();
  void work_on(std::unique_lock<std::mutex>& lock, const std::function<void()>& work);

  // In the thread.
  void write_unit(const Unit& unit, std::vector<TableRows>& rows);
  void insert(const Table& table, const Row& row);
  void insert_of_unit(const Unit& unit, const Table& table, const Row& row);
  enum class State { kRunning, kEnded, kInterrupted };
  void write_session(State state);

  Database database_;
  std::map<std::string, Statement> inserts_;  ///< by table
  int64_t session_ = 0;                       ///< 0: none
  Clock::time_point session_start_;

  std::mutex mutex_;  ///< of all below
  std::condition_variable more_;
  std::condition_variable less_;
  std::deque<Job> queue_;
  int64_t queued_bytes_ = 0;
  bool working_ = false;
  bool stop_ = false;
  std::exception_ptr error_;
  std::optional<Stage> stage_;
  bool stage_changed_ = false;
  Clock::time_point next_progress_;

  std::jthread thread_;
};

}  // namespace engram
