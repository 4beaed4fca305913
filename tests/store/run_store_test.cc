#include "engram/store/run_store.h"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <fstream>
#include <random>
#include <set>
#include <thread>

#include "engram/error.h"
#include "store/database.h"
#include "store/fault_vfs.h"
#include "store/layout.h"
#include "store/runs.h"

namespace engram::testing {
namespace {

namespace fs = std::filesystem;
using Mode = RunStore::Mode;

/// SQL by the C interface alone, as another program would do it.
class Other {
 public:
  explicit Other(const fs::path& path) {
    EXPECT_EQ(sqlite3_open(path.c_str(), &handle_), SQLITE_OK);
  }
  ~Other() { sqlite3_close(handle_); }
  Other(const Other&) = delete;
  Other& operator=(const Other&) = delete;
  void run(const std::string& sql) {
    EXPECT_EQ(sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << sql << ": " << sqlite3_errmsg(handle_);
  }

 private:
  sqlite3* handle_ = nullptr;
};

void put(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }

void expect_line(const std::string& message, const std::vector<std::string>& words) {
  expect_words(message, words);
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
}

TEST(RunStore, GivesBackWhatWasWritten) {
  const Folder folder;
  const std::vector<Unit> units = made_up_units(8);
  RunStore run = RunStore::open(folder.file("run.db"), Mode::kContinue, kIdentity);
  for (const Unit& unit : units) run.write(unit, made_up_rows(unit));
  EXPECT_EQ(actual_content(run), expected_content(units));
  EXPECT_EQ(run.identity(), kIdentity);
}

TEST(RunStore, IsTheSameWhenOpenedAgain) {
  const Folder folder;
  std::vector<Unit> units = made_up_units(5);
  write_units(folder.file("run.db"), units);
  EXPECT_EQ(folder.names(), std::vector<std::string>{"run.db"});
  std::ranges::sort(units);
  for (const Mode mode : {Mode::kRead, Mode::kContinue}) {
    RunStore run = RunStore::open(folder.file("run.db"), mode, kIdentity);
    EXPECT_EQ(run.identity(), kIdentity);
    EXPECT_EQ(run.units(), units);
    for (const Unit& unit : units) EXPECT_TRUE(run.done(unit));
    EXPECT_FALSE(run.done({"locate", "P0", 2}));
    EXPECT_EQ(actual_content(run), expected_content(units));
  }
  EXPECT_EQ(folder.names(), std::vector<std::string>{"run.db"});
}

// Random writes, reads, flushes and openings against a set of units in memory.
TEST(RunStore, RandomOperationsMatchAModel) {
  const std::vector<Unit> all = made_up_units(8);
  for (uint64_t seed = 0; seed < 4; ++seed) {
    const Folder folder;
    std::mt19937_64 random(seed);
    std::set<Unit> model;
    std::optional<RunStore> run;
    for (int step = 0; step < 80; ++step) {
      if (!run) run.emplace(RunStore::open(folder.file("run.db"), Mode::kContinue, kIdentity));
      const Unit& unit = model.empty() ? all.front() : all[random() % all.size()];
      EXPECT_EQ(run->done(unit), model.contains(unit));
      switch (random() % 6) {
        case 0:
          run->flush();
          break;
        case 1:
          run.reset();
          break;
        case 2:
          ASSERT_EQ(actual_content(*run),
                    expected_content(std::vector<Unit>(model.begin(), model.end())));
          break;
        case 3: {
          RunStore reader = RunStore::open(folder.file("run.db"), Mode::kRead);
          const std::vector<Unit> seen = reader.units();  // of a moment: no more than was written
          EXPECT_TRUE(std::ranges::all_of(seen, [&](const Unit& u) { return model.contains(u); }));
          break;
        }
        default:
          if (model.insert(unit).second) run->write(unit, made_up_rows(unit));
      }
    }
    run.reset();
    RunStore reader = RunStore::open(folder.file("run.db"), Mode::kRead);
    EXPECT_EQ(reader.units(), std::vector<Unit>(model.begin(), model.end()));
    EXPECT_EQ(actual_content(reader),
              expected_content(std::vector<Unit>(model.begin(), model.end())));
  }
}

TEST(RunStore, ReadsByConditionsInTheOrderOfTheKey) {
  const Folder folder;
  const std::vector<Unit> units = made_up_units(4);
  write_units(folder.file("run.db"), units);
  RunStore run = RunStore::open(folder.file("run.db"), Mode::kRead);
  std::vector<Row> wanted = expected_content(units)["score"];
  std::erase_if(wanted, [](const Row& row) {
    return row[0] != Value(std::string("locate")) || row[1] != Value(int64_t{9});
  });
  ASSERT_FALSE(wanted.empty());
  const Where where = {{"fact", int64_t{9}}, {"method", std::string("locate")}};
  EXPECT_EQ(run.read("score", where), wanted);
  std::vector<Row> nulls = expected_content(units)["score"];
  std::erase_if(nulls, [](const Row& row) { return row[5] != Value(); });
  ASSERT_FALSE(nulls.empty());
  EXPECT_EQ(run.read("score", {{"score", std::monostate()}}), nulls);
  int seen = 0;
  run.read_each("score", {}, [&](const Row&) { return ++seen < 3; });
  EXPECT_EQ(seen, 3);
  EXPECT_THROW((void)run.read("scores"), InternalError);
  EXPECT_THROW((void)run.read("score", {{"scores", Value()}}), InternalError);
  const auto next = run.rows("relation");
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(next());
  EXPECT_FALSE(next());
  EXPECT_FALSE(next()) << "after the last row nothing comes";
}

// Or SQLite searches the referring tables for every row that is referred to.
TEST(RunStore, TablesStandBehindThoseTheyReferTo) {
  std::set<std::string> seen;
  for (const Table& table : run_tables()) {
    for (const Column& column : table.columns) {
      if (column.references == nullptr) continue;
      EXPECT_TRUE(seen.contains(column.references)) << table.name << " " << column.name;
    }
    seen.insert(table.name);
  }
}

TEST(RunStore, ViewsHaveTheColumnsThatTheSchemaNames) {
  const Folder folder;
  write_units(folder.file("run.db"), made_up_units(2));
  const Database database(folder.file("run.db"), Database::Access::kRead);
  for (const View& view : run_views()) {
    const Statement statement(database, view.select);
    std::vector<std::string> names;
    for (int i = 0; i < statement.columns(); ++i) names.push_back(statement.name(i));
    std::vector<std::string> wanted;
    for (const Column& column : view.columns) wanted.emplace_back(column.name);
    EXPECT_EQ(names, wanted) << view.name;
  }
}

TEST(RunStore, RefersOnlyToTablesWithOneKeyColumn) {
  for (const Table& table : run_tables()) {
    for (const Column& column : table.columns) {
      if (column.references == nullptr) continue;
      const Table& parent = run_table(column.references);
      EXPECT_EQ(parent.key, 1U) << table.name;
      EXPECT_EQ(parent.columns[0].type, column.type) << table.name;
    }
  }
}

TEST(RunStore, AnotherIdentityIsRefusedWithTheDifference) {
  const Folder folder;
  const fs::path path = folder.file("run.db");
  write_units(path, made_up_units(1));
  const RunIdentity other = {{"model", "sha256:abd"}, {"limit", "3"}};
  for (const Mode mode : {Mode::kRead, Mode::kContinue}) {
    const std::string message =
        error_of<InputError>([&] { (void)RunStore::open(path, mode, other); });
    expect_line(message, {path.string(), "limit: nothing in the run, \"3\" asked for",
                          "model: \"sha256:abc\" in the run, \"sha256:abd\" asked for",
                          "seed: \"0\" in the run, nothing asked for"});
  }
  EXPECT_EQ(RunStore::open(path, Mode::kRead).identity(), kIdentity);
}

TEST(RunStore, HasOneWriterAtATime) {
  const Folder folder;
  const fs::path path = folder.file("run.db");
  const fs::path link = folder.file("link.db");
  {
    RunStore run = RunStore::open(path, Mode::kContinue, kIdentity);
    fs::create_symlink(path, link);
    const std::string holder = ":" + std::to_string(::getpid());
    for (const fs::path& name : {path, link}) {
      const auto start = std::chrono::steady_clock::now();
      const std::string message =
          error_of<FileError>([&] { (void)RunStore::open(name, Mode::kContinue, kIdentity); });
      EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
      expect_line(message, {name.string(), holder});
      EXPECT_TRUE(RunStore::writer(name)->ends_with(holder));
    }
    // Readers come and go, and the lock stays.
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(RunStore::open(path, Mode::kRead).identity(), kIdentity);
    }
    EXPECT_TRUE(RunStore::writer(path));
    run.write(facts_unit(), made_up_rows(facts_unit()));
    run.flush();
  }
  EXPECT_EQ(RunStore::writer(path), std::nullopt);
  EXPECT_TRUE(RunStore::open(path, Mode::kContinue, kIdentity).done(facts_unit()));
}

TEST(RunStore, AKilledWriterLeavesNoLock) {
  const Folder folder;
  const fs::path path = folder.file("run.db");
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    RunStore run = RunStore::open(path, Mode::kContinue, kIdentity);
    run.begin_session("command", "1");
    run.progress("locate", 1, 4);
    run.write(facts_unit(), made_up_rows(facts_unit()));
    run.flush();
    (void)!::write(ready[1], "x", 1);
    ::pause();
    ::_exit(0);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  EXPECT_TRUE(RunStore::writer(path)->ends_with(":" + std::to_string(child)));
  EXPECT_THROW((void)RunStore::open(path, Mode::kContinue, kIdentity), FileError);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  for (const int end : ready) ::close(end);
  EXPECT_EQ(RunStore::writer(path), std::nullopt);
  RunStore run = RunStore::open(path, Mode::kContinue, kIdentity);
  EXPECT_TRUE(run.done(facts_unit()));
  const std::vector<RunSession> sessions = run.sessions();
  ASSERT_EQ(sessions.size(), 1U);
  EXPECT_EQ(sessions[0].ended, "") << "it was killed";
  EXPECT_EQ(sessions[0].stage, "locate");
  EXPECT_EQ(sessions[0].total, 4);
}

TEST(RunStore, ReadersSeeOneMomentWhileAWriterWrites) {
  const Folder folder;
  const fs::path path = folder.file("run.db");
  const std::vector<Unit> units = made_up_units(8);
  write_units(path, {facts_unit()});
  const FaultyDisk slow(std::chrono::microseconds(100));
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    while (!stop) {
      RunStore run = RunStore::open(path, Mode::kRead);
      run.snapshot([&] { EXPECT_EQ(actual_content(run), expected_content(run.units())); });
    }
  });
  write_units(path, units);
  stop = true;
  reader.join();
}

