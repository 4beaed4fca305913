// status, merge and export, on runs that the library wrote.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "cli/run_engram.h"
#include "engram/store/run_store.h"

namespace engram::testing {
namespace {

using json = nlohmann::json;
using Arguments = std::vector<std::string>;
using Mode = RunStore::Mode;

const RunIdentity kIdentity = {{"model", "sha256:abc"}, {"seed", "0"}};

RunStore open_run(const std::string& path, const std::string& relation = "P36") {
  RunStore run = RunStore::open(path, Mode::kContinue, kIdentity);
  const int64_t fact = relation == "P36" ? 0 : 1;
  const Unit unit{"locate", relation, 0};
  if (!run.done(unit)) {
    run.write(unit, {{"relation", {{relation, int64_t{1}, int64_t{3}, int64_t{0}}}},
                     {"fact",
                      {{fact, relation, std::string("France"), std::string("Paris, \"la\""),
                        int64_t{1}, int64_t{0}}}}});
  }
  run.flush();
  return run;
}

json status_of(const std::string& path) {
  const Outcome outcome = run_engram({"status", path, "--json"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  return json::parse(outcome.out);
}

void expect_error(const Outcome& outcome, int code, const std::vector<std::string>& parts) {
  EXPECT_EQ(outcome.code, code) << outcome.err;
  EXPECT_EQ(lines_of(outcome.err).size(), 1U) << outcome.err;
  for (const std::string& part : parts) {
    EXPECT_NE(outcome.err.find(part), std::string::npos) << part << " is not in " << outcome.err;
  }
}

TEST(Status, TellsARunningRunFromAnEndedAndAKilledOne) {
  const TemporaryFolder folder;
  const std::string path = folder.file("run.db");
  {
    RunStore run = open_run(path);
    EXPECT_EQ(status_of(path).at("state"), "running") << "a writer has it";
    run.begin_session("engram reproduce", "0.1");
    run.skip("texts", "no texts are given");
    run.progress("effects", 10, 100);
    ::usleep(20'000);
    run.progress("effects", 30, 100);
    run.write({"effects", "P36", 0}, {});
    run.flush();
    const json running = status_of(path);
    EXPECT_EQ(running.at("schema"), "engram.status/1");
    EXPECT_EQ(running.at("state"), "running");
    EXPECT_TRUE(running.at("writer").get<std::string>().ends_with(std::to_string(::getpid())));
    EXPECT_EQ(running.at("identity"), json(kIdentity));
    const json& session = running.at("sessions").at(0);
    EXPECT_EQ(session.at("state"), "running");
    EXPECT_EQ(session.at("stage"), "effects");
    EXPECT_EQ(session.at("done"), 30);
    const double rate = session.at("facts_per_second");
    EXPECT_GT(rate, 0);
    EXPECT_LE(rate, 20 / 0.02);
    EXPECT_NEAR(session.at("seconds_left").get<double>() * rate, 70, 1e-6);
    const Outcome text = run_engram({"status", path});
    for (const char* part : {"running", "effects", "30 of 100", "facts/s", "left", "sha256:abc",
                             "skipped: texts: no texts are given", "locate"}) {
      EXPECT_NE(text.out.find(part), std::string::npos) << part << " is not in " << text.out;
    }
    run.end_session();
  }
  const json ended = status_of(path);
  EXPECT_EQ(ended.at("state"), "ended");
  EXPECT_EQ(ended.at("writer"), nullptr);
  EXPECT_EQ(ended.at("experiments"),
            json::parse(R"([{"experiment": "effects", "relations": 1, "units": 1},
                            {"experiment": "locate", "relations": 1, "units": 1}])"));

  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    RunStore run = open_run(path);
    run.begin_session("engram reproduce", "0.1");
    (void)!::write(ready[1], "x", 1);
    ::pause();
    ::_exit(0);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  EXPECT_EQ(status_of(path).at("sessions").at(1).at("state"), "running");
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  for (const int end : ready) ::close(end);
  const json killed = status_of(path);
  EXPECT_EQ(killed.at("state"), "killed");
  EXPECT_EQ(killed.at("sessions").at(0).at("state"), "ended");
  EXPECT_EQ(killed.at("sessions").at(1).at("state"), "killed");
}

TEST(Status, WhatIsNoRunIsAFileError) {
  const TemporaryFolder folder;
  write_text(folder.file("text.db"), std::string(2000, 'x'));
  expect_error(run_engram({"status", folder.file("text.db")}), 4, {"text.db", "no SQLite"});
  expect_error(run_engram({"status", folder.file("none.db")}), 4, {"none.db"});
  expect_error(run_engram({"export", folder.file("none.db"), "--to", folder.file("x")}), 4,
               {"none.db"});
  EXPECT_FALSE(std::filesystem::exists(folder.file("x")));
}

TEST(MergeCommand, JoinsPartsOrSaysWhatDiffers) {
  const TemporaryFolder folder;
  open_run(folder.file("a.db"));
  open_run(folder.file("b.db"), "P37");
  const Arguments merge{"merge", folder.file("out.db"), folder.file("a.db"), folder.file("b.db")};
  Arguments quiet = merge;
  quiet.emplace_back("--json");
  const Outcome outcome = run_engram(quiet);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  EXPECT_EQ(json::parse(outcome.out).at("units"), 2);
  EXPECT_EQ(RunStore::open(folder.file("out.db"), Mode::kRead).read("fact").size(), 2U);
  expect_error(run_engram(merge), 4, {"out.db", "exists"});

  { const RunStore other = RunStore::open(folder.file("c.db"), Mode::kContinue, {{"seed", "1"}}); }
  expect_error(
      run_engram({"merge", folder.file("no.db"), folder.file("a.db"), folder.file("c.db")}), 3,
      {"a.db", "c.db", "model", "seed: \"0\"", "\"1\""});
  expect_error(run_engram({"merge", folder.file("no.db")}), 2, {"IN.db"});
  EXPECT_FALSE(std::filesystem::exists(folder.file("no.db")));
}

TEST(ExportCommand, WritesEachFormat) {
  const TemporaryFolder folder;
  open_run(folder.file("run.db"));
  for (const char* format : {"csv", "jsonl", "parquet"}) {
    const Outcome outcome = run_engram({"export", folder.file("run.db"), "--to", folder.file("out"),
                                        "--format", format, "--json"});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    const json result = json::parse(outcome.out);
    EXPECT_EQ(result.at("format"), format);
    bool found = false;
    for (const json& file : result.at("files")) {
      const std::string name = file.at("file");
      EXPECT_TRUE(std::filesystem::exists(folder.file("out/" + name))) << name;
      if (name == "fact." + std::string(format)) found = file.at("rows") == 1;
    }
    EXPECT_TRUE(found);
  }
  EXPECT_EQ(read_text(folder.file("out/fact.csv")),
            "fact,relation,subject,object,answer_tokens,copies\r\n"
            "0,P36,France,\"Paris, \"\"la\"\"\",1,0\r\n");
  expect_error(
      run_engram({"export", folder.file("run.db"), "--to", folder.file("o"), "--format", "xml"}), 2,
      {"xml", "csv, jsonl or parquet"});
  expect_error(run_engram({"export", folder.file("run.db")}), 2, {"--to"});
}

}  // namespace
}  // namespace engram::testing
