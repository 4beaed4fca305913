#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "engram/error.h"
#include "engram/store/run_store.h"
#include "store/runs.h"

namespace engram::testing {
namespace {

namespace fs = std::filesystem;
using Mode = RunStore::Mode;

std::optional<std::string> difference(const fs::path& a, const fs::path& b) {
  RunStore first = RunStore::open(a, Mode::kRead);
  RunStore second = RunStore::open(b, Mode::kRead);
  return run_difference(first, second);
}

/// A run with facts_unit() and the unit ("x", "P0", 0) that wrote these problems.
void write_problems(const fs::path& path, const std::vector<Row>& rows) {
  RunStore run = RunStore::open(path, Mode::kContinue, kIdentity);
  run.write(facts_unit(), made_up_rows(facts_unit()));
  run.write({"x", "P0", 0}, {{"problem", rows}});
  run.flush();
}

Row problem(int64_t number, const std::string& message) { return {number, int64_t{0}, message}; }

class Merge : public ::testing::Test {
 protected:
  fs::path file(const std::string& name) { return folder_.file(name); }
  /// The message of the refused merge, which left nothing.
  std::string refused(const std::vector<fs::path>& parts) {
    const std::vector<std::string> before = folder_.names();
    const std::string message = error_of<InputError>([&] { merge_runs(file("out.db"), parts); });
    EXPECT_EQ(folder_.names(), before);
    for (const fs::path& part : parts) {
      EXPECT_NE(message.find(part.string()), std::string::npos) << message;
    }
    return message;
  }
  Folder folder_;
};

// Parts that overlap or not, in any order, give the content of one run.
TEST_F(Merge, PartsThatCoverARunAreTheRun) {
  const std::vector<Unit> units = made_up_units(8);
  write_units(file("whole.db"), units);
  std::mt19937_64 random(2);
  for (int round = 0; round < 6; ++round) {
    const Folder parts;
    std::vector<std::vector<Unit>> dealt(1 + random() % 4, {facts_unit()});
    for (size_t u = 1; u < units.size(); ++u) {
      const size_t sure = random() % dealt.size();
      for (size_t p = 0; p < dealt.size(); ++p) {
        if (p == sure || random() % 3 == 0) dealt[p].push_back(units[u]);
      }
    }
    std::vector<fs::path> files;
    for (const std::vector<Unit>& part : dealt) {
      files.push_back(parts.file("part" + std::to_string(files.size()) + ".db"));
      write_units(files.back(), part);
    }
    merge_runs(parts.file("out.db"), files);
    EXPECT_EQ(difference(parts.file("out.db"), file("whole.db")), std::nullopt);
    EXPECT_EQ(parts.names().size(), files.size() + 1);
    // It is a run like others: the same command goes on with it.
    write_units(parts.file("out.db"), units);
    EXPECT_EQ(difference(parts.file("out.db"), file("whole.db")), std::nullopt);
  }
}

TEST_F(Merge, LedgersAreJoined) {
  for (const char* name : {"a.db", "b.db"}) {
    RunStore run = RunStore::open(file(name), Mode::kContinue, kIdentity);
    run.begin_session(name, "1");
    run.skip("texts", "none");
    run.end_session();
  }
  merge_runs(file("both.db"), {file("a.db"), file("b.db")});
  merge_runs(file("out.db"), {file("a.db"), file("both.db")});  // a.db's session is in both
  RunStore run = RunStore::open(file("out.db"), Mode::kRead);
  const std::vector<RunSession> sessions = run.sessions();
  ASSERT_EQ(sessions.size(), 2U);
  EXPECT_EQ(sessions[0].command, "a.db");
  EXPECT_EQ(sessions[1].command, "b.db");
  EXPECT_EQ(sessions[1].session, 2);
  EXPECT_EQ(run.read("skipped").size(), 1U);
}

TEST_F(Merge, OtherRunsAreRefusedWithTheDifference) {
  write_units(file("a.db"), made_up_units(1));
  write_units(file("b.db"), made_up_units(2), {{"model", "sha256:abc"}, {"seed", "7"}});
  expect_words(refused({file("a.db"), file("b.db")}), {"seed", "\"0\"", "\"7\""});
}

TEST_F(Merge, PiecesThatDifferAreRefusedWithTheDifference) {
  write_problems(file("a.db"), {problem(1, "one"), problem(2, "two")});
  write_problems(file("same.db"), {problem(2, "two"), problem(1, "one")});
  merge_runs(file("merged.db"), {file("a.db"), file("same.db")});
  EXPECT_EQ(difference(file("merged.db"), file("a.db")), std::nullopt);

  write_problems(file("value.db"), {problem(1, "one"), problem(2, "zwei")});
  expect_words(refused({file("a.db"), file("value.db")}),
               {"table problem", "(2)", "message", "\"two\"", "\"zwei\""});
  write_problems(file("row.db"), {problem(1, "one")});
  expect_words(refused({file("a.db"), file("row.db")}), {"\"x\"", "\"P0\"", "2 rows", "1"});
}

TEST_F(Merge, TheSameKeyOfTwoPiecesMustBeTheSameRow) {
  for (const char* name : {"a.db", "b.db"}) {
    RunStore run = RunStore::open(file(name), Mode::kContinue, kIdentity);
    run.write({"x", name, 0}, {{"problem", {problem(1, name)}}});
    run.flush();
  }
  expect_words(refused({file("a.db"), file("b.db")}), {"problem", "a.db", "b.db"});
}

TEST_F(Merge, NothingIsReplaced) {
  write_units(file("a.db"), made_up_units(1));
  std::ofstream(file("out.db")) << "mine";
  EXPECT_THROW(merge_runs(file("out.db"), {file("a.db")}), FileError);
  EXPECT_THROW(merge_runs(file("a.db"), {file("a.db")}), FileError);
  EXPECT_EQ(fs::file_size(file("out.db")), 4U);
  EXPECT_THROW(merge_runs(file("new.db"), {file("a.db"), file("none.db")}), FileError);
  EXPECT_THROW(merge_runs(file("no/new.db"), {file("a.db")}), FileError);
  EXPECT_EQ(folder_.names(), (std::vector<std::string>{"a.db", "out.db"}));
}

TEST_F(Merge, DifferencesOfTwoRunsAreFound) {
  write_problems(file("a.db"), {problem(1, "one"), problem(2, "two")});
  write_problems(file("value.db"), {problem(1, "one"), problem(2, "zwei")});
  write_problems(file("fewer.db"), {problem(1, "one")});
  write_problems(file("other.db"), {problem(1, "one"), problem(3, "two")});
  expect_words(*difference(file("a.db"), file("value.db")),
               {"table problem", "(2)", "message", "\"two\" against \"zwei\""});
  expect_words(*difference(file("a.db"), file("fewer.db")), {"problem", "(2)", "only in", "a.db"});
  expect_words(*difference(file("fewer.db"), file("a.db")), {"problem", "(2)", "only in", "a.db"});
  expect_words(*difference(file("a.db"), file("other.db")), {"problem", "(2)", "only in", "a.db"});
  write_units(file("seed.db"), {}, {{"model", "sha256:abc"}, {"seed", "7"}});
  expect_words(*difference(file("a.db"), file("seed.db")), {"identity", "seed", "\"0\"", "\"7\""});
}

}  // namespace
}  // namespace engram::testing