TEST(RunStore, WhatCannotBeARowIsRefused) {
  const Folder folder;
  RunStore run = RunStore::open(folder.file("run.db"), Mode::kContinue, kIdentity);
  const auto refused = [&](const std::string& table, const Row& row) {
    return error_of<InternalError>([&] { run.write({"x", "", 0}, {{table, {row}}}); });
  };
  expect_line(refused("problem", {int64_t{1}, int64_t{1}}), {"problem", "2", "3"});
  expect_line(refused("problem", {int64_t{1}, 1.0, Value()}), {"problem", "line"});
  expect_line(refused("problem", {Value(), int64_t{1}, Value()}), {"problem", "problem"});
  expect_line(refused("session", {}), {"session"});
  expect_line(refused("unit", {}), {"unit"});
  expect_line(refused("nothing", {}), {"nothing"});
  run.write({"x", "", 0}, {});
  expect_line(error_of<InternalError>([&] { run.write({"x", "", 0}, {}); }), {"x", "done"});
  RunStore reader = RunStore::open(folder.file("run.db"), Mode::kRead);
  EXPECT_THROW(reader.write({"y", "", 0}, {}), InternalError);
}

TEST(RunStore, AnErrorOfTheWriterComesBackAndTheUnitIsAbsent) {
  const Folder folder;
  const fs::path path = folder.file("run.db");
  const Row problem = {int64_t{1}, int64_t{1}, std::string("text")};
  const Row orphan = {int64_t{0}, std::string("P1"), Value(), Value(), Value(), Value()};
  const std::vector<std::pair<std::string, std::vector<TableRows>>> faults = {
      {"table problem, key (1)", {{"problem", {problem, problem}}}},
      {"table fact, key (0)", {{"problem", {problem}}, {"fact", {orphan}}}}};
  for (const auto& [where, fault] : faults) {
    RunStore run = RunStore::open(path, Mode::kContinue, kIdentity);
    run.write({"x", "", 0}, fault);
    const std::string message = error_of<InternalError>([&] { run.flush(); });
    expect_words(message, {"unit x", where});
    EXPECT_EQ(error_of<InternalError>([&] { run.write({"y", "", 0}, {}); }), message);
    EXPECT_EQ(error_of<InternalError>([&] { (void)run.read("problem"); }), message);
  }
  RunStore run = RunStore::open(path, Mode::kRead);
  EXPECT_TRUE(run.units().empty());
  EXPECT_TRUE(run.read("problem").empty());
}

