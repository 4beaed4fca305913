#include "engram/base/file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "engram/base/interrupt.h"
#include "engram/error.h"

namespace engram {
namespace {

namespace fs = std::filesystem;

class Files : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "engram-base-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override {
    ::chmod(folder_.c_str(), 0700);
    fs::remove_all(folder_);
  }

  void put(const fs::path& path, std::string_view text) {
    AtomicFile file(path);
    file.write(text);
    file.commit();
  }
  /// Names of everything in the folder: what a stopped write must not leave behind.
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      found.push_back(entry.path().filename().string());
    }
    std::ranges::sort(found);
    return found;
  }

  fs::path folder_;
};

/// The message of the FileError that `work` throws; "" and a failure when it throws none.
std::string file_error(const std::function<void()>& work) {
  try {
    work();
  } catch (const FileError& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kFile);
    const std::string message = error.what();
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    return message;
  }
  ADD_FAILURE() << "no FileError";
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// What a child process without root's rights does: its exit status. 0 is a success.
int in_child(const std::function<bool()>& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    bool passed = false;
    try {
      passed = work();
    } catch (...) {
      passed = false;
    }
    ::_exit(passed ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// Root may write everywhere; a test of permissions has to be somebody else.
bool become_nobody() { return ::geteuid() != 0 || (::setgid(65534) == 0 && ::setuid(65534) == 0); }

TEST_F(Files, CheckingRefusesWhatReadingRefuses) {
  put(folder_ / "x", "text");
  EXPECT_NO_THROW(check_readable(folder_ / "x"));
  for (const fs::path& path : {folder_ / "none", folder_, fs::path("/dev/zero")}) {
    EXPECT_EQ(file_error([&] { check_readable(path); }), file_error([&] { read_file(path); }));
  }
}

TEST_F(Files, WhatIsWrittenIsRead) {
  std::mt19937_64 random(1);
  for (const size_t size : {0UL, 1UL, 4096UL, (1UL << 20) - 1, 1UL << 20, (3UL << 20) + 17}) {
    std::string bytes(size, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    AtomicFile file(folder_ / "x");
    for (size_t at = 0; at < size;) {  // in pieces of odd sizes
      const size_t piece = std::min<size_t>(size - at, 1 + random() % 300'000);
      file.write(std::string_view(bytes).substr(at, piece));
      at += piece;
    }
    file.commit();
    EXPECT_EQ(read_file(folder_ / "x"), bytes);
    const MappedFile map(folder_ / "x");
    ASSERT_EQ(map.size(), size);
    EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(map.data()), size), bytes);
  }
}

TEST_F(Files, ReadersSeeTheOldFileUntilCommit) {
  put(folder_ / "x", "old");
  {
    AtomicFile file(folder_ / "x");
    file.write(std::string(3 << 20, 'n'));
    EXPECT_EQ(read_file(folder_ / "x"), "old");
  }
  EXPECT_EQ(read_file(folder_ / "x"), "old") << "without commit() nothing changes";
  EXPECT_EQ(names(), std::vector<std::string>{"x"}) << "and nothing remains beside";
  put(folder_ / "x", "new");
  EXPECT_EQ(read_file(folder_ / "x"), "new");
  EXPECT_EQ(names(), std::vector<std::string>{"x"});
}

TEST_F(Files, AMapOutlivesTheFilesReplacement) {
  put(folder_ / "x", "old");
  const MappedFile map(folder_ / "x");
  put(folder_ / "x", "new");
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(map.data()), map.size()), "old");
}

