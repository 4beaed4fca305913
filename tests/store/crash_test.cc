// What is left of a run when its writer is killed or its disk fails.
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <random>

#include "engram/error.h"
#include "engram/store/run_store.h"
#include "store/fault_vfs.h"
#include "store/runs.h"

namespace engram::testing {
namespace {

namespace fs = std::filesystem;
using Mode = RunStore::Mode;

/// Every unit is in the run with all its rows or with none, and nothing else is.
void expect_whole_units(const fs::path& path) {
  RunStore run = RunStore::open(path, Mode::kContinue, kIdentity);
  EXPECT_EQ(actual_content(run), expected_content(run.units()));
}

/// Ends as if nothing had happened.
void expect_finished_like(const fs::path& path, const fs::path& reference,
                          const std::vector<Unit>& units) {
  write_units(path, units);
  RunStore run = RunStore::open(path, Mode::kRead);
  RunStore whole = RunStore::open(reference, Mode::kRead);
  EXPECT_EQ(run_difference(run, whole), std::nullopt);
}

// Most of a writer's time goes into its writes, so that kills hit amid them.
constexpr std::chrono::microseconds kSlow{40};

/// Forks a writer and kills it after `delay`. The child does nothing but work on the store.
void write_and_kill(const fs::path& path, const std::vector<Unit>& units,
                    std::chrono::microseconds delay) {
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      const FaultyDisk slow(kSlow);
      RunStore run = RunStore::open(path, Mode::kContinue, kIdentity);
      run.begin_session("test", "1");
      for (const Unit& unit : units) {
        if (run.done(unit)) continue;
        run.write(unit, made_up_rows(unit));
        run.progress("locate", unit.part, 2);
        run.flush();
      }
      ::pause();
    } catch (...) {
      ::_exit(1);
    }
  }
  ::usleep(static_cast<useconds_t>(delay.count()));
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status)) << "the writer failed before it was killed";
}

TEST(Crash, AKilledWriterLosesNothingAndDoublesNothing) {
  constexpr int kKills = 60;
  const Folder folder;
  const std::vector<Unit> units = made_up_units(8);
  const auto start = std::chrono::steady_clock::now();
  {
    const FaultyDisk slow(kSlow);
    write_units(folder.file("reference.db"), units);
  }
  const auto whole = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - start);
  std::mt19937_64 random(1);
  int kills = 0;
  int amid = 0;  // of these: with some units written and some not
  for (int runs = 0; kills < kKills; ++runs) {
    const fs::path path = folder.file("run" + std::to_string(runs) + ".db");
    size_t done = 0;
    // Anywhere from before the file is there to after the last unit.
    while (done < units.size() && kills < kKills) {
      const uint64_t bound = static_cast<uint64_t>(whole.count()) * 3 / 2;
      write_and_kill(path, units, std::chrono::microseconds(random() % bound));
      ++kills;
      if (!fs::exists(path)) continue;
      expect_whole_units(path);
      const size_t now = RunStore::open(path, Mode::kRead).units().size();
      EXPECT_GE(now, done) << "what was committed is kept";
      done = now;
      if (done > 0 && done < units.size()) ++amid;
    }
    expect_finished_like(path, folder.file("reference.db"), units);
  }
  EXPECT_GT(amid, kKills / 10);
}

TEST(Crash, AFullOrBrokenDiskLeavesWholeUnits) {
  const Folder folder;
  const std::vector<Unit> units = made_up_units(3);
  write_units(folder.file("reference.db"), units);
  int failures = 0;
  for (int64_t writes = 0; writes < 200; writes += 1 + writes / 5) {
    const int code = writes % 2 == 0 ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    const fs::path path = folder.file("run" + std::to_string(writes) + ".db");
    {
      const FaultyDisk disk(writes, code);
      try {
        write_units(path, units);
      } catch (const FileError& error) {
        ++failures;
        const std::string message = error.what();
        EXPECT_TRUE(disk.failed());
        EXPECT_NE(message.find(path.string()), std::string::npos) << message;
        EXPECT_NE(message.find("kept"), std::string::npos) << message;
        EXPECT_EQ(message.find("full") != std::string::npos, code == SQLITE_FULL) << message;
      }
    }
    expect_whole_units(path);
    expect_finished_like(path, folder.file("reference.db"), units);
  }
  EXPECT_GT(failures, 5);
}

TEST(Crash, ALimitOfTheSystemIsLikeAFullDisk) {
  const Folder folder;
  const std::vector<Unit> units = made_up_units(8);
  const fs::path path = folder.file("run.db");
  write_units(folder.file("reference.db"), units);
  const rlim_t size = fs::file_size(folder.file("reference.db"));
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{size, size};  // the log outgrows the file
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      write_units(path, units);
    } catch (const FileError& error) {
      ::_exit(std::string(error.what()).find("kept") == std::string::npos ? 2 : 4);
    } catch (...) {
      ::_exit(3);
    }
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 4);
  expect_whole_units(path);
  expect_finished_like(path, folder.file("reference.db"), units);
}

}  // namespace
}  // namespace engram::testing