TEST(RunStore, AUnitLargerThanTheQueueGoesThrough) {
  const Folder folder(/*large=*/true);
  RunStore run = RunStore::open(folder.file("run.db"), Mode::kContinue, kIdentity);
  run.write(facts_unit(), made_up_rows(facts_unit()));
  const std::vector<std::byte> blob(size_t{65} << 20, std::byte{7});
  for (int64_t part = 0; part < 2; ++part) {
    run.write({"locate", "", part},
              {{"score_blob",
                {{std::string("ig"), part, int64_t{0}, part == 0 ? Value(blob) : Value()}}}});
  }
  EXPECT_EQ(run.read("score_blob").size(), 2U);
}

TEST(RunStore, TheLedgerTellsSessionsApart) {
  const Folder folder;
  RunStore run = RunStore::open(folder.file("run.db"), Mode::kContinue, kIdentity);
  run.begin_session("engram reproduce", "0.1");
  run.skip("texts", "no texts");
  run.skip("texts", "no texts given");
  run.progress("locate", 10, 40);
  run.progress("locate", 30, 40);
  run.end_session();
  run.begin_session("engram reproduce again", "0.2");
  run.progress("effects", 1, 2);
  // Written by itself within a second.
  const auto start = std::chrono::steady_clock::now();
  while (run.sessions().back().stage.empty() &&
         std::chrono::steady_clock::now() - start < std::chrono::seconds(10)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  const std::vector<RunSession> sessions = run.sessions();
  ASSERT_EQ(sessions.size(), 2U);
  EXPECT_EQ(sessions[0].command, "engram reproduce");
  EXPECT_EQ(sessions[0].version, "0.1");
  EXPECT_TRUE(sessions[0].host.ends_with(":" + std::to_string(::getpid())));
  EXPECT_EQ(sessions[0].started.size(), 20U);
  EXPECT_EQ(sessions[0].ended.size(), 20U);
  EXPECT_EQ(sessions[0].stage, "locate");
  EXPECT_EQ(sessions[0].stage_from, 10);
  EXPECT_EQ(sessions[0].done, 30);
  EXPECT_EQ(sessions[0].total, 40);
  EXPECT_EQ(sessions[1].ended, "");
  EXPECT_EQ(sessions[1].stage, "effects");
  EXPECT_TRUE(run.read("skipped").empty()) << "of the last session alone";
}

TEST(RunStore, WhatIsNoRunIsRefusedAndLeftAsItIs) {
  const Folder folder;
  const auto both = [&](const std::string& name, const std::vector<std::string>& words) {
    for (const Mode mode : {Mode::kRead, Mode::kContinue}) {
      const std::string message =
          error_of<FileError>([&] { (void)RunStore::open(folder.file(name), mode, kIdentity); });
      expect_line(message, words);
      expect_line(message, {folder.file(name).string()});
    }
  };
  put(folder.file("text.db"), std::string(5000, 'x'));
  both("text.db", {"no SQLite database"});
  Other(folder.file("other.db")).run("CREATE TABLE t (a); PRAGMA user_version = 1");
  both("other.db", {"something else"});
  fs::create_directory(folder.file("folder.db"));
  both("folder.db", {"a folder"});
  both("missing/run.db", {"No such file"});
  put(folder.file("empty.db"), "");
  expect_line(
      error_of<FileError>([&] { (void)RunStore::open(folder.file("empty.db"), Mode::kRead); }),
      {"empty"});
  expect_line(
      error_of<FileError>([&] { (void)RunStore::open(folder.file("new.db"), Mode::kRead); }),
      {"No such file"});
  EXPECT_EQ(folder.names(),
            (std::vector<std::string>{"empty.db", "folder.db", "other.db", "text.db"}));
  write_units(folder.file("empty.db"), {facts_unit()});  // one of a writer killed at its start
}

TEST(RunStore, ADamagedRunIsOneClearMessage) {
  const Folder folder;
  const fs::path path = folder.file("run.db");
  write_units(path, made_up_units(8));
  const auto size = fs::file_size(path);
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  for (std::uintmax_t page = 1; page * 4096 < size; ++page) {
    file.seekp(static_cast<std::streamoff>(page * 4096));
    file << std::string(64, '\xff');
  }
  file.close();
  const std::string message = error_of<FileError>([&] {
    RunStore run = RunStore::open(path, Mode::kRead);
    (void)actual_content(run);
  });
  expect_line(message, {path.string(), "damaged"});
}

TEST(RunStore, AnotherProgramsLockIsOneClearMessage) {
  const Folder folder;
  const fs::path path = folder.file("run.db");
  write_units(path, {facts_unit()});
  Database::set_patience(std::chrono::milliseconds(50));
  {
    Other other(path);
    other.run("BEGIN IMMEDIATE");
    RunStore run = RunStore::open(path, Mode::kContinue, kIdentity);
    EXPECT_EQ(run.read("relation").size(), 8U) << "reading goes on";
    run.write({"x", "", 0}, {});
    expect_line(error_of<FileError>([&] { run.flush(); }), {path.string(), "locked", "kept"});
    other.run("ROLLBACK");
  }
  Database::set_patience(std::chrono::seconds(10));
  RunStore run = RunStore::open(path, Mode::kContinue, kIdentity);
  EXPECT_EQ(run.units(), std::vector<Unit>{facts_unit()});
}

bool refuses_to_write(const fs::path& path) {
  try {
    (void)RunStore::open(path, Mode::kContinue, kIdentity);
    return false;
  } catch (const FileError&) {
    return true;
  }
}

bool reads(const fs::path& path, const std::vector<Unit>& units) {
  try {
    RunStore run = RunStore::open(path, Mode::kRead);
    return actual_content(run) == expected_content(units);
  } catch (const Error&) {
    return false;
  }
}

TEST(RunStore, InAFolderThatMayNotBeWrittenItIsReadOnly) {
  const Folder folder;
  const std::vector<Unit> units = made_up_units(2);
  write_units(folder.file("run.db"), units);
  ::chmod(folder.file("run.db").c_str(), 0444);
  ::chmod(folder.path().c_str(), 0555);
  const pid_t child = ::fork();
  if (child == 0) {
    // Root may write anywhere: the checks are made as nobody.
    const bool bound = ::geteuid() != 0 || ::setuid(65534) == 0;
    ::_exit(!bound                                     ? 1
            : !refuses_to_write(folder.file("run.db")) ? 2
            : !refuses_to_write(folder.file("new.db")) ? 3
            : !reads(folder.file("run.db"), units)     ? 4
                                                       : 0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ::chmod(folder.path().c_str(), 0755);
  EXPECT_EQ(status, 0) << "exit code " << WEXITSTATUS(status);
  EXPECT_EQ(folder.names(), std::vector<std::string>{"run.db"});
}

TEST(RunStore, OtherSchemasAreRefused) {
  const Folder folder;
  const auto spoiled = [&](const std::string& sql) {
    const fs::path path = folder.file("run.db");
    fs::remove(path);
    write_units(path, {facts_unit()});
    Other(path).run(sql);
    std::string message;
    for (const Mode mode : {Mode::kRead, Mode::kContinue}) {
      message = error_of<InputError>([&] { (void)RunStore::open(path, mode, kIdentity); });
    }
    return message;
  };
  expect_line(spoiled("PRAGMA user_version = 99"), {"99", "8", "newer"});
  expect_line(spoiled("PRAGMA user_version = 0"), {"schema 0", "8"});
  expect_line(spoiled("PRAGMA user_version = 1; ALTER TABLE problem DROP COLUMN line"),
              {"schema 1", "expected 8", "an older version of this program made it"});
  expect_line(spoiled("DROP VIEW table_hubs; ALTER TABLE problem RENAME COLUMN line TO row"),
              {"problem", "row INTEGER", "line INTEGER"});
  expect_line(spoiled("DROP TABLE problem"), {"problem"});
}

TEST(RunStore, ARunOfTheSchemaBeforeGoesOn) {
  const Folder folder;
  const fs::path path = folder.file("run.db");
  write_units(path, {facts_unit()});
  Other(path).run(
      "DROP TABLE effect_prompt; DROP TABLE size_rank; DROP TABLE size_effect; "
      "DROP TABLE memory_key; DROP TABLE screen; DROP TABLE word_effect; "
      "DROP TABLE method_effect; DROP TABLE method_neuron; DROP TABLE push_effect; "
      "DROP TABLE layer_share; DROP TABLE planting_score; DROP TABLE planting_tuning; "
      "DROP TABLE planting; DROP TABLE nonfact_effect; DROP TABLE nonfact_neuron; "
      "DROP TABLE truth; DROP TABLE truth_score; "
      "PRAGMA user_version = 2");
  const std::string message =
      error_of<InputError>([&] { (void)RunStore::open(path, Mode::kRead, kIdentity); });
  expect_line(message, {"schema 2", "expected 8", "going on with the run brings it up to date"});
  RunStore store = RunStore::open(path, Mode::kContinue, kIdentity);
  EXPECT_TRUE(store.read("effect_prompt").empty());
  EXPECT_TRUE(store.read("size_effect").empty());
  EXPECT_TRUE(store.read("push_effect").empty());
  EXPECT_TRUE(store.read("layer_share").empty());
  EXPECT_TRUE(store.read("planting_score").empty());
  EXPECT_FALSE(store.read("fact").empty());
}

// A made-up schema with versions 5, 6 and 7.
TEST(Migrations, BringAnOldRunUpToDateOrLeaveItAlone) {
  const Folder folder;
  const fs::path path = folder.file("old.db");
  const auto make = [&] {
    fs::remove(path);
    Other(path).run("PRAGMA application_id = " + std::to_string(kApplicationId) +
                    "; PRAGMA user_version = 5; CREATE TABLE t (a); INSERT INTO t VALUES (3)");
  };
  const Migration six = {5, "ALTER TABLE t ADD COLUMN b; UPDATE t SET b = a + 1"};
  const Migration seven = {6, "CREATE TABLE u (c); INSERT INTO u SELECT a * b FROM t"};
  const Migration broken = {6, "CREATE TABLE u (c); INSERT INTO nowhere SELECT 1"};
  make();
  {
    Database database(path, Database::Access::kWrite);
    const std::vector<Migration> steps = {six, seven};
    migrate_run(database, steps, 7);
    EXPECT_EQ(database.integer("SELECT c FROM u"), 12);
    EXPECT_EQ(database.integer("PRAGMA user_version"), 7);
    migrate_run(database, steps, 7);  // nothing to do
    expect_line(error_of<InputError>([&] { migrate_run(database, steps, 6); }),
                {"7", "6", "newer"});
  }
  for (const std::vector<Migration>& steps :
       {std::vector<Migration>{seven}, std::vector<Migration>{six},
        std::vector<Migration>{six, broken}}) {
    make();
    Database database(path, Database::Access::kWrite);
    EXPECT_ANY_THROW(migrate_run(database, steps, 7));
    EXPECT_EQ(database.integer("PRAGMA user_version"), 5);
    EXPECT_EQ(database.integer("SELECT count(*) FROM pragma_table_info('t')"), 1);
    EXPECT_EQ(database.integer("SELECT count(*) FROM sqlite_master"), 1);
  }
}

TEST(Migrations, ThereIsOneForEveryVersion) {
  int version = 2;  // version 1 cannot be brought up to date
  for (const Migration& step : run_migrations()) EXPECT_EQ(step.from, version++);
  EXPECT_EQ(version, kSchemaVersion);
}

}  // namespace
}  // namespace engram::testing