TEST_F(Files, WritersOfOneFileDoNotMix) {
  std::vector<std::jthread> writers;
  for (int i = 0; i < 4; ++i) {
    writers.emplace_back([this, i] {
      for (int k = 0; k < 10; ++k)
        put(folder_ / "x", std::string(100'000, static_cast<char>('a' + i)));
    });
  }
  writers.clear();
  const std::string text = read_file(folder_ / "x");
  EXPECT_EQ(text.size(), 100'000U);
  EXPECT_EQ(text.find_first_not_of(text[0]), std::string::npos);
  EXPECT_EQ(names(), std::vector<std::string>{"x"});
}

TEST_F(Files, NewFilesFollowTheUmask) {
  const mode_t before = ::umask(027);
  put(folder_ / "x", "text");
  ::umask(before);
  struct stat status {};
  ASSERT_EQ(::stat((folder_ / "x").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0640U);
}

TEST_F(Files, MissingFilesAndFoldersAreNamed) {
  const std::string absent = (folder_ / "absent").string();
  for (const auto& message :
       {file_error([&] { (void)read_file(absent); }), file_error([&] { MappedFile map(absent); }),
        file_error([&] { AtomicFile file(absent + "/x"); })}) {
    EXPECT_TRUE(contains(message, absent)) << message;
    EXPECT_TRUE(contains(message, "No such file")) << message;
  }
  for (const auto& message : {file_error([&] { (void)read_file(folder_); }),
                              file_error([&] { MappedFile map(folder_); })}) {
    EXPECT_TRUE(contains(message, folder_.string())) << message;
    EXPECT_TRUE(contains(message, "folder")) << message;
  }
}

TEST_F(Files, APipeIsRefusedAtOnce) {
  ASSERT_EQ(::mkfifo((folder_ / "fifo").c_str(), 0600), 0);
  EXPECT_TRUE(
      contains(file_error([&] { (void)read_file(folder_ / "fifo"); }), "a device, pipe or socket"));
  file_error([&] { MappedFile map(folder_ / "fifo"); });
}

TEST_F(Files, OnlyRegularFilesAreReplaced) {
  fs::create_directory(folder_ / "d");
  ASSERT_EQ(::mkfifo((folder_ / "fifo").c_str(), 0600), 0);
  fs::create_symlink("/dev/full", folder_ / "link");
  for (const fs::path& path :
       {folder_ / "d", folder_ / "fifo", folder_ / "link", fs::path("/dev/full")}) {
    EXPECT_TRUE(contains(file_error([&] { AtomicFile::check_writable(path); }), path.string()));
    EXPECT_TRUE(contains(file_error([&] { AtomicFile file(path); }), path.string()));
  }
  put(folder_ / "x", "text");
  file_error([&] { AtomicFile::check_writable(folder_ / "x" / "y"); });
  EXPECT_EQ(names(), (std::vector<std::string>{"d", "fifo", "link", "x"}));
}

TEST_F(Files, CheckWritableCreatesNothing) {
  AtomicFile::check_writable(folder_ / "x");
  EXPECT_TRUE(names().empty());
}

TEST_F(Files, TooLargeFilesAreRefusedBeforeTheyAreRead) {
  put(folder_ / "x", "12345");
  EXPECT_EQ(read_file(folder_ / "x", 5), "12345");
  EXPECT_THROW((void)read_file(folder_ / "x", 4), InputError);
}

TEST_F(Files, FoldersWithoutAccessAreRefused) {
  put(folder_ / "secret", "text");
  ::chmod((folder_ / "secret").c_str(), 0);
  ::chmod(folder_.c_str(), 0555);
  const std::string path = (folder_ / "x").string();
  EXPECT_EQ(in_child([&] {
              if (!become_nobody()) return false;
              const std::string reading = file_error([&] { (void)read_file(folder_ / "secret"); });
              const std::string early = file_error([&] { AtomicFile::check_writable(path); });
              const std::string late = file_error([&] { AtomicFile file(path); });
              return contains(reading, "Permission denied") &&
                     contains(early, "Permission denied") && contains(late, "Permission denied") &&
                     contains(early, folder_.string());
            }),
            0);
}

/// A full disk, played by a limit on the size of files.
TEST_F(Files, AFullDiskLeavesTheOldFile) {
  put(folder_ / "x", "old");
  EXPECT_EQ(in_child([&] {
              ::signal(SIGXFSZ, SIG_IGN);
              const rlimit limit{2 << 20, 2 << 20};
              if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return false;
              const std::string message = file_error([&] {
                AtomicFile file(folder_ / "x");
                for (int i = 0; i < 64; ++i) file.write(std::string(100'000, 'n'));
                file.commit();
              });
              return contains(message, (folder_ / "x").string()) &&
                     contains(message, "File too large");
            }),
            0);
  EXPECT_EQ(read_file(folder_ / "x"), "old");
  EXPECT_EQ(names(), std::vector<std::string>{"x"});
}

TEST_F(Files, ANewFileRefusesOneThatCameMeanwhile) {
  const fs::path place = folder_ / "x";
  FileInMaking file(place, FileInMaking::Existing::kRefuse);
  file.write_at("new", 0);
  put(place, "old");
  EXPECT_TRUE(contains(file_error([&] { file.commit(); }), "exists, expected a new file"));
  EXPECT_EQ(read_file(place), "old");
  EXPECT_TRUE(contains(
      file_error([&] { FileInMaking again(place, FileInMaking::Existing::kRefuse); }), "exists"));
}

TEST_F(Files, WrittenInAnyOrderWithThePermissionsOfTheMask) {
  const mode_t before = ::umask(027);
  {
    FileInMaking file(folder_ / "x");
    file.write_at("world", 6);
    file.write_at("hello ", 0);
    EXPECT_FALSE(fs::exists(folder_ / "x"));
    file.commit();
  }
  ::umask(before);
  EXPECT_EQ(read_file(folder_ / "x"), "hello world");
  struct stat status {};
  ASSERT_EQ(::stat((folder_ / "x").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640U);
  EXPECT_EQ(names(), std::vector<std::string>{"x"});
  EXPECT_NO_THROW(sync_folder(folder_));
  EXPECT_TRUE(contains(file_error([&] { sync_folder(folder_ / "none"); }), "none"));
}

TEST_F(Files, AFolderThatMayOnlyBeWrittenTakesFiles) {
  fs::create_directory(folder_ / "drop");
  ::chmod((folder_ / "drop").c_str(), 0333);
  ::chmod(folder_.c_str(), 0755);
  EXPECT_EQ(in_child([&] {
              if (!become_nobody()) return false;
              put(folder_ / "drop" / "x", "text");
              return true;
            }),
            0);
  ::chmod((folder_ / "drop").c_str(), 0755);
  EXPECT_EQ(read_file(folder_ / "drop" / "x"), "text");
}

/// How a child ends that does `work`, and what it wrote to stderr.
std::pair<int, std::string> end_of_child(const fs::path& log, const std::function<void()>& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::freopen(log.c_str(), "w", stderr) == nullptr) ::_exit(99);
    work();
    ::_exit(0);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return {status, read_file(log)};
}

TEST_F(Files, AMapWhoseFileIsCutShortEndsInOneMessage) {
  const fs::path weights = folder_ / "weights";
  put(weights, std::string(1 << 20, 'w'));
  const auto [status, said] = end_of_child(folder_ / "log", [&] {
    report_lost_maps("engram");
    const MappedFile other(folder_ / "log");  // empty: no map at all
    const MappedFile map(weights);
    fs::resize_file(weights, 4096);
    volatile const std::byte* at = map.data();
    if (at[100] != std::byte{'w'}) ::_exit(98);
    if (at[1 << 19] != std::byte{'w'}) ::_exit(97);
  });
  ASSERT_TRUE(WIFEXITED(status)) << status;
  EXPECT_EQ(WEXITSTATUS(status), static_cast<int>(ExitCode::kFile));
  EXPECT_TRUE(said.starts_with("engram: error: " + weights.string() + ": its bytes are gone"))
      << said;
  EXPECT_EQ(std::ranges::count(said, '\n'), 1) << said;
}

TEST_F(Files, AnotherBusErrorEndsTheProcessAsBefore) {
  const auto [status, said] = end_of_child(folder_ / "log", [&] {
    ::signal(SIGBUS, SIG_DFL);
    report_lost_maps("engram");
    ::raise(SIGBUS);
  });
  ASSERT_TRUE(WIFSIGNALED(status)) << status;
  EXPECT_EQ(WTERMSIG(status), SIGBUS);
  EXPECT_EQ(said, "");
}

TEST(Interrupts, AreSeenUntilCleared) {
  Interrupt::clear();
  EXPECT_NO_THROW(Interrupt::check());
  Interrupt::request();
  EXPECT_TRUE(Interrupt::requested());
  EXPECT_THROW(Interrupt::check(), Interrupted);
  EXPECT_THROW(Interrupt::check(), Interrupted) << "until somebody clears it";
  Interrupt::clear();
  EXPECT_NO_THROW(Interrupt::check());
}

TEST(Interrupts, MayBeRequestedByASignalHandler) {
  Interrupt::clear();
  const auto before = ::signal(SIGUSR1, [](int) { Interrupt::request(); });
  ::raise(SIGUSR1);
  ::signal(SIGUSR1, before);
  EXPECT_TRUE(Interrupt::requested());
  Interrupt::clear();
}

}  // namespace
}  // namespace engram
