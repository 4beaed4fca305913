// The command report, on a run that the library wrote.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/run_engram.h"
#include "engram/store/run_store.h"

namespace engram::testing {
namespace {

using json = nlohmann::json;

std::string small_run(const TemporaryFolder& folder) {
  std::string path = folder.file("run.db");
  RunStore run =
      RunStore::open(path, RunStore::Mode::kContinue, {{"model", "sha256:abc"}, {"seed", "0"}});
  const std::string relation = "P36";
  run.write({"locate", relation, 0},
            {{"relation", {{relation, int64_t{1}, int64_t{3}, int64_t{0}}}},
             {"fact",
              {{int64_t{0}, relation, std::string("<script>"), std::string("Paris"), int64_t{1},
                int64_t{0}}}}});
  run.flush();
  return path;
}

TEST(Report, WritesThePageAndTheNumbers) {
  const TemporaryFolder folder;
  const std::string run = small_run(folder);
  const std::string page = folder.file("report.html");
  const std::string tables = folder.file("tables.json");
  const Outcome outcome = run_engram({"report", run, "-o", page, "--json", tables});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  const std::string html = read_text(page);
  EXPECT_TRUE(html.starts_with("<!DOCTYPE html>"));
  EXPECT_NE(html.find("Not shown: "), std::string::npos);
  EXPECT_EQ(html.find("<script>"), std::string::npos);
  EXPECT_EQ(json::parse(read_text(tables)).at("schema"), "engram.report/1");
  // The same run gives the same page.
  const std::string again = folder.file("again.html");
  EXPECT_EQ(run_engram({"report", run, "-o", again}).code, 0);
  EXPECT_EQ(read_text(again), html);
}

TEST(Report, RefusesWhatCannotBeMeant) {
  const TemporaryFolder folder;
  const std::string run = small_run(folder);
  const std::string page = folder.file("report.html");
  EXPECT_EQ(run_engram({"report", run, "-o", run}).code, 2);
  EXPECT_EQ(run_engram({"report", run, "-o", page, "--json", page}).code, 2);
  EXPECT_EQ(run_engram({"report", run}).code, 2);
  EXPECT_EQ(run_engram({"report", run, "-o", page, "--draws", "0"}).code, 2);
  EXPECT_EQ(run_engram({"report", folder.file("none.db"), "-o", page}).code, 4);
  write_text(folder.file("text.db"), "no database");
  EXPECT_EQ(run_engram({"report", folder.file("text.db"), "-o", page}).code, 4);
  EXPECT_FALSE(std::filesystem::exists(page));
}

}  // namespace
}  // namespace engram::testing
